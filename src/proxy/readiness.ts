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
  await probeMajority(context, trace, place, true);
}

/**
 * Asks the primaries, until a majority is there. Gives those that failed. Without `strict` it always
 * resolves: stand-ins may do.
 * @throws OperatingError `unavailable`
 */
export async function probeMajority(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  strict: boolean,
): Promise<ReadonlySet<number>> {
  const isEnough = (alive: ReadonlySet<number>): boolean => place.quorum.isWrite(alive);
  const asked = { place, replicas: place.primaries, isEnough };
  const { alive, failed, codes } = await probe(context, trace, asked);
  if (strict && !isEnough(alive)) throw unavailable('write', codes);
  return failed;
}

interface Asked {
  readonly place: Place;
  readonly replicas: readonly Replica[];
  readonly isEnough: (alive: ReadonlySet<number>) => boolean;
}

/** Members. Who is in neither set has not answered. */
interface Probed {
  readonly alive: ReadonlySet<number>;
  readonly failed: ReadonlySet<number>;
  readonly codes: readonly string[];
}

/**
 * Asks replicas whether they are there; until enough have answered and the others had a moment to. Who is far
 * and answered something lately is not asked: that would be a round trip before the first byte.
 */
export function probe(context: ProxyContext, trace: Trace, asked: Asked): Promise<Probed> {
  return new Promise((resolve) => {
    new Probe(context, trace, asked, resolve).start();
  });
}

class Probe implements Probed {
  readonly #context: ProxyContext;
  readonly #trace: Trace;
  readonly #asked: Asked;
  readonly #onEnd: (probed: Probed) => void;
  readonly alive = new Set<number>();
  readonly failed = new Set<number>();
  readonly codes: string[] = [];
  #timer: Timer | undefined;
  #hasEnough = false;

  constructor(context: ProxyContext, trace: Trace, asked: Asked, onEnd: (probed: Probed) => void) {
    this.#context = context;
    this.#trace = trace;
    this.#asked = asked;
    this.#onEnd = onEnd;
  }

  start(): void {
    this.#endAfter(PROBE_MS);
    const { peers, self } = this.#context;
    for (const replica of this.#asked.replicas) {
      const isFar = replica.site !== self.site;
      if (isFar && peers.isAlive(replica.device, RECENT_MS)) this.alive.add(replica.member);
      else void this.#ask(replica);
    }
    this.#check();
  }

  async #ask(replica: Replica): Promise<void> {
    const args: StatArgs = { ...addressOf(this.#asked.place, replica), brief: true };
    const options = { ringVersion: replica.ringVersion, deadlineMs: PROBE_MS };
    try {
      await this.#context.calls.call(this.#trace, replica, 'object.stat', args, options);
      this.alive.add(replica.member);
    } catch (error) {
      this.codes.push(failureCode(error));
      this.failed.add(replica.member);
    }
    this.#check();
  }

  #check(): void {
    const { replicas, isEnough } = this.#asked;
    if (this.alive.size + this.failed.size === replicas.length) this.#endAfter(0);
    else if (!this.#hasEnough && isEnough(this.alive)) {
      this.#hasEnough = true;
      this.#endAfter(this.#context.limits.hedgeMs);
    }
  }

  #endAfter(ms: number): void {
    this.#timer?.cancel();
    if (ms === 0) this.#onEnd(this);
    else this.#timer = this.#context.env.clock.setTimer(ms, () => this.#endAfter(0));
  }
}
