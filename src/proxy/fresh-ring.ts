/**
 * An operation that was placed by a ring that is not in force any more is refused by the devices:
 * `ring-old` by those that are two versions ahead or were fenced, `moved` by those that are primaries
 * no more. Then the ring is on its way to this process too: the operation waits for it, for a moment,
 * and starts again. A few times at most (a change has several versions); and only what can be repeated.
 *
 * The other way round, devices whose nodes have not got a ring that changes their partition refuse who has
 * (`ring-unknown`): they ask for it at once, and are asked again soon.
 *
 * So does, once, what found a majority cut off and was told at once: the wire refuses calls to a node that it
 * is just dialling again (wire/lane.ts), and may be connected a moment later. An error without a wait would
 * also make every client try again at full speed.
 */
import { OperatingError } from '#base/errors.ts';
import type { ProxyContext } from './context.ts';

const WAIT_MS = 3_000;
const MAX_ATTEMPTS = 5;
/** At first; twice as long each time. Together longer than a node waits between its looks for a ring (bundle-source.ts). */
const SPREAD_MS = 100;
/** The longest that a lane waits between dials is 1.5 s. */
const REDIAL_MS = 1_500;
/** Who was told later has waited for somebody. */
const AT_ONCE_MS = 250;
/** Of objects, and of their rows (write-round.ts puts `row-` before what a container replica said). */
const REFUSALS = new Set(['ring-old', 'moved', 'row-ring-old', 'row-moved']);
const AHEAD = new Set(['ring-unknown', 'row-ring-unknown']);
const UNREACHABLE = new Set(['unreachable', 'row-unreachable']);

export async function withFreshRing<Result>(
  context: ProxyContext,
  work: () => Promise<Result>,
): Promise<Result> {
  const { clock } = context.env;
  let hasRedialled = false;
  for (let attempt = 1; ; attempt++) {
    const { version } = context.cluster.current();
    const startMs = clock.monotonicMs();
    try {
      return await work();
    } catch (error) {
      if (attempt === MAX_ATTEMPTS) throw error;
      if (isRefused(error, REFUSALS)) {
        if (!(await newerThan(context, version))) throw error;
        context.metrics.count('fresh-ring');
      } else if (isRefused(error, AHEAD)) {
        await clock.sleep(SPREAD_MS * 2 ** (attempt - 1));
        context.metrics.count('fresh-ring');
      } else {
        const atOnce = clock.monotonicMs() - startMs < AT_ONCE_MS;
        if (hasRedialled || !atOnce || !isCutOff(error)) throw error;
        hasRedialled = true;
        await clock.sleep(REDIAL_MS);
        context.metrics.count('redial');
      }
    }
  }
}

/** Whether an operation failed because the devices have another ring. */
function isRefused(error: unknown, refusals: ReadonlySet<string>): boolean {
  return codesOf(error).some((code) => refusals.has(code));
}

/** Whether all that it failed for is that nodes can't be reached. */
function isCutOff(error: unknown): boolean {
  const codes = codesOf(error);
  return codes.length > 0 && codes.every((code) => UNREACHABLE.has(code));
}

function codesOf(error: unknown): readonly string[] {
  if (!(error instanceof OperatingError) || error.code !== 'unavailable') return [];
  const { codes } = error.facts;
  return Array.isArray(codes) ? codes.map(String) : [];
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
    else cluster.seek();
  });
}
