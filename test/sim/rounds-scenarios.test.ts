import { describe, expect, it } from 'vitest';
import { ROUND_SCENARIOS } from './rounds-scenarios.ts';
import { tryScenario } from './scenario-runner.ts';
import { runScenario } from './scenarios.ts';

const pairs = ROUND_SCENARIOS.flatMap(({ name, mutants }) =>
  mutants.map((mutant) => ({ mutant, name })),
);

describe('conditional rounds', () => {
  it.each(ROUND_SCENARIOS.map(({ name }) => name))('%s', { timeout: 300_000 }, async (name) => {
    await runScenario(name);
  });

  it.each(pairs)('$mutant: caught by "$name"', { timeout: 300_000 }, async ({ mutant, name }) => {
    expect(await tryScenario(name, mutant)).toMatch(/saw nothing/);
  });
});
