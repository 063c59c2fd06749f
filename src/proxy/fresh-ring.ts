/**
 * An operation that was placed by a ring that is not in force any more is refused by the devices:
 * `ring-old` by those that are two versions ahead or were fenced, `moved` by those that are primaries
 * no more. Then the ring is on its way to this process too: the operation waits for it, for a moment,
 * and starts again. A few times at most (a change has several versions); and only what can be repeated.
 */
import { OperatingError } from '#base/errors.ts';
import type { ProxyContext } from './context.ts';

const WAIT_MS = 3_000;
const MAX_ATTEMPTS = 4;
/** Of objects, and of their rows (write-round.ts puts `row-` before what a container replica said). */
const REFUSALS = new Set(['ring-old', 'moved', 'row-ring-old', 'row-moved']);

export async function withFreshRing<Result>(
  context: ProxyContext,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    const { version } = context.cluster.current();
    try {
      return await work();
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !isRingOld(error)) throw error;
      if (!(await newerThan(context, version))) throw error;
      context.metrics.count('fresh-ring');
    }
  }
}

/** Whether an operation failed because the devices have a newer ring. */
function isRingOld(error: unknown): boolean {
  if (!(error instanceof OperatingError) || error.code !== 'unavailable') return false;
  const { codes } = error.facts;
  return Array.isArray(codes) && codes.some((code) => REFUSALS.has(code as string));
}

/** False: no newer ring came in time. */
function newerThan({ cluster, env }: ProxyContext, version: number): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      stop();
      resolve(cluster.current().version > version);
    };
    const timer = env.clock.setTimer(WAIT_MS, done);
    const stop = cluster.subscribe((view) => {
      if (view.version > version) done();
    });
    if (cluster.current().version > version) done();
  });
}
