import { describe, expect, it } from 'vitest';
import type { PutRequest } from './contract.ts';
import { checkQuota } from './quota.ts';

function check(headers: Record<string, string>, length: number, manifestSize?: number): string {
  const container = { headers, objects: 3, bytes: 100 };
  const manifest = manifestSize === undefined ? undefined : { size: manifestSize };
  try {
    checkQuota('container', container, { length, manifest } as unknown as PutRequest);
    return 'taken';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('a container quota', () => {
  it('is kept for bytes, up to the last one', () => {
    const quota = { 'x-container-meta-quota-bytes': '110' };
    expect(check(quota, 10)).toBe('taken');
    expect(check(quota, 11)).toBe('quota-exceeded');
    expect(check(quota, 1, 11)).toBe('quota-exceeded');
  });

  it('is kept for objects', () => {
    expect(check({ 'x-container-meta-quota-count': '4' }, 10)).toBe('taken');
    expect(check({ 'x-container-meta-quota-count': '3' }, 10)).toBe('quota-exceeded');
  });

  it('that is none limits nothing', () => {
    expect(check({}, 1e9)).toBe('taken');
    expect(check({ 'x-container-meta-quota-bytes': 'much' }, 1e9)).toBe('taken');
  });
});
