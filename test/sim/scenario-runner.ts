/** Runs a scenario on a broken product, in a process of its own. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { SCENARIOS } from './scenarios.ts';

const PROCESS = path.join(import.meta.dirname, 'scenario-process.ts');
/** What was compiled once (the key is the source, so a mutant's file has its own): half of a process's time. */
const CACHE = path.join(import.meta.dirname, '../../node_modules/.cache/scenarios');

/** The scenarios that must catch this mutant: seeds would meet their interleavings too seldom. */
export function scenariosAgainst(mutant: string): string[] {
  return SCENARIOS.filter(({ mutants }) => mutants.includes(mutant)).map(({ name }) => name);
}

/** What went wrong, in words; undefined: nothing did, the mutant survives it. */
export function tryScenario(scenario: string, mutant: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: CACHE };
    execFile(process.execPath, [PROCESS, scenario, mutant], { env }, (error, stdout, stderr) => {
      if (error === null) resolve(undefined);
      else if (error.code === 1 && stdout !== '') resolve(stdout.trim());
      else reject(new Error(stderr));
    });
  });
}
