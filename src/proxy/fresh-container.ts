/**
 * An operation that took its container for what it was a moment ago is refused by the container's replicas
 * (`container-mismatch`, container/rules.ts): it was created anew, or is on its way to another policy. Then
 * the container is asked again and the operation done again, as for a ring that is old (fresh-ring.ts).
 */
import { codeOf } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { Containers } from './containers.ts';
import type { ProxyContext } from './context.ts';

const MAX_ATTEMPTS = 4;
/** Not all replicas may have the new settings yet. */
const WAIT_MS = 50;

/** `work` must ask `containers` for the container by itself. */
export async function withFreshContainer<Result>(
  { env, metrics }: ProxyContext,
  containers: Containers,
  { account, container }: ContainerName,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== 'container-mismatch') throw error;
      containers.forget({ account, container });
      if (attempt === MAX_ATTEMPTS) throw error;
      metrics.count('fresh-container');
      await env.clock.sleep(WAIT_MS * attempt);
    }
  }
}
