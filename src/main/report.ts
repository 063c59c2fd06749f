/** What a process tells the authority: see authority/reports.ts. */
import type { ProcessReport } from '#authority/reports.ts';
import { OperatingError } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { DeviceReport } from '#object/calls.ts';
import type { AskAuthority } from './authority-client.ts';
import type { Foundation } from './foundation.ts';
import { ringNames } from './status.ts';
import type { StorageRole } from './storage.ts';

/** What balancers, firewalls and monitoring reach it by. */
function portsOf({ listen }: Pick<NodeConfig, 'listen'>): ProcessReport['ports'] {
  const { admin, proxy, authority, identity } = listen;
  return { admin, proxy, authority, identity };
}

/** What `anello` calls itself. */
export const VERSION = '0.1.0';

export function processReport(
  { env, config, cluster, name }: Foundation,
  storage: StorageRole | undefined,
  certifiedUntilMs: number | undefined,
): ProcessReport {
  const view = cluster.current();
  const { refused } = cluster;
  return {
    process: name,
    site: config.site,
    roles: [...config.roles],
    version: VERSION,
    bundleVersion: view.version,
    rings: ringNames(view),
    ports: portsOf(config),
    devices: devicesOf(config.devices, storage?.reports() ?? []),
    ...(refused !== undefined && { refused }),
    ...(certifiedUntilMs !== undefined && { certifiedUntilMs }),
    moment: momentOf(env, storage),
  };
}

/** What `anello recon` shows of queues and times. */
function momentOf(
  { clock }: Foundation['env'],
  storage: StorageRole | undefined,
): ProcessReport['moment'] {
  const now = { clockMs: clock.wallMicros() / 1000, uptimeSeconds: process.uptime() };
  if (storage === undefined) return { ...now, queues: {} };
  const reports = storage.reports();
  const sum = (pick: (report: DeviceReport) => number): number =>
    reports.reduce((total, report) => total + pick(report), 0);
  const waiting = [...storage.debt().values()].reduce((total, { entries }) => total + entries, 0);
  const verified = reports.map(({ audit }) => audit.verifiedSinceMs ?? Number.NaN);
  const oldest = Math.min(...verified);
  return {
    ...now,
    queues: {
      unlisted: sum(({ facts }) => facts.unlisted),
      standIns: waiting,
      quarantined: sum(({ facts }) => facts.quarantined),
    },
    ...(Number.isFinite(oldest) && { verifiedSinceMs: oldest }),
  };
}

/** One that could not even be opened has no report, and is the one that matters. */
function devicesOf(
  configured: readonly { readonly id: number; readonly name: string }[],
  reports: readonly DeviceReport[],
): ProcessReport['devices'] {
  return configured.map(({ id, name }) => {
    const report = reports.find((known) => known.id === id);
    if (report === undefined) return { id, name, status: 'unusable', usedBytes: 0, totalBytes: 0 };
    const { logBytes, blobBytes, totalBytes } = report.facts;
    return { id, name, status: report.status, usedBytes: logBytes + blobBytes, totalBytes };
  });
}

/** @throws OperatingError `authority-error` */
export async function sendReport(
  ask: AskAuthority,
  authority: string,
  report: ProcessReport,
): Promise<void> {
  const { status } = await ask(`${authority}/v1/reports`, 'POST', report);
  if (status === 204) return;
  throw new OperatingError('authority-error', `the authority answers ${status}`, { authority });
}
