/**
 * The cluster simulator (test/sim) over many seeds, or over its mutants:
 *
 *   npm run sim -- --seeds 1000 --first-seed 1 [--faults kill,crash] [--jobs 2] [--keep-going]
 *   npm run sim -- --rounds [...]
 *   npm run sim -- --mutants [--seeds 500]
 *
 * Each minute it tells on standard error how far it is. Ctrl-C ends it after the seeds that are under
 * way, with the totals so far.
 * Exit code 1 when a promise was broken or a mutant survived, 2 for a wrong command line; the last line
 * is the summary.
 */
import { breakProduct } from '../../test/sim/mutants.ts';
import type { RunOptions, RunResult } from '../../test/sim/run.ts';
import { MUTANT_INTENSITY, MUTANT_SEEDS, runMutants } from './sim/mutants.ts';
import { type Options, parseOptions } from './sim/options.ts';
import { runHere, runInProcesses } from './sim/seeds.ts';
import { Totals } from './sim/totals.ts';

const DEFAULT_SEEDS = 100;

const options = parseOptions(process.argv.slice(2));
process.exit(
  options.mutants
    ? await runMutants(options.firstSeed, options.seeds ?? MUTANT_SEEDS, options.jobs)
    : await runSeeds(options),
);

async function runSeeds({ firstSeed, seeds, jobs, keepGoing, ...more }: Options): Promise<number> {
  const { limitSeconds } = more;
  const mutant = more.mutant === undefined ? undefined : breakProduct(more.mutant);
  const faults = more.faults ?? mutant?.faults;
  const intensity = more.intensity ?? (mutant?.faults === undefined ? 1 : MUTANT_INTENSITY);
  const rounds = more.rounds || mutant?.rounds === true;
  const { brief, extras } = more;
  const run: RunOptions = { ...(faults && { faults }), intensity, rounds, brief, extras };
  const count = seeds ?? (mutant === undefined ? DEFAULT_SEEDS : MUTANT_SEEDS);
  const totals = new Totals(count);
  let isOver = false;
  // The end of a time limit comes twice where npm passes it on; a second Ctrl-C is meant.
  process.once('SIGINT', () => (isOver = true));
  process.on('SIGTERM', () => (isOver = true));
  const onResult = (result: RunResult): boolean => {
    totals.add(result);
    report(result);
    return !isOver && (result.failure === undefined || keepGoing);
  };
  const range = { first: firstSeed, count };
  // A mutant is made in this very process.
  if (jobs === 1 || mutant !== undefined) await runHere(range, run, onResult);
  else await runInProcesses({ jobs: Math.min(jobs, count), limitSeconds }, range, run, onResult);
  totals.print();
  return totals.failed > 0 ? 1 : 0;
}

function report({ seed, traceHash, events, failure }: RunResult): void {
  if (options.verbose) console.log(`seed ${seed} ${traceHash} ${events} events`);
  if (failure === undefined) return;
  const { message, report: details } = failure;
  console.log(
    `seed ${seed}: ${options.verbose ? `${message}\n${details}` : message.slice(0, 600)}`,
  );
  console.log(`  ${replay(seed)}`);
}

function replay(seed: number): string {
  const { faults, mutant, intensity, rounds, brief, extras } = options;
  const only = faults === undefined ? '' : ` --faults ${faults.join(',')}`;
  const broken = mutant === undefined ? '' : ` --mutant ${mutant}`;
  const more = intensity === undefined ? '' : ` --intensity ${intensity}`;
  const extra = extras.length === 0 ? '' : ` --with ${extras.join(',')}`;
  const kind = `${rounds ? ' --rounds' : ''}${brief ? ' --brief' : ''}`;
  return `npm run sim -- --first-seed ${seed} --seeds 1 --verbose${kind}${extra}${only}${more}${broken}`;
}
