/** Who runs what, what is under way, what needs somebody: one answer for `anello ring status` and recon. */
import type { Authority } from './authority.ts';

export async function clusterStatus({ store, reports, leadership, conductor }: Authority) {
  const now = await store.snapshot();
  // What was expelled is no process of the cluster that has gone missing.
  const isExpelled = (process: string): boolean =>
    now.nodes.get(process.split('/', 1)[0]!)?.expelled === true;
  const told = (await reports.all()).filter(({ report }) => !isExpelled(report.process));
  const processes = told.map((record) => ({
    ...record.report,
    atMs: record.atMs,
    away: reports.isAway(record),
    behind: record.report.bundleVersion < now.head.version,
    failingSince: record.failingSince,
  }));
  const alive = processes.filter(({ away }) => !away);
  return {
    version: now.head.version,
    leads: leadership.leads,
    paused: now.head.paused,
    gradual: now.head.gradual,
    inForceEverywhere: alive.every(({ behind }) => !behind),
    rings: [...now.set.builders].map(([ring, { state }]) => ({
      ring,
      policy: state.settings.policy,
      version: state.version,
      joint: state.former.size,
    })),
    progress: conductor.progress.map(({ settleable, ...rest }) => ({
      ...rest,
      settleable: settleable.length,
    })),
    proposals: conductor.proposals,
    nodes: [...now.nodes.values()].map(({ name, site, roles, expelled, certifiedUntilMs }) => ({
      name,
      site,
      roles,
      expelled,
      certifiedUntilMs,
    })),
    processes,
  };
}
