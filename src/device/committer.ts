/**
 * Group commit: everything that waits goes into one batch, one synced write. The next group gathers
 * while it runs; under load it waits a moment longer, because a sync costs several times what an
 * operation does: with 16 clients it makes half as many groups, and a tenth less CPU.
 *
 * An operation is prepared when its group is formed, not when it was asked for, so it sees all that was
 * decided before it; it is answered after the sync, also when it needed no record (it may have been
 * decided by a state that this very group makes durable).
 */
import { OperatingError } from '#base/errors.ts';
import type { Clock } from '#env/env.ts';
import type { LogPosition } from './contract.ts';
import { statusOf } from './errors.ts';
import type { BatchBuilder, LogWriter } from './log-writer.ts';

const MAX_GROUP_OPERATIONS = 1024;
const MAX_GROUP_BYTES = 8 * 1024 * 1024;
/** More than this many operations waiting is refused (`overloaded`) before they take all memory. */
export const MAX_WAITING = 16_384;

/** How long a group may wait for more. */
const GATHER_MS = 1;
/** Operations that must be expected within it; a lone writer never waits. */
const GATHER_FROM = 0.5;
/** Weight of the newest group in the moving average. */
const NEWEST_WEIGHT = 0.2;

export interface Operation {
  /** Bytes that it will add, about. */
  readonly bytes: number;
  /** Decides, and adds records. What it throws fails this operation alone. */
  prepare(batch: BatchBuilder): void;
  /** Synced, and visible. */
  done(): void;
  fail(error: unknown): void;
}

export interface CommitHost {
  /** Makes the group's changes visible. Must not throw for what concerns one operation. */
  committed(position: LogPosition): void;
  rolledBack(): void;
  /** Why nothing can be committed now; undefined: it can. */
  refuses(): Error | undefined;
  /** The folder is still the one that was opened. */
  inPlace(): boolean;
  /** An operation could not be prepared; returns what its caller gets. */
  refused(error: unknown): unknown;
  /** An error that concerns the whole device; returns what its callers get. */
  broken(error: unknown): Error;
}

export class Committer {
  readonly #writer: LogWriter;
  readonly #host: CommitHost;
  readonly #clock: Clock;
  readonly #segmentBytes: number;
  #waiting: Operation[] = [];
  #running: Promise<void> | undefined;
  #rotates = false;
  /** Operations per millisecond, a moving average over groups. */
  #rate = 0;
  #takenMs: number;
  commits = 0;

  constructor(writer: LogWriter, host: CommitHost, clock: Clock, segmentBytes: number) {
    this.#writer = writer;
    this.#host = host;
    this.#clock = clock;
    this.#segmentBytes = segmentBytes;
    this.#takenMs = clock.monotonicMs();
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(operation: Operation): void {
    this.#waiting.push(operation);
    // Deferred, so that all requests of this turn of the event loop share a sync.
    this.#running ??= this.#start();
  }

  /** The next group begins a new segment, so that the one that is open can be rewritten. */
  rotate(): void {
    this.#rotates = true;
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  #start(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.defer(() => {
        this.#run().then(resolve);
      });
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      if (this.#rate * GATHER_MS >= GATHER_FROM) await this.#clock.sleep(GATHER_MS);
      await this.#commit(this.#take());
    }
    // In the same turn as the look at `#waiting`: what is added from now on starts a new run.
    this.#running = undefined;
  }

  #take(): Operation[] {
    let bytes = 0;
    let count = 0;
    for (const operation of this.#waiting) {
      bytes += operation.bytes;
      if (count > 0 && (count >= MAX_GROUP_OPERATIONS || bytes > MAX_GROUP_BYTES)) break;
      count++;
    }
    this.#measure(count);
    return this.#waiting.splice(0, count);
  }

  #measure(count: number): void {
    const nowMs = this.#clock.monotonicMs();
    const rate = count / Math.max(1, nowMs - this.#takenMs);
    this.#rate += NEWEST_WEIGHT * (rate - this.#rate);
    this.#takenMs = nowMs;
  }

  async #commit(group: readonly Operation[]): Promise<void> {
    const refusal = this.#host.refuses();
    if (refusal !== undefined) {
      for (const operation of group) operation.fail(refusal);
      return;
    }
    let accepted: Operation[] = [];
    try {
      if (this.#rotates || this.#writer.position.offset >= this.#segmentBytes) {
        await this.#writer.rotate();
        this.#rotates = false;
      }
      const batch = this.#writer.builder();
      accepted = this.#prepareAll(group, batch);
      const position = batch.records > 0 ? await this.#write(batch) : this.#writer.position;
      this.#host.committed(position);
    } catch (error) {
      this.#host.rolledBack();
      const cause = this.#host.broken(await this.#takeBack(error));
      for (const operation of accepted.length > 0 ? accepted : group) operation.fail(cause);
      return;
    }
    for (const operation of accepted) operation.done();
  }

  /** A write that found no room leaves a piece of a batch behind, which must not stay. */
  async #takeBack(error: unknown): Promise<unknown> {
    if (statusOf(error) !== 'full') return error;
    try {
      await this.#writer.takeBack();
      return error;
    } catch (second) {
      return second;
    }
  }

  #prepareAll(group: readonly Operation[], batch: BatchBuilder): Operation[] {
    const accepted: Operation[] = [];
    for (const operation of group) {
      try {
        operation.prepare(batch);
        accepted.push(operation);
      } catch (error) {
        operation.fail(this.#host.refused(error));
      }
    }
    return accepted;
  }

  async #write(batch: BatchBuilder): Promise<LogPosition> {
    const position = await this.#writer.commit(batch);
    // After the sync: whoever took the folder away before this moment is noticed before the answer.
    if (!this.#host.inPlace()) {
      throw new OperatingError('device-missing', 'the device folder was taken away');
    }
    this.commits++;
    return position;
  }
}
