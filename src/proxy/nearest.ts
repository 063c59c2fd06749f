/**
 * Asks one replica, the nearest first, and the next one when it fails, refuses or is slow. For calls
 * that any one complete replica can answer alone (listings: it asks the others itself).
 */
import { type ProxyContext, unavailable } from './context.ts';
import type { Place, Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';

export interface NearestRequest<Reply> {
  readonly place: Place;
  readonly ask: (replica: Replica) => Promise<Reply>;
  /** Whether this answer will do; one that won't is as good as a failure. */
  readonly accepts: (reply: Reply) => boolean;
  /** Says what could not be had. */
  readonly what: string;
}

/** @throws OperatingError `unavailable` */
export function askNearest<Reply>(
  context: ProxyContext,
  { place, ask, accepts, what }: NearestRequest<Reply>,
): Promise<Reply> {
  const { env, peers, limits, metrics } = context;
  const waiting = peers.nearestFirst(place.primaries);
  const codes: string[] = [];
  let pending = 0;
  return new Promise((resolve, reject) => {
    let timer: { cancel(): void } | undefined;
    const settle = (finish: () => void): void => {
      timer?.cancel();
      finish();
    };
    const failed = (code: string): void => {
      codes.push(code);
      if (!next() && pending === 0) settle(() => reject(unavailable(what, codes)));
    };
    const next = (): boolean => {
      const replica = waiting.shift();
      if (replica === undefined) return false;
      pending++;
      ask(replica).then(
        (reply) => {
          pending--;
          if (accepts(reply)) settle(() => resolve(reply));
          else failed('incomplete');
        },
        (error: unknown) => {
          pending--;
          failed(failureCode(error));
        },
      );
      timer?.cancel();
      timer = env.clock.setTimer(hedgeAfter(replica), () => {
        if (next()) metrics.count('hedge');
      });
      return true;
    };
    const hedgeAfter = (replica: Replica): number =>
      Math.max(4 * limits.hedgeMs, 2 * peers.slowMs(replica.device));
    if (!next()) reject(unavailable(what));
  });
}
