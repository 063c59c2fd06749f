/**
 * A process's word to the authority about what it has in force: at once after every new bundle, and
 * every few seconds as a sign of life. An authority that is away misses it, nothing else happens.
 */
import { messageOf } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { ProcessReport } from './reports.ts';

const REPORT_MS = 5000;

export interface ReporterOptions {
  readonly env: Pick<Env, 'clock' | 'log' | 'random'>;
  readonly cluster: ClusterSource;
  readonly authorities: () => readonly string[];
  readonly report: () => ProcessReport;
  readonly send: (authority: string, report: ProcessReport) => Promise<void>;
}

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #unsubscribe: () => void;
  #timer: Timer | undefined;
  #sending = false;
  #again = false;
  #stopped = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#unsubscribe = options.cluster.subscribe(() => this.#turn());
    this.#turn();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unsubscribe();
  }

  /** One at a time: a newer one follows the one under way. */
  #turn(): void {
    this.#timer?.cancel();
    if (this.#stopped) return;
    this.#again = this.#sending;
    if (this.#sending) return;
    this.#sending = true;
    void this.#send().finally(() => {
      this.#sending = false;
      if (this.#again) return this.#turn();
      if (this.#stopped) return;
      const { clock, random } = this.#options.env;
      // Spread, so that processes that started together do not report together for ever.
      const waitMs = REPORT_MS * (0.9 + 0.2 * random.float());
      this.#timer = clock.setTimer(waitMs, () => this.#turn());
    });
  }

  async #send(): Promise<void> {
    const { authorities, report, send, env } = this.#options;
    for (const authority of authorities()) {
      try {
        return await send(authority, report());
      } catch (error) {
        env.log.debug('authority.silent', { authority, reason: messageOf(error) });
      }
    }
  }
}
