/**
 * Whether a write can start: a majority of the primaries is there. Asked before the body is read, so
 * that a client that sent `Expect: 100-continue` doesn't send gigabytes for a 503.
 */
import type { Timer } from '#env/env.ts';
import type { StatArgs } from '#object/calls.ts';
import { type ProxyContext, unavailable } from './context.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';
import type { Trace } from './trace.ts';

/** An answer this recent is as good as asking. */
const RECENT_MS = 5_000;
const PROBE_MS = 3_000;

/** @throws OperatingError `unavailable` */
export async function checkReady(context: ProxyContext, trace: Trace, place: Place): Promise<void> {
  const alive = place.primaries.filter(({ device }) => context.peers.isAlive(device, RECENT_MS));
  if (place.quorum.isWrite(new Set(alive.map((replica) => replica.member)))) return;
  await probe(context, trace, place, true);
}

/**
 * Asks all primaries; resolves when a majority has answered and the others had a moment to. Gives
 * those that failed. Without `strict` it always resolves: stand-ins may do.
 * @throws OperatingError `unavailable`
 */
export function probe(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  strict: boolean,
): Promise<ReadonlySet<number>> {
  return new Promise((resolve, reject) => {
    new Probe(context, trace, place, (alive, failed, codes) => {
      if (!strict || place.quorum.isWrite(alive)) resolve(failed);
      else reject(unavailable('write', codes));
    }).start();
  });
}

type Finish = (
  alive: ReadonlySet<number>,
  failed: ReadonlySet<number>,
  codes: readonly string[],
) => void;

class Probe {
  readonly #context: ProxyContext;
  readonly #trace: Trace;
  readonly #place: Place;
  readonly #onEnd: Finish;
  readonly #alive = new Set<number>();
  readonly #failed = new Set<number>();
  readonly #codes: string[] = [];
  #timer: Timer | undefined;
  #hasMajority = false;

  constructor(context: ProxyContext, trace: Trace, place: Place, onEnd: Finish) {
    this.#context = context;
    this.#trace = trace;
    this.#place = place;
    this.#onEnd = onEnd;
  }

  start(): void {
    this.#endAfter(PROBE_MS);
    for (const replica of this.#place.primaries) void this.#ask(replica);
  }

  async #ask(replica: Replica): Promise<void> {
    const args: StatArgs = { ...addressOf(this.#place, replica), brief: true };
    const options = { ringVersion: replica.ringVersion, deadlineMs: PROBE_MS };
    try {
      await this.#context.calls.call(this.#trace, replica, 'object.stat', args, options);
      this.#alive.add(replica.member);
    } catch (error) {
      this.#codes.push(failureCode(error));
      this.#failed.add(replica.member);
    }
    this.#check();
  }

  #check(): void {
    const { quorum, primaries } = this.#place;
    const all = this.#alive.size + this.#failed.size === primaries.length;
    if (all) this.#endAfter(0);
    else if (!this.#hasMajority && quorum.isWrite(this.#alive)) {
      this.#hasMajority = true;
      this.#endAfter(this.#context.limits.hedgeMs);
    }
  }

  #endAfter(ms: number): void {
    this.#timer?.cancel();
    if (ms === 0) this.#onEnd(this.#alive, this.#failed, this.#codes);
    else this.#timer = this.#context.env.clock.setTimer(ms, () => this.#endAfter(0));
  }
}
