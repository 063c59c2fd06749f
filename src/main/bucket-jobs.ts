/**
 * Jobs that do what buckets are configured to: lifecycle, and sending events. They run beside the devices, on the first
 * healthy primary of each container, and work through a proxy of their own, as a client would: a storage
 * node has no other.
 */

import { Outside } from '#env/node/outside.ts';
import { BucketWalk, type BucketWalkOptions } from '#proxy/bucket-jobs/bucket-walk.ts';
import { LifecycleJob } from '#proxy/lifecycle/lifecycle-job.ts';
import { LIFECYCLE_HEADER } from '#proxy/lifecycle/rules.ts';
import type { ProxyLimits } from '#proxy/limits.ts';
import { DeliveryJob } from '#proxy/notification/delivery-job.ts';
import { QUEUE_HEADER } from '#proxy/notification/event-queue.ts';
import { notifyingStore } from '#proxy/notification/notifying-store.ts';
import { ContainerPolicies } from '#proxy/policy-move/container-policies.ts';
import { isMoving, MoveJob, type MoveJobOptions } from '#proxy/policy-move/move-job.ts';
import { createProxy } from '#proxy/proxy.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import { settingsOf } from '#rows/row-state.ts';
import type { RowStore } from '#rows/row-store.ts';
import { isUsable } from '#rows/service/keeper.ts';
import type { JobStatus } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';
import type { Foundation } from './foundation.ts';
import type { StorageRole } from './storage.ts';

export interface BucketJobs {
  statuses(): JobStatus[];
  readonly policies: ContainerPolicies;
  stop(): Promise<void>;
}

export interface BucketJobsOptions {
  /** The simulator waits seconds where an operator waits minutes. */
  readonly limits?: Partial<ProxyLimits>;
  readonly move?: Pick<MoveJobOptions, 'settleMs' | 'pageItems'>;
}

const START_MS = 5_000;

export function startBucketJobs(
  { env, config, clock, cluster, wire, name }: Foundation,
  storage: Pick<StorageRole, 'open'>,
  { limits = {}, move = {} }: BucketJobsOptions = {},
): BucketJobs {
  const self = { node: name, site: config.site };
  const proxy = createProxy({ env, wire, cluster, clock, self, limits });
  const store = withVersions(proxy, env);
  const rows = (): Map<number, RowStore> => usableRows(storage);
  const walk = (isWanted: BucketWalkOptions['isWanted']): BucketWalk =>
    new BucketWalk({ cluster, rows, isWanted });
  const outside = new Outside(() => cluster.current().settings?.webhooks ?? []);
  const deletion = 'LifecycleExpiration';
  const jobs = [
    new LifecycleJob({
      env,
      store: notifyingStore(store, { env, region: config.site, deletion }),
      walk: walk((headers) => headers[LIFECYCLE_HEADER] !== undefined),
      node: name,
      dayMs: config.lifecycleDaySeconds * 1000,
    }),
    new DeliveryJob({
      env,
      store,
      walk: walk((headers, objects) => objects > 0 && headers[QUEUE_HEADER] !== undefined),
      node: name,
      send: (url, request, signal) => outside.post(url, request, signal),
    }),
    new MoveJob({
      env,
      cluster,
      store: proxy,
      moves: proxy.moves,
      rows,
      walk: walk((_, __, state) => isMoving(settingsOf(state))),
      node: name,
      ...move,
    }),
  ];
  const runners = jobs.map((job) => new JobRunner(env, job, { startMs: START_MS }));
  return {
    policies: new ContainerPolicies({ env, store: proxy, moves: proxy.moves }),
    statuses: () => runners.map((runner) => runner.status()),
    stop: async () => {
      await Promise.all(runners.map((runner) => runner.stop()));
    },
  };
}

function usableRows(storage: Pick<StorageRole, 'open'>): Map<number, RowStore> {
  const usable = [...storage.open()].filter(([, device]) => isUsable(device));
  return new Map(usable.map(([id, { rows }]) => [id, rows]));
}
