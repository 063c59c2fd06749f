/**
 * Pulls one large body. When its source breaks off, what came stays, and the next source goes on at
 * that byte: a 5 GiB object over a link that fails every minute still arrives. All sources are pinned
 * to the same version, each block was verified by the one that read it, and so is the length here.
 */
import { bodyVersion, type DataPart } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { StagedBody } from '#device/contract.ts';
import type { Pull, PullerParts } from './body-puller.ts';
import type { ReadArgs, ReadReply, Target } from './calls.ts';

const DEADLINE_MS = 30_000;
/** Each source may break off so often in a row, without a byte coming, before it is left alone. */
const MAX_FRUITLESS = 3;
const RETRY_MS = 1_000;
/** Between looks at lines that are closed at this hour. */
const CLOSED_MS = 10_000;

export interface LargePullEvents {
  resumed(): void;
  /** It waits for the hour of a line, and others may be pulled meanwhile. */
  parked(isParked: boolean): void;
}

export class LargePull {
  readonly #parts: PullerParts;
  readonly #signal: AbortSignal;
  readonly #events: LargePullEvents;

  constructor(parts: PullerParts, signal: AbortSignal, events: LargePullEvents) {
    this.#parts = parts;
    this.#signal = signal;
    this.#events = events;
  }

  /** False: nobody has it. @throws the device's errors */
  async pull(pull: Pull): Promise<boolean> {
    const { device, entry } = pull;
    const staged = await device.stage(entry.key);
    let committed = false;
    try {
      if (!(await this.#fill(staged, pull))) return false;
      await staged.finish();
      const { key, path, unlisted, state } = entry;
      await device.write({ key, path, state, body: staged, unlisted, intent: 'join' });
      committed = true;
      return true;
    } finally {
      if (!committed) await staged.abandon();
    }
  }

  /** True: the stage has all of the bytes. */
  async #fill(staged: StagedBody, pull: Pull): Promise<boolean> {
    const sources = [...pull.sources];
    let fruitless = 0;
    while (sources.length > 0 && !this.#signal.aborted) {
      if (!this.#isOpen(sources[0]!)) {
        await this.#untilOpen(sources);
        sources.push(sources.shift()!);
        continue;
      }
      const before = staged.length;
      const outcome = await this.#readFrom(sources[0]!, staged, pull);
      if (outcome === 'complete') return true;
      fruitless = staged.length > before ? 0 : fruitless + 1;
      if (outcome === 'absent' || fruitless >= MAX_FRUITLESS) {
        sources.shift();
        fruitless = 0;
        continue;
      }
      this.#events.resumed();
      sources.push(sources.shift()!);
      await this.#sleep(RETRY_MS);
    }
    return false;
  }

  /** Where all are closed it waits for the first hour: what it has is not fetched twice. */
  async #untilOpen(sources: readonly Target[]): Promise<void> {
    const isAnyOpen = (): boolean => sources.some((source) => this.#isOpen(source));
    if (isAnyOpen()) return;
    this.#events.parked(true);
    try {
      while (!isAnyOpen()) await this.#sleep(CLOSED_MS);
    } finally {
      this.#events.parked(false);
    }
  }

  #isOpen({ node }: Target): boolean {
    return this.#parts.budget.isOpen(node);
  }

  #sleep(ms: number): Promise<void> {
    return this.#parts.env.clock.sleep(ms, this.#signal);
  }

  async #readFrom(
    source: Target,
    staged: StagedBody,
    { device, entry, length }: Pull,
  ): Promise<'complete' | 'broken' | 'absent'> {
    const { caller, budget, env } = this.#parts;
    const options = { txn: 'pull', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    let stored: Promise<void> = Promise.resolve();
    try {
      const args = this.#args(source, staged.length, entry.key, length, entry.state.data!);
      const signal = this.#signal;
      const { result, body } = await caller.call(source.node, 'object.read', args, {
        ...options,
        signal,
      });
      if ((result as ReadReply).hasBody !== true || body === undefined) return 'absent';
      for await (const chunk of body) {
        await budget.receive(source.node, chunk.length, signal);
        stored = staged.write(chunk);
        await stored;
        if (staged.length > length) throw new OperatingError('length-mismatch', 'too long');
      }
      return staged.length === length ? 'complete' : 'broken';
    } catch (error) {
      await stored; // the device's own error is the end of it; anything else is the source's
      const facts = { device: device.id, path: entry.path, from: source.node, at: staged.length };
      env.log.debug('object.pull-broken', { ...facts, error: codeOf(error) });
      return codeOf(error) === 'remote' || codeOf(error) === 'length-mismatch'
        ? 'absent'
        : 'broken';
    }
  }

  #args(
    source: Target,
    start: number,
    { policy, hash }: Pull['entry']['key'],
    length: number,
    data: DataPart,
  ): ReadArgs {
    const ringVersion = this.#parts.cluster.current().rings.get(policy)?.version ?? 0;
    const pin = bodyVersion(data);
    return { device: source.device, policy, hash, ringVersion, range: [start, length], pin };
  }
}
