/**
 * One client's visit: named steps in order, each timed, each with its result. A step that fails does not
 * end the visit, unless nothing after it could work; what was made is removed in any case.
 */
import { messageOf } from '#base/errors.ts';
import type { Reply } from './http.ts';

export interface Finding {
  readonly client: string;
  readonly step: string;
  readonly result: 'ok' | 'failed' | 'skipped';
  readonly ms: number;
  readonly note: string;
}

/** What the endpoint did wrong, in words. */
export class Wrong extends Error {}

/** Nothing after it makes sense. */
class GivenUp extends Error {}

export class Examination {
  readonly findings: Finding[] = [];
  readonly #client: string;
  readonly #tell: (finding: Finding) => void;

  constructor(client: string, tell: (finding: Finding) => void) {
    this.#client = client;
    this.#tell = tell;
  }

  /** @returns what the work returned; undefined where it failed */
  async step<Result>(name: string, work: () => Promise<Result>): Promise<Result | undefined> {
    const start = performance.now();
    try {
      const result = await work();
      this.#note(name, 'ok', performance.now() - start, '');
      return result;
    } catch (error) {
      this.#note(name, 'failed', performance.now() - start, messageOf(error));
      return undefined;
    }
  }

  /** A step that everything after it needs. */
  async must<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    let done: { readonly result: Result } | undefined;
    await this.step(name, async () => {
      done = { result: await work() };
    });
    if (done === undefined) throw new GivenUp();
    return done.result;
  }

  skip(name: string, why: string): void {
    this.#note(name, 'skipped', 0, why);
  }

  /** Runs a client's visit, and what clears up after it. */
  async visit(work: () => Promise<void>, clear: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof GivenUp)) this.#note('visit', 'failed', 0, messageOf(error));
    } finally {
      // What could not be made can't be removed: that is no finding.
      await clear().catch(() => undefined);
    }
  }

  #note(step: string, result: Finding['result'], ms: number, note: string): void {
    const finding = { client: this.#client, step, result, ms, note };
    this.findings.push(finding);
    this.#tell(finding);
  }
}

/** @throws Wrong */
export function expectStatus(reply: Reply, ...wanted: readonly number[]): Reply {
  if (wanted.includes(reply.status)) return reply;
  const code = /<Code>([^<]+)</.exec(reply.text)?.[1];
  const why = code ?? reply.text.replace(/\s+/g, ' ').slice(0, 100);
  throw new Wrong(`status ${reply.status} instead of ${wanted.join(' or ')}: ${why}`);
}

/** @throws Wrong */
export function expectThat(condition: boolean, why: string): void {
  if (!condition) throw new Wrong(why);
}

export function expectHeader(reply: Reply, name: string, wanted: string): void {
  const found = reply.headers[name];
  expectThat(found === wanted, `${name} is ${found ?? 'absent'}, not ${wanted}`);
}
