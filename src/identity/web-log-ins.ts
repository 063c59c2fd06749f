/**
 * Web identity tokens in, mapped users out. Issuers, their keys and the rules come from files (and URLs)
 * that others change while we run, so they are read again every RELOAD_MS, sooner while an issuer's
 * keys are missing. When reading fails the last good state goes on.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import { applyMapping, type Mapped, type MappingRule, parseMapping } from './mapping.ts';
import { loadWebIssuers, type WebIdentities, type WebIssuerSources } from './web-token.ts';

const RELOAD_MS = 10 * 60_000;
const RETRY_MS = 30_000;

export interface WebLogInsOptions extends WebIssuerSources {
  readonly env: Pick<Env, 'clock' | 'disk' | 'log'>;
  readonly issuersFile: string;
  readonly rulesFile: string;
  /** Reads both files' text: YAML or JSON. */
  readonly parse: (text: string) => unknown;
}

export interface MappedWebIdentity {
  readonly mapped: Mapped;
  readonly expiresMs: number;
}

interface Loaded {
  readonly identities: WebIdentities;
  readonly rules: readonly MappingRule[];
}

export class WebLogIns {
  readonly #options: WebLogInsOptions;
  #loaded: Loaded | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: WebLogInsOptions) {
    this.#options = options;
  }

  /** @throws OperatingError `bad-mapping`, `bad-issuers`, or what the disk says: a first start shows its mistakes */
  async start(): Promise<void> {
    this.#loaded = await this.#load();
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  /** @throws OperatingError `bad-web-token`, `unauthorized` (no rule fits) */
  prove(token: string): MappedWebIdentity {
    if (this.#loaded === undefined) throw new OperatingError('unauthorized', 'Not offered here.');
    const { identities, rules } = this.#loaded;
    const nowMs = this.#options.env.clock.wallMicros() / 1000;
    const { attributes, expiresMs } = identities.prove(token, nowMs);
    const mapped = applyMapping(rules, attributes);
    if (mapped === undefined) throw new OperatingError('unauthorized', 'No rule maps this token.');
    return { mapped, expiresMs };
  }

  async #load(): Promise<Loaded> {
    const { env, issuersFile, rulesFile, parse } = this.#options;
    const read = async (file: string) => parse((await env.disk.read(file)).toString());
    const rules = parseMapping(await read(rulesFile));
    const last = this.#loaded?.identities;
    return {
      identities: await loadWebIssuers(this.#options, await read(issuersFile), last),
      rules,
    };
  }

  #schedule(): void {
    if (this.#closed) return;
    const waitMs = this.#loaded?.identities.isComplete ? RELOAD_MS : RETRY_MS;
    this.#timer = this.#options.env.clock.setTimer(waitMs, () => {
      this.#load()
        .then(
          (loaded) => {
            this.#loaded = loaded;
          },
          (error: unknown) => {
            const facts = { error: messageOf(error) };
            this.#options.env.log.error('identity.issuers-reload-failed', facts);
          },
        )
        .finally(() => this.#schedule());
    });
  }
}
