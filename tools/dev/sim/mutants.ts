/** Holds the simulator against broken variants of the product: each must be caught. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant } from '../../../test/sim/mutants.ts';

/** What brings a mutant out happens more often than in a run of the product. */
export const MUTANT_INTENSITY = 3;
export const MUTANT_SEEDS = 500;

interface SeedRange {
  readonly first: number;
  readonly count: number;
}

interface Caught {
  /** Or `scenario`: an interleaving placed by hand. */
  readonly seed: number | 'scenario';
  readonly promise: string;
}

/** The exit code: 1 when one survived. */
export async function runMutants(firstSeed: number, seeds: number, jobs: number): Promise<number> {
  const waiting = [...MUTANTS];
  const survivors: string[] = [];
  console.log('mutant                                   seed  how');
  const worker = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const { name } = mutant;
      const caught = await tryMutant(mutant, firstSeed, seeds);
      if (caught === undefined) survivors.push(name);
      const seed = caught === undefined ? '-' : String(caught.seed);
      console.log(`${name.padEnd(36)} ${seed.padStart(8)}  ${caught?.promise ?? 'SURVIVED'}`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  const survived = `${survivors.length} survived ${survivors.join(' ')}`.trim();
  console.log(
    `\n${MUTANTS.length} mutants, ${MUTANTS.length - survivors.length} caught, ${survived}`,
  );
  return survivors.length > 0 ? 1 : 0;
}

/**
 * Undefined: it survived. A seed in which the product itself breaks a promise proves nothing about the
 * mutant, so each find is held against the product, and the search goes on behind it.
 */
async function tryMutant(
  mutant: Mutant,
  firstSeed: number,
  seeds: number,
): Promise<Caught | undefined> {
  const { name } = mutant;
  // Not imported above: that would load the product before a mutant's file is broken.
  const { scenariosAgainst, tryScenario } = await import('../../../test/sim/scenario-runner.ts');
  for (const scenario of scenariosAgainst(name)) {
    const promise = await tryScenario(scenario, name);
    // What was compared stands in the lines behind the first.
    const [what] = (promise ?? '').split('\n');
    if (promise !== undefined) return { seed: 'scenario', promise: `${what}: ${scenario}` };
  }
  const { seed } = mutant;
  const known = seed === undefined ? [] : [{ first: seed, count: 1 }];
  for (const range of [...known, { first: firstSeed, count: seeds }]) {
    const caught = await trySeeds(mutant, range);
    if (caught !== undefined) return caught;
  }
  return undefined;
}

async function trySeeds(mutant: Mutant, { first, count }: SeedRange): Promise<Caught | undefined> {
  for (let next = first; next < first + count; ) {
    const range = ['--first-seed', String(next), '--seeds', String(first + count - next)];
    const output = await runTool(['--mutant', mutant.name, ...range, '--brief']);
    const found = /^seed (\d+): (.*)$/m.exec(output);
    if (found === null && !/ seeds, 0 broken promises/.test(output)) {
      throw new Error(`mutant ${mutant.name} does not run:\n${output.slice(-2_000)}`);
    }
    if (found === null) return undefined;
    const seed = Number(found[1]);
    if (await isKept(mutant, seed)) return { seed, promise: found[2]!.slice(0, 70) };
    next = seed + 1;
  }
  return undefined;
}

/** By the product itself, in the same run. */
async function isKept({ faults, rounds }: Mutant, seed: number): Promise<boolean> {
  const more = ['--intensity', String(MUTANT_INTENSITY)];
  const output = await runTool([
    ...['--first-seed', String(seed), '--seeds', '1', '--brief'],
    ...(rounds ? ['--rounds'] : []),
    ...(faults === undefined ? [] : ['--faults', faults.join(','), ...more]),
  ]);
  return !/^seed \d+: /m.test(output);
}

/** What a run of this tool prints, in a process of its own. */
function runTool(args: readonly string[]): Promise<string> {
  const all = [fileURLToPath(new URL('../sim.ts', import.meta.url)), ...args];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        output += text;
      });
    }
    child.on('close', () => resolve(output));
  });
}
