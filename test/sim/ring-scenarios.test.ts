import { describe, expect, it } from 'vitest';
import { RING_SCENARIOS, ROW_SCENARIOS } from './ring-scenarios.ts';
import { tryScenario } from './scenario-runner.ts';
import { runScenario } from './scenarios.ts';

const ALL = [...RING_SCENARIOS, ...ROW_SCENARIOS];

describe('a ring change', () => {
  it.each(ALL.map(({ name }) => name))('%s', { timeout: 300_000 }, async (name) => {
    await runScenario(name);
  });
});

describe('a ring change that breaks the rules', () => {
  const pairs = ALL.flatMap(({ name, mutants }) => mutants.map((mutant) => ({ mutant, name })));
  it.each(pairs)('$mutant: caught by "$name"', { timeout: 300_000 }, async ({ mutant, name }) => {
    expect(await tryScenario(name, mutant)).toMatch(/after write|moved/);
  });
});
