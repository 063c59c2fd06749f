/**
 * An operation that was placed by a ring two versions behind is refused by the devices (`ring-old`).
 * Then the ring is on its way to this process too: the operation waits for it, for a moment, and
 * starts again. Once only; and only what can be repeated.
 */
import { OperatingError } from '#base/errors.ts';
import type { ProxyContext } from './context.ts';

const WAIT_MS = 2_000;

export async function withFreshRing<Result>(
  context: ProxyContext,
  work: () => Promise<Result>,
): Promise<Result> {
  const { version } = context.cluster.current();
  try {
    return await work();
  } catch (error) {
    if (!isRingOld(error)) throw error;
    await newerThan(context, version);
    return work();
  }
}

function isRingOld(error: unknown): boolean {
  if (!(error instanceof OperatingError) || error.code !== 'unavailable') return false;
  const { codes } = error.facts;
  return Array.isArray(codes) && codes.includes('ring-old');
}

function newerThan({ cluster, env }: ProxyContext, version: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      stop();
      resolve();
    };
    const timer = env.clock.setTimer(WAIT_MS, done);
    const stop = cluster.subscribe((view) => {
      if (view.version > version) done();
    });
    if (cluster.current().version > version) done();
  });
}
