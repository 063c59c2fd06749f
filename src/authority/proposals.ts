/** What the authority would do about devices that report errors: drain them. Pure. */
import type { RingSet } from '#ring/builder/ring-set.ts';
import type { ReportRecord } from './reports.ts';

export interface Proposal {
  readonly device: number;
  /** `site/node/name`. */
  readonly name: string;
  readonly status: string;
  readonly reason: string | undefined;
  readonly sinceMs: number;
  /** The command that does it. */
  readonly command: string;
}

/** One for each failing device that still has a weight; the longest failing first. */
export function proposalsOf(set: RingSet, reports: readonly ReportRecord[]): Proposal[] {
  const known = new Map(set.devices().map((device) => [device.id, device]));
  const proposals = reports.flatMap(({ report, failingSince }) =>
    report.devices.flatMap(({ id, status, reason }): Proposal[] => {
      const sinceMs = failingSince[String(id)];
      const device = known.get(id);
      if (sinceMs === undefined || device === undefined || device.weight === 0) return [];
      const name = `${device.site}/${device.node}/${device.name}`;
      const command = `anello ring apply --drain ${name}`;
      return [{ device: id, name, status, reason, sinceMs, command }];
    }),
  );
  return proposals.sort((a, b) => a.sinceMs - b.sinceMs);
}
