/**
 * The cluster simulator (test/sim) over many seeds, or over its mutants:
 *
 *   npm run sim -- --seeds 1000 --first-seed 1 [--faults kill,crash] [--keep-going] [--verbose]
 *   npm run sim -- --mutants [--mutant NAME] [--seeds 500]
 *
 * Exit code 1 when a promise was broken or a mutant survived; the last line is the summary.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { breakProduct, MUTANTS, type Mutant } from '../../test/sim/mutants.ts';
import { FAULTS, type Fault } from '../../test/sim/plan.ts';
import type { RunResult } from '../../test/sim/run.ts';

/** What brings a mutant out happens more often than in a run of the product. */
const MUTANT_INTENSITY = 3;
const MAX_FIRST_SEED = Number.MAX_SAFE_INTEGER - 999;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    'first-seed': { type: 'string', default: '1' },
    faults: { type: 'string' },
    intensity: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    'keep-going': { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

function integer(text: string, name: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  console.error(`--${name} is an integer from 0 to ${max}`);
  process.exit(2);
}

function faultsOf(text: string): Fault[] {
  const wanted = text.split(',');
  const unknown = wanted.filter((name) => !FAULTS.some((fault) => fault === name));
  if (unknown.length === 0) return FAULTS.filter((fault) => wanted.includes(fault));
  console.error(`no such fault: ${unknown.join(' ')}; known: ${FAULTS.join(' ')}`);
  process.exit(2);
}

class Totals {
  readonly #started = performance.now();
  readonly #faults = new Map<string, number>();
  #virtualMs = 0;
  #operations = 0;
  #answered = 0;
  #orphans = 0;
  seeds = 0;
  failed = 0;

  add(result: RunResult): void {
    this.seeds++;
    this.#virtualMs += result.virtualMs;
    this.#orphans += result.orphans;
    if (result.failure !== undefined) this.failed++;
    for (const [fault, count] of Object.entries(result.faults)) {
      this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + count);
    }
    for (const [what, count] of Object.entries(result.operations)) {
      this.#operations += count;
      if (what.endsWith(':done')) this.#answered += count;
    }
  }

  print(): void {
    const seconds = (performance.now() - this.#started) / 1000;
    console.log('\nfault injected          times');
    for (const fault of FAULTS) {
      console.log(`${fault.padEnd(20)} ${String(this.#faults.get(fault) ?? 0).padStart(8)}`);
    }
    const rate = (this.seeds / seconds).toFixed(2);
    const hours = this.#virtualMs / 3_600_000;
    console.log(
      `\n${this.seeds} seeds, ${this.failed} broken promises, ${this.#operations} operations (${this.#answered} answered), ` +
        `${this.#orphans} orphans, ${rate} seeds/s, ${hours.toFixed(1)} simulated hours (${(hours / seconds).toFixed(3)} per second)`,
    );
  }
}

function replay(seed: number): string {
  const faults = values.faults === undefined ? '' : ` --faults ${values.faults}`;
  const mutant = values.mutant === undefined ? '' : ` --mutant ${values.mutant}`;
  const more = values.intensity === undefined ? '' : ` --intensity ${values.intensity}`;
  return `npm run sim -- --first-seed ${seed} --seeds 1 --verbose${faults}${more}${mutant}`;
}

async function runSeeds(): Promise<number> {
  const mutant = values.mutant === undefined ? undefined : breakProduct(values.mutant);
  // Imported now: a mutant's file must not have been loaded before it was broken.
  const { runSeed } = await import('../../test/sim/run.ts');
  const faults = values.faults === undefined ? mutant?.faults : faultsOf(values.faults);
  const intensity = Number(
    values.intensity ?? (mutant?.faults === undefined ? 1 : MUTANT_INTENSITY),
  );
  const first = integer(values['first-seed'], 'first-seed', MAX_FIRST_SEED);
  const count = integer(values.seeds ?? (mutant === undefined ? '100' : '500'), 'seeds', 1e9);
  const totals = new Totals();
  for (let seed = first; seed < first + count; seed++) {
    const result = await runSeed(seed, { ...(faults && { faults }), intensity });
    totals.add(result);
    if (values.verbose) console.log(`seed ${seed} ${result.traceHash} ${result.events} events`);
    if (result.failure === undefined) continue;
    const { message, report } = result.failure;
    console.log(
      `seed ${seed}: ${values.verbose ? `${message}\n${report}` : message.slice(0, 600)}`,
    );
    console.log(`  ${replay(seed)}`);
    if (!values['keep-going']) break;
  }
  totals.print();
  return totals.failed > 0 ? 1 : 0;
}

interface Caught {
  /** Or `scenario`: an interleaving placed by hand. */
  readonly seed: number | 'scenario';
  readonly promise: string;
}

/** What a run of this tool prints, in a process of its own. */
function runTool(args: readonly string[]): Promise<string> {
  const all = [fileURLToPath(import.meta.url), ...args];
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

/**
 * Undefined: it survived. A seed in which the product itself breaks a promise proves nothing about the
 * mutant, so each find is held against the product, and the search goes on behind it.
 */
async function tryMutant({ name, faults }: Mutant, seeds: number): Promise<Caught | undefined> {
  // Not imported above: that would load the product before a mutant's file is broken.
  const { scenariosAgainst, tryScenario } = await import('../../test/sim/scenario-runner.ts');
  for (const scenario of scenariosAgainst(name)) {
    const promise = await tryScenario(scenario, name);
    if (promise !== undefined) return { seed: 'scenario', promise: `${promise}: ${scenario}` };
  }
  for (let first = 1; first <= seeds; ) {
    const range = ['--first-seed', String(first), '--seeds', String(seeds - first + 1)];
    const output = await runTool(['--mutant', name, ...range]);
    const found = /^seed (\d+): (.*)$/m.exec(output);
    if (found === null && !/ seeds, 0 broken promises/.test(output)) {
      throw new Error(`mutant ${name} does not run:\n${output.slice(-2_000)}`);
    }
    if (found === null) return undefined;
    const seed = Number(found[1]);
    const same = ['--first-seed', String(seed), '--seeds', '1'];
    const more = ['--intensity', String(MUTANT_INTENSITY)];
    const only = faults === undefined ? [] : ['--faults', faults.join(','), ...more];
    const product = await runTool([...same, ...only]);
    if (!/^seed \d+: /m.test(product)) return { seed, promise: found[2]!.slice(0, 70) };
    first = seed + 1;
  }
  return undefined;
}

async function runMutants(): Promise<number> {
  const waiting = [...MUTANTS];
  const survivors: string[] = [];
  const seeds = integer(values.seeds ?? '500', 'seeds', 1e6);
  console.log('mutant                                seed  how');
  const worker = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const { name } = mutant;
      const caught = await tryMutant(mutant, seeds);
      if (caught === undefined) survivors.push(name);
      const seed = caught === undefined ? '-' : String(caught.seed);
      console.log(`${name.padEnd(36)} ${seed.padStart(5)}  ${caught?.promise ?? 'SURVIVED'}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  console.log(`\n${MUTANTS.length} mutants, ${survivors.length} survived ${survivors.join(' ')}`);
  return survivors.length > 0 ? 1 : 0;
}

process.exit(await (values.mutants ? runMutants() : runSeeds()));
