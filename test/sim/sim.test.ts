import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MUTANTS } from './mutants.ts';
import { runSeed } from './run.ts';

describe('the cluster', () => {
  it('does the same in every run of one seed, also of one beyond 32 bits', {
    timeout: 600_000,
  }, async () => {
    const seed = 2 ** 53 - 1_000;
    const first = await runSeed(seed, { brief: true });
    const second = await runSeed(seed, { brief: true });
    expect(second.traceHash).toBe(first.traceHash);
    expect(second.operations).toEqual(first.operations);
    const other = await runSeed(seed - 2 ** 32, { brief: true });
    expect(other.traceHash).not.toBe(first.traceHash);
  });
});

describe('mutants', () => {
  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    '%s: its text is in the product exactly once',
    (_name, { file, find }) => {
      const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8');
      expect(source.split(find).length).toBe(2);
    },
  );

  it('are at least twenty, each with a name of its own', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(20);
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });
});
