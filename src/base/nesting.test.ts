import { expect, it } from 'vitest';
import { isNestedDeeper } from './nesting.ts';

it('tells how deeply a value is nested, whatever its size', () => {
  expect(isNestedDeeper('x', 0)).toBe(false);
  expect(isNestedDeeper([], 0)).toBe(true);
  expect(isNestedDeeper([[1], { a: null }], 2)).toBe(false);
  expect(isNestedDeeper([[1], { a: {} }], 2)).toBe(true);
  const levels = 100_000;
  const deep: unknown = JSON.parse('['.repeat(levels) + ']'.repeat(levels));
  expect(isNestedDeeper(deep, levels)).toBe(false);
  expect(isNestedDeeper(deep, levels - 1)).toBe(true);
});
