/** What /status tells of a process; `anello status` reads it. */
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import type { Foundation } from './foundation.ts';
import type { ProxyRole } from './proxy.ts';
import type { StorageRole } from './storage.ts';

export function processStatus(
  foundation: Foundation,
  storage: StorageRole | undefined,
  proxy: ProxyRole | undefined,
): unknown {
  const { config, cluster, wire, name } = foundation;
  const view = cluster.current();
  const ringName = (policy: PolicyIndex): string => {
    if (policy === CONTAINER_RING) return 'container';
    if (policy === ACCOUNT_RING) return 'account';
    return `object/${view.policies.find(({ index }) => index === policy)?.name ?? policy}`;
  };
  return {
    node: name,
    site: config.site,
    roles: config.roles,
    pid: process.pid,
    uptimeSeconds: process.uptime(),
    bundleVersion: view.version,
    rings: Object.fromEntries(
      [...view.rings].map(([policy, ring]) => [ringName(policy), ring.version]),
    ),
    configured: storage === undefined ? [] : config.devices,
    devices: storage?.reports() ?? [],
    jobs: storage?.jobs() ?? [],
    wire: wire.status(),
    ...(proxy !== undefined && { proxy: proxy.status() }),
  };
}
