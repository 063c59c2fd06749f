/**
 * Sends rows to container replicas, many in one message: the rows of one turn of the event loop go
 * together, and while a few messages to a replica are under way the next rows gather. At 3,000 writes
 * a second that is a handful of calls per turn instead of 3,000.
 */
import { BoundedQueue } from '#base/bounded-queue.ts';
import { OperatingError } from '#base/errors.ts';
import type { RowItem, RowOutcome, RowsArgs } from '#container/calls.ts';
import { ROW_OUTCOMES } from '#container/calls.ts';
import type { Env } from '#env/env.ts';
import type { Caller } from '#wire/contract.ts';
import type { Target } from './calls.ts';

export interface RowDelivery {
  readonly outcome: RowOutcome;
  /** The replica is complete, so the delivery counts in a majority. */
  readonly complete: boolean;
}

export interface RowOptions {
  readonly txn: string;
  readonly ringVersion: number;
  readonly intent: 'write' | 'repair';
  readonly from?: RowsArgs['from'];
}

interface Waiting {
  readonly row: RowItem;
  readonly txn: string;
  readonly settle: (delivery: RowDelivery | Error) => void;
}

interface Lane {
  readonly target: Target;
  readonly ringVersion: number;
  readonly intent: 'write' | 'repair';
  readonly from: RowsArgs['from'];
  readonly key: string;
  readonly waiting: BoundedQueue<Waiting>;
  inFlight: number;
  scheduled: boolean;
}

const MAX_BATCH_ROWS = 256;
const MAX_BATCH_BYTES = 1024 * 1024;
const MAX_WAITING = 20_000;
const MAX_IN_FLIGHT = 4;
/** Of storage nodes, which go on to the next replica then. */
const DEADLINE_MS = 2_000;

export class RowSender {
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #method: string;
  readonly #deadlineMs: number;
  readonly #lanes = new Map<string, Lane>();

  /** `method`: container.rows or account.rows. */
  constructor(env: Env, caller: Caller, method = 'container.rows', deadlineMs = DEADLINE_MS) {
    this.#env = env;
    this.#deadlineMs = deadlineMs;
    this.#caller = caller;
    this.#method = method;
  }

  /** @throws WireError; OperatingError `overloaded`, `malformed` */
  send(target: Target, row: RowItem, options: RowOptions): Promise<RowDelivery> {
    const lane = this.#lane(target, options);
    return new Promise((resolve, reject) => {
      const settle = (result: RowDelivery | Error): void =>
        result instanceof Error ? reject(result) : resolve(result);
      if (!lane.waiting.push({ row, txn: options.txn, settle })) {
        reject(new OperatingError('overloaded', 'too many rows are waiting', { ...target }));
      }
      this.#schedule(lane);
    });
  }

  #lane(target: Target, { ringVersion, intent, from }: RowOptions): Lane {
    const key = `${target.device}/${ringVersion}/${intent}/${from ?? ''}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined || lane.target.node !== target.node) {
      const waiting = new BoundedQueue<Waiting>(MAX_WAITING);
      const common = { target, ringVersion, intent, from, key };
      lane = { ...common, waiting, inFlight: 0, scheduled: false };
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #schedule(lane: Lane): void {
    if (lane.scheduled || lane.inFlight >= MAX_IN_FLIGHT) return;
    lane.scheduled = true;
    this.#env.clock.defer(() => {
      lane.scheduled = false;
      this.#flush(lane);
    });
  }

  #flush(lane: Lane): void {
    while (lane.waiting.length > 0 && lane.inFlight < MAX_IN_FLIGHT) {
      lane.inFlight++;
      void this.#deliver(lane, takeBatch(lane.waiting)).finally(() => {
        lane.inFlight--;
        if (lane.waiting.length > 0) this.#schedule(lane);
        else if (lane.inFlight === 0) this.#forget(lane);
      });
    }
  }

  /** Lanes come and go with ring versions; an idle one is dropped. */
  #forget(lane: Lane): void {
    if (!lane.scheduled && this.#lanes.get(lane.key) === lane) this.#lanes.delete(lane.key);
  }

  async #deliver(lane: Lane, batch: readonly Waiting[]): Promise<void> {
    const { target, ringVersion, intent, from } = lane;
    const rows = batch.map((item) => item.row);
    const args: RowsArgs = {
      device: target.device,
      ringVersion,
      rows,
      intent,
      ...(from !== undefined && { from }),
    };
    try {
      const options = { txn: batch[0]!.txn, deadlineMs: this.#deadlineMs };
      const { result } = await this.#caller.call(target.node, this.#method, args, options);
      const { outcomes, complete } = parseReply(result, batch.length);
      batch.forEach((item, i) => {
        item.settle({ outcome: outcomes[i]!, complete });
      });
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      for (const item of batch) item.settle(failure);
    }
  }
}

function takeBatch(waiting: BoundedQueue<Waiting>): Waiting[] {
  const batch: Waiting[] = [];
  let bytes = 0;
  while (batch.length < MAX_BATCH_ROWS && bytes < MAX_BATCH_BYTES) {
    const item = waiting.shift();
    if (item === undefined) break;
    bytes += item.row.state.length + item.row.name.length + item.row.path.length;
    batch.push(item);
  }
  return batch;
}

function parseReply(
  result: unknown,
  count: number,
): { readonly outcomes: readonly RowOutcome[]; readonly complete: boolean } {
  const { outcomes, complete } = (result ?? {}) as { outcomes?: unknown; complete?: unknown };
  const valid =
    Array.isArray(outcomes) &&
    outcomes.length === count &&
    outcomes.every((outcome) => (ROW_OUTCOMES as readonly unknown[]).includes(outcome));
  if (!valid) throw new OperatingError('malformed', 'a reply to rows has another form');
  return { outcomes: outcomes as RowOutcome[], complete: complete === true };
}
