/** What /status tells of a process; `anello status` reads it. */
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { BucketJobs } from './bucket-jobs.ts';
import type { Foundation } from './foundation.ts';
import type { ProxyRole } from './proxy.ts';
import type { StorageRole } from './storage.ts';

export function processStatus(
  foundation: Foundation,
  storage: StorageRole | undefined,
  proxy: ProxyRole | undefined,
  bucketJobs?: BucketJobs,
): unknown {
  const { config, cluster, wire, name } = foundation;
  const view = cluster.current();
  return {
    node: name,
    site: config.site,
    roles: config.roles,
    pid: process.pid,
    uptimeSeconds: process.uptime(),
    bundleVersion: view.version,
    rings: ringNames(view),
    configured: storage === undefined ? [] : config.devices,
    devices: storage?.reports() ?? [],
    jobs: [...(storage?.jobs() ?? []), ...(bucketJobs?.statuses() ?? [])],
    wire: wire.status(),
    ...(proxy !== undefined && { proxy: proxy.status() }),
  };
}

/** Versions of the rings in force, by name. */
export function ringNames(view: ClusterView): Record<string, number> {
  const nameOf = (policy: PolicyIndex): string => {
    if (policy === CONTAINER_RING) return 'container';
    if (policy === ACCOUNT_RING) return 'account';
    return `object/${view.policies.find(({ index }) => index === policy)?.name ?? policy}`;
  };
  return Object.fromEntries(
    [...view.rings].map(([policy, ring]) => [nameOf(policy), ring.version]),
  );
}
