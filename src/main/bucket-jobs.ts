/**
 * Jobs that do what buckets are configured to: lifecycle. They run beside the devices, on the first
 * healthy primary of each container, and work through a proxy of their own, as a client would: a storage
 * node has no other.
 */

import { BucketWalk } from '#proxy/bucket-jobs/bucket-walk.ts';
import { LifecycleJob } from '#proxy/lifecycle/lifecycle-job.ts';
import { LIFECYCLE_HEADER } from '#proxy/lifecycle/rules.ts';
import { createProxy } from '#proxy/proxy.ts';
import { withVersions } from '#proxy/versions/versions.ts';
import type { RowStore } from '#rows/row-store.ts';
import { isUsable } from '#rows/service/keeper.ts';
import type { JobStatus } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';
import type { Foundation } from './foundation.ts';
import type { StorageRole } from './storage.ts';

export interface BucketJobs {
  statuses(): JobStatus[];
  stop(): Promise<void>;
}

const START_MS = 5_000;

export function startBucketJobs(
  { env, config, clock, cluster, wire, name }: Foundation,
  storage: Pick<StorageRole, 'open'>,
): BucketJobs {
  const self = { node: name, site: config.site };
  const store = withVersions(createProxy({ env, wire, cluster, clock, self }), env);
  const walk = new BucketWalk({
    cluster,
    rows: () => usableRows(storage),
    isWanted: (headers) => headers[LIFECYCLE_HEADER] !== undefined,
  });
  const dayMs = config.lifecycleDaySeconds * 1000;
  const jobs = [new LifecycleJob({ env, store, walk, node: name, dayMs })];
  const runners = jobs.map((job) => new JobRunner(env, job, { startMs: START_MS }));
  return {
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
