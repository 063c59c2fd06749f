import { describe, expect, it } from 'vitest';
import {
  abortOf,
  commonPrefix,
  DAY_MS,
  decodeLifecycle,
  encodeLifecycle,
  expires,
  expiryOf,
  type Lifecycle,
  type LifecycleRule,
} from './rules.ts';

const NOON = Date.UTC(2026, 4, 6, 12);
const midnight = (day: number): number => Date.UTC(2026, 4, day);

function lifecycle(...rules: Partial<LifecycleRule>[]): Lifecycle {
  const base = { enabled: true, form: 'filter' as const };
  return {
    minimum: 'all_storage_classes_128K',
    rules: rules.map((rule, i) => ({ id: `r${i}`, ...base, ...rule })),
  };
}

function endOf(rules: Lifecycle, about: { name?: string; size?: number; tags?: object } = {}) {
  const subject = { name: 'a', size: 10, createdMs: NOON, tags: {}, ...about } as const;
  return expiryOf(rules, subject as Parameters<typeof expiryOf>[1], DAY_MS)?.atMs;
}

describe('when an object ends', () => {
  it('is the midnight after so many days', () => {
    expect(endOf(lifecycle({ expireDays: 1 }))).toBe(midnight(8));
    const atMidnight = { name: 'a', size: 1, createdMs: midnight(6) };
    expect(expiryOf(lifecycle({ expireDays: 1 }), atMidnight, DAY_MS)?.atMs).toBe(midnight(8));
  });

  it('is the date that a rule names', () => {
    expect(endOf(lifecycle({ expireMs: midnight(3) }))).toBe(midnight(3));
  });

  it('is the earliest of all rules that match', () => {
    const rules = lifecycle({ expireDays: 9 }, { expireDays: 2 }, { expireDays: 4 });
    expect(expiryOf(rules, { name: 'a', size: 1, createdMs: NOON }, DAY_MS)?.rule.id).toBe('r1');
  });

  it.each([
    ['a disabled rule', { enabled: false }, {}],
    ['another prefix', { prefix: 'b' }, {}],
    ['a size that is not larger', { largerThan: 10 }, {}],
    ['a size that is not smaller', { smallerThan: 10 }, {}],
    ['a tag that is not there', { tags: { k: 'v' } }, {}],
    ['a tag of another value', { tags: { k: 'v' } }, { tags: { k: 'w' } }],
    ['one tag of two', { tags: { k: 'v', l: 'm' } }, { tags: { k: 'v' } }],
  ])('is not told by %s', (_what, rule, about) => {
    expect(endOf(lifecycle({ expireDays: 1, ...rule }), about)).toBeUndefined();
  });

  it('is told where prefix, tags and sizes all match', () => {
    const rule = { expireDays: 1, prefix: 'a', tags: { k: 'v' }, largerThan: 9, smallerThan: 11 };
    expect(endOf(lifecycle(rule), { tags: { k: 'v', x: 'y' } })).toBe(midnight(8));
  });

  it('may be told where tags were not looked at', () => {
    const rules = lifecycle({ expireDays: 1, tags: { k: 'v' } });
    expect(expiryOf(rules, { name: 'a', size: 1, createdMs: NOON }, DAY_MS)).toBeDefined();
  });
});

describe('lifecycle rules', () => {
  it('abort uploads by prefix', () => {
    const rules = lifecycle({ abortDays: 3, prefix: 'x/' }, { expireDays: 1 });
    expect(abortOf(rules, { name: 'x/1', startedMs: NOON }, DAY_MS)?.atMs).toBe(midnight(10));
    expect(abortOf(rules, { name: 'y/1', startedMs: NOON }, DAY_MS)).toBeUndefined();
  });

  it('need a look only at names that some of them are about', () => {
    const of = (...prefixes: (string | undefined)[]): string | undefined => {
      const rules = prefixes.map((prefix) => ({ expireDays: 1, ...(prefix && { prefix }) }));
      return commonPrefix(lifecycle(...rules), expires);
    };
    expect(of()).toBeUndefined();
    expect(of('logs/a', 'logs/b')).toBe('logs/');
    expect(of('logs/a', 'other')).toBe('');
    expect(of('logs/a', undefined)).toBe('');
    expect(of('\u{1f600}', '\u{1f601}')).toBe('');
    expect(commonPrefix(lifecycle({ abortDays: 1, prefix: 'x' }), expires)).toBeUndefined();
  });

  it('are read as they were written; those of a newer version are refused', () => {
    const rules = lifecycle({ expireDays: 1, prefix: 'ü', tags: { a: 'b' } });
    expect(decodeLifecycle(encodeLifecycle(rules))).toEqual(rules);
    const newer = encodeLifecycle(rules).replace('"v":1', '"v":2');
    expect(() => decodeLifecycle(newer)).toThrow(expect.objectContaining({ code: 'newer-format' }));
  });

  it('of version 1 stay readable', () => {
    const stored =
      '{"v":1,"minimum":"varies_by_storage_class","rules":[{"id":"a","enabled":true,"form":"and","prefix":"p","tags":{"k":"v"},"largerThan":1,"smallerThan":9,"expireDays":3},{"id":"b","enabled":false,"form":"prefix","prefix":"","abortDays":7}]}';
    const { rules, minimum } = decodeLifecycle(stored);
    expect(minimum).toBe('varies_by_storage_class');
    expect(rules.map(({ id, enabled }) => [id, enabled])).toEqual([
      ['a', true],
      ['b', false],
    ]);
    expect(encodeLifecycle({ rules, minimum })).toBe(stored);
  });
});
