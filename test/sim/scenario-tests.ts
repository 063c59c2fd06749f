/**
 * Tests of scenarios: each is played on the product, and on the first of the mutants that it must catch. On the
 * others it is played by `npm run sim -- --mutants`: a broken product takes a process of its own.
 */
import { describe, expect, it } from 'vitest';
import { tryScenario } from './scenario-runner.ts';
import { runScenario } from './scenarios.ts';

const TIMEOUT = { timeout: 300_000 };

/** `told`: what a mutant's failure says, or it has failed for another reason. */
export function testScenarios(
  title: string,
  scenarios: readonly { readonly name: string; readonly mutants: readonly string[] }[],
  told: RegExp,
): void {
  const pairs = scenarios.flatMap(({ name, mutants }) =>
    mutants.slice(0, 1).map((mutant) => ({ mutant, name })),
  );
  describe(title, () => {
    it.each(scenarios.map(({ name }) => name))('%s', TIMEOUT, async (name) => {
      await runScenario(name);
    });

    it.each(pairs)('$mutant: caught by "$name"', TIMEOUT, async ({ mutant, name }) => {
      expect(await tryScenario(name, mutant)).toMatch(told);
    });
  });
}
