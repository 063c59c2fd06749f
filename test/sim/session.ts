/**
 * What every client operation has around it: a node to ask, a transaction id, a client that may leave,
 * an end (an answer, or the death of the proxy's process), and a tally.
 */
import { OperatingError } from '#base/errors.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { Operation } from '#proxy/contract.ts';
import type { Process, SimCluster, SimNode } from './cluster.ts';
import type { ContainerModel } from './container-model.ts';
import { TAG, writeOf } from './content.ts';
import {
  type KeyModel,
  type Outcome,
  type Overwriting,
  Violation,
  type WriteKind,
  type WriteRecord,
} from './model.ts';
import type { Attempt } from './tap.ts';

export const ACCOUNT = 'AUTH_sim';
/** An operation on a process that runs and does not stand still has an answer by then. */
const OPERATION_LIMIT_MS = 400_000;

/** What a client may be told when something could not be done. */
const EXPECTED: readonly string[] = [
  'unavailable',
  'client-gone',
  'undecided',
  'overloaded',
  'clock-drift',
  'etag-mismatch',
  'length-mismatch',
  // The container went away while the operation was under way; only boxes that churn may say so.
  'no-container',
];

export interface Box {
  readonly name: string;
  /** Its own, when it does not move from one to another (policy-moves.ts). */
  policy: number;
  readonly mode: 'strict' | 'available' | 'local';
  readonly keys: KeyModel[];
  /** Deleted and made again while clients use it; undefined: stays for the whole run. */
  readonly churn: ContainerModel | undefined;
}

export interface Tally {
  [what: string]: number;
}

export type Settled<Result> =
  | { readonly kind: 'done'; readonly result: Result }
  | { readonly kind: 'failed'; readonly code: string }
  /** The proxy's process ended first. */
  | { readonly kind: 'lost' };

/** A write under way. */
export interface Writing {
  readonly record: WriteRecord;
  readonly model: KeyModel;
  readonly floor: KeyModel['floor'];
  readonly txn: string;
}

/** Everything is written by one of them. */
export const USERS = ['a'.repeat(32), 'b'.repeat(32)] as const;

export class Session {
  readonly tally: Tally = {};
  /** More than these codes a client is never told. */
  readonly expected = new Set(EXPECTED);
  readonly cluster: SimCluster;
  readonly random: Prng;
  #nextWrite = 1;
  #nextTxn = 1;

  constructor(cluster: SimCluster, random: Prng) {
    this.cluster = cluster;
    this.random = random;
  }

  get nowMs(): number {
    return this.cluster.world.nowMs;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.cluster.world.schedule(ms, 'client', resolve);
    });
  }

  newWriteId(): number {
    return this.#nextWrite++;
  }

  /** By one user or the other. */
  operation(txn = `tx${this.#nextTxn++}`, signal = new AbortController().signal): Operation {
    return { txn, signal, read: 'quorum', user: USERS[this.#nextTxn % 2]! };
  }

  /** Notes a write before it is sent, and every timestamp under which it is tried. */
  begin(
    node: SimNode,
    model: KeyModel,
    kind: WriteKind,
    more: Pick<WriteRecord, 'id' | 'content' | 'deleteAt'>,
  ): Writing {
    const record: WriteRecord = {
      ...more,
      key: model.key,
      kind,
      startMs: this.nowMs,
      endMs: undefined,
      outcome: 'pending',
      timestamps: [],
      renewed: new Set(),
      via: node.name,
    };
    model.begin(record);
    const txn = `tx${this.#nextTxn++}`;
    this.cluster.tap.listen(txn, {
      attempt: (attempt) => {
        const { timestamp } = attempt;
        if (!isOwn(record, attempt)) record.overwritten = overwriting(attempt);
        // What a stand-in is sent late of a former round is no attempt of its own (seed 905736).
        if (!isOwn(record, attempt) || record.timestamps.includes(timestamp)) return;
        if (kind === 'delete') record.writeId ??= attempt.writeId;
        record.timestamps.push(timestamp);
      },
      forgotten: () => {
        record.isForgotten = true;
      },
    });
    return { record, model, floor: model.floor, txn };
  }

  end({ record, model, floor }: Writing, outcome: Outcome, settled: Settled<unknown>): Outcome {
    this.count(record.kind, settled);
    model.end(record, outcome, this.nowMs, floor);
    return outcome;
  }

  /** Runs an operation on a node until it is answered, or its process has ended. */
  async settle<Result>(
    node: SimNode,
    run: (process: Process, operation: Operation) => Promise<Result>,
    txn?: string,
  ): Promise<Settled<Result>> {
    const { process } = node;
    if (process === undefined) return { kind: 'lost' };
    const gone = new AbortController();
    const { world } = this.cluster;
    if (this.random.chance(0.02)) {
      world.schedule(this.random.delay(10), 'client leaves', () => gone.abort());
    }
    const limit = world.schedule(OPERATION_LIMIT_MS, 'operation limit', () => {
      hung.reject(new Violation('liveness', `an operation via ${node.name} has no answer`));
    });
    const hung = Promise.withResolvers<never>();
    hung.promise.catch(() => undefined);
    const answer = run(process, this.operation(txn, gone.signal)).then(
      (result): Settled<Result> => ({ kind: 'done', result }),
      (error: unknown): Settled<Result> => this.#failureOf(error),
    );
    const lost = process.ended.then((): Settled<Result> => ({ kind: 'lost' }));
    const settled = await Promise.race([answer, lost, hung.promise]);
    limit.task = undefined;
    return settled;
  }

  #failureOf(error: unknown): { kind: 'failed'; code: string } {
    if (error instanceof Violation) throw error;
    if (error instanceof OperatingError && this.expected.has(error.code)) {
      return { kind: 'failed', code: error.code };
    }
    const text = error instanceof Error ? `${error.stack}` : String(error);
    throw new Violation('clear errors', `a client is told: ${text}`);
  }

  count(what: string, settled: Settled<unknown>): void {
    const name = settled.kind === 'failed' ? `${what}:${settled.code}` : `${what}:${settled.kind}`;
    this.tally[name] = (this.tally[name] ?? 0) + 1;
  }
}

export function containerOf({ name }: Box) {
  return { account: ACCOUNT, container: name };
}

export function objectOf(box: Box, model: KeyModel) {
  return { ...containerOf(box), object: model.name };
}

function overwriting({ timestamp, kind, contentType, writeId }: Attempt): Overwriting {
  if (kind === 'deleted') return { timestamp, deletion: writeId };
  return { timestamp, write: writeOf(contentType ?? '') };
}

/** An operation may also send what others wrote, when it settles it. */
function isOwn({ kind, id, writeId }: WriteRecord, attempt: Attempt): boolean {
  switch (kind) {
    case 'put':
      return attempt.kind === 'live' && writeOf(attempt.contentType ?? '') === id;
    case 'delete':
      return attempt.kind === 'deleted' && (writeId === undefined || writeId === attempt.writeId);
    case 'post':
      return attempt.user?.[TAG] === String(id);
  }
}
