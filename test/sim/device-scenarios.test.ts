import { describe, expect, it } from 'vitest';
import { DEVICE_SCENARIOS } from './device-scenarios.ts';
import { LOG_SCENARIOS } from './log-scenarios.ts';
import { QUORUM_SCENARIOS } from './quorum-scenarios.ts';
import { tryScenario } from './scenario-runner.ts';
import { runScenario } from './scenarios.ts';

const ALL = [...DEVICE_SCENARIOS, ...LOG_SCENARIOS, ...QUORUM_SCENARIOS];
const pairs = ALL.flatMap(({ name, mutants }) => mutants.map((mutant) => ({ mutant, name })));

describe('devices', () => {
  it.each(ALL.map(({ name }) => name))('%s', { timeout: 300_000 }, async (name) => {
    await runScenario(name);
  });

  it.each(pairs)('$mutant: caught by "$name"', { timeout: 300_000 }, async ({ mutant, name }) => {
    expect(await tryScenario(name, mutant)).toMatch(
      /shows here|deleted what came later|came back|is not found|is not listed/,
    );
  });
});
