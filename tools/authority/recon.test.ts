/** The row of a process: what needs somebody is seen at once. */
import { describe, expect, it } from 'vitest';
import { rowOf } from '../commands/recon.ts';
import type { ProcessStatus } from '../ring/online.ts';

const NOW = 1_800_000_000_000;

function status(more: Partial<ProcessStatus> = {}): ProcessStatus {
  return {
    process: 'bari-1',
    site: 'bari',
    roles: ['storage'],
    version: '0.1.0',
    bundleVersion: 7,
    atMs: NOW - 4000,
    away: false,
    behind: false,
    devices: [
      { id: 1, name: 'd1', status: 'ok', usedBytes: 25, totalBytes: 100 },
      { id: 2, name: 'd2', status: 'ok', usedBytes: 75, totalBytes: 100 },
    ],
    moment: {
      clockMs: NOW - 4250,
      uptimeSeconds: 7200,
      queues: { unlisted: 0, standIns: 0, quarantined: 0 },
      verifiedSinceMs: NOW - 36 * 3600 * 1000,
    },
    ...more,
  };
}

describe('a row of anello recon', () => {
  it('tells version, last sign of life, clock, disks and audit of a node that is well', () => {
    expect(rowOf(status(), NOW)).toEqual([
      ...['bari-1', 'bari', '0.1.0', '7', '4 s ago', '2.0 h', '-0.25 s', '2 ok'],
      ...['d2 75.0 % (75 B)', '-', '1.5 days', '-'],
    ]);
  });

  it('names what waits, what is away, behind or out of service', () => {
    const [broken] = status().devices;
    const row = rowOf(
      status({
        away: true,
        behind: true,
        devices: [{ ...broken!, status: 'failed' }],
        moment: { clockMs: NOW, uptimeSeconds: 60, queues: { unlisted: 3, standIns: 12 } },
      }),
      NOW,
    ).join(' | ');
    for (const text of ['7 BEHIND', 'AWAY', 'd1 failed', '3 unlisted, 12 standIns', 'not all yet'])
      expect(row).toContain(text);
  });

  it('shows what a process of an older version has told', () => {
    const { moment: _, ...older } = status();
    expect(rowOf({ ...older, devices: [] }, NOW).filter((cell) => cell === '-')).toHaveLength(6);
  });
});
