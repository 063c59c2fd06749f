/**
 * Read-repair: what a read found stale or missing is brought up to date in the background, by joining
 * the newest state (and a small body along with it) into the replica. For a larger body the replica is told
 * who has it and fetches it itself. A bounded queue: what does not fit is left to replication.
 */
import { BoundedQueue } from '#base/bounded-queue.ts';
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import type { Target, WriteArgs } from '#object/calls.ts';
import type { ProxyContext } from './context.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import { Trace } from './trace.ts';

export interface Repair {
  readonly txn: string;
  readonly place: Place;
  readonly replica: Replica;
  readonly state: EntryState;
  /** The whole body of this state, where the read brought it along. */
  readonly body?: Buffer;
  readonly sources: readonly Target[];
}

const MAX_CONCURRENT = 8;

export class Repairs {
  readonly #context: ProxyContext;
  readonly #waiting: BoundedQueue<Repair>;
  /** (device, key, version) waiting or under way: a hot stale key is repaired once. */
  readonly #known = new Set<string>();
  #active = 0;

  constructor(context: ProxyContext) {
    this.#context = context;
    this.#waiting = new BoundedQueue(context.limits.repairQueue);
  }

  enqueue(repair: Repair): void {
    const key = `${repair.replica.member}${repair.place.hash.toString('latin1')}`;
    if (this.#known.has(key)) return;
    if (!this.#waiting.push(repair)) {
      this.#context.metrics.count('read-repair-dropped');
      return;
    }
    this.#known.add(key);
    this.#pump();
  }

  #pump(): void {
    while (this.#active < MAX_CONCURRENT) {
      const repair = this.#waiting.shift();
      if (repair === undefined) return;
      this.#active++;
      void this.now(repair).finally(() => {
        this.#active--;
        this.#known.delete(`${repair.replica.member}${repair.place.hash.toString('latin1')}`);
        this.#pump();
      });
    }
  }

  /** True: the replica has joined the state. */
  async now({ txn, place, replica, state, body, sources }: Repair): Promise<boolean> {
    const { env, calls, limits, metrics } = this.#context;
    const args: WriteArgs = {
      ...addressOf(place, replica),
      path: place.path,
      state: encodeState(state),
      intent: 'join',
      // The row may be missing too: the replica's updater makes sure of it.
      unlisted: true,
      ...(replica.holdsBody && (body === undefined ? { sources } : { body })),
    };
    const trace = new Trace(txn, 'repair', place.path, 0, env.clock.monotonicMs());
    const options = { ringVersion: replica.ringVersion, deadlineMs: limits.writeDeadlineMs };
    try {
      await calls.call(trace, replica, 'object.write', args, { ...options, lane: 'bulk' });
      metrics.count('read-repair');
      env.log.info('object.read-repaired', { txn, path: place.path, device: replica.device });
      return true;
    } catch {
      return false; // calls.call has noted the failure; replication will bring the state later
    }
  }
}
