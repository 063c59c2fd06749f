import { describe, expect, it } from 'vitest';
import type { ClusterView } from './cluster.ts';
import {
  type BandwidthRule,
  bandwidthBetween,
  DEFAULT_REPAIR_LIMITS,
  repairChangesSchema,
  repairLimits,
} from './repair-limits.ts';

const AT = (hour: number, minute = 0): number => hour * 60 + minute;

function viewWith(settings: object | undefined): ClusterView {
  return { settings } as unknown as ClusterView;
}

describe('bandwidth between sites', () => {
  const rules: BandwidthRule[] = [
    { between: ['lngs', 'bari'], bytesPerSecond: 20_000, hours: '22:00-06:30' },
    { between: ['lngs', 'bari'], bytesPerSecond: 2_000, hours: '06:30-20:00' },
    { between: ['*', 'padova'], bytesPerSecond: 5_000 },
  ];

  it('follows the time of the day, over midnight too, in both directions', () => {
    for (const [from, to] of [
      ['lngs', 'bari'],
      ['bari', 'lngs'],
    ] as const) {
      expect(bandwidthBetween(rules, from, to, AT(23))).toBe(20_000);
      expect(bandwidthBetween(rules, from, to, AT(6, 29))).toBe(20_000);
      expect(bandwidthBetween(rules, from, to, AT(6, 30))).toBe(2_000);
    }
  });

  it('is nothing at a time that no rule of the pair has', () => {
    expect(bandwidthBetween(rules, 'lngs', 'bari', AT(20))).toBe(0);
    expect(bandwidthBetween(rules, 'lngs', 'bari', AT(21, 59))).toBe(0);
  });

  it('is unlimited where no rule fits, and a star stands for any site', () => {
    expect(bandwidthBetween(rules, 'lngs', 'lngs', AT(12))).toBe(Number.POSITIVE_INFINITY);
    expect(bandwidthBetween(rules, 'bari', 'padova', AT(12))).toBe(5_000);
    expect(bandwidthBetween([], 'a', 'b', 0)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('limits of repair', () => {
  it("are a node's changes over the cluster's settings over the defaults", () => {
    const settings = {
      links: [{ between: ['a', 'b'], rttMs: 10, bandwidth: 1e6, hours: '01:00-02:00' }],
      limits: { 'repair.concurrency': 8, 'repair.share': 0.25, 'repair.paused': 1 },
    };
    const limits = repairLimits(viewWith(settings), { share: 1, concurrency: null });
    expect(limits).toMatchObject({ concurrency: 8, share: 1, paused: true });
    expect(limits.bandwidth).toEqual([
      { between: ['a', 'b'], bytesPerSecond: 1e6, hours: '01:00-02:00' },
    ]);
    expect(repairLimits(viewWith(undefined))).toEqual(DEFAULT_REPAIR_LIMITS);
  });

  it('leave out what the cluster document has wrong', () => {
    const settings = { links: [], limits: { 'repair.concurrency': 0, 'repair.share': 7 } };
    expect(repairLimits(viewWith(settings))).toMatchObject({
      concurrency: DEFAULT_REPAIR_LIMITS.concurrency,
      share: DEFAULT_REPAIR_LIMITS.share,
    });
  });

  it('refuse changes out of range, unknown names and wrong hours', () => {
    for (const wrong of [
      { concurrency: 0 },
      { share: 1.5 },
      { speed: 1 },
      { bandwidth: [{ between: ['a', 'b'], bytesPerSecond: 5_000, hours: '24:00-01:00' }] },
      { bandwidth: [{ between: ['a'], bytesPerSecond: 5_000 }] },
    ])
      expect(repairChangesSchema.safeParse(wrong).success).toBe(false);
    expect(repairChangesSchema.safeParse({ paused: null, debtSlowMs: 50 }).success).toBe(true);
  });
});
