/** The command line of `npm run sim`, checked. */
import { parseArgs } from 'node:util';
import { EXTRAS, type Extra, FAULTS, type Fault } from '../../../test/sim/plan.ts';

export interface Options {
  /** Undefined: as many as is usual for what is run. */
  readonly seeds: number | undefined;
  readonly firstSeed: number;
  readonly faults: readonly Fault[] | undefined;
  readonly extras: readonly Extra[];
  readonly intensity: number | undefined;
  readonly brief: boolean;
  readonly jobs: number;
  readonly limitSeconds: number;
  readonly rounds: boolean;
  readonly mutants: boolean;
  readonly mutant: string | undefined;
  readonly keepGoing: boolean;
  readonly verbose: boolean;
}

const USAGE = `npm run sim -- [options]
  --seeds N         how many seeds to run (100; 500 for each mutant)
  --first-seed N    any integer from 0 to 2^53-1000 (1)
  --faults A,B      only these kinds, all of them on: ${FAULTS.join(' ')}
  --with A,B        do this too: ${EXTRAS.join(' ')}
  --intensity X     times as many faults as usual (1)
  --brief           runs of a fifth of the time with as many faults, at most 5 nodes (what npm test does)
  --jobs N          processes to run in (1)
  --limit S         with several processes: a seed that takes longer breaks a promise, too (600 seconds)
  --rounds          conditional writes: histories must be linearizable
  --keep-going      go on after a broken promise
  --verbose         trace hash of each seed; of a failure the key's history, the log, the last events
  --mutants         run the broken variants: each must be caught
  --mutant NAME     only this one`;

const MAX_SEED = Number.MAX_SAFE_INTEGER;
const MAX_FIRST_SEED = MAX_SEED - 999;
const MAX_JOBS = 64;
const MAX_LIMIT_SECONDS = 86_400;

/** Ends the process with 2 and says why where the command line makes no sense. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parsed(args);
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const firstSeed = integer(values['first-seed'], 'first-seed', 0, MAX_FIRST_SEED);
  const most = MAX_SEED - firstSeed + 1;
  return {
    seeds: values.seeds === undefined ? undefined : integer(values.seeds, 'seeds', 1, most),
    firstSeed,
    faults: values.faults === undefined ? undefined : chosenOf(values.faults, FAULTS, 'fault'),
    extras: values.with === undefined ? [] : chosenOf(values.with, EXTRAS, 'extra'),
    intensity: values.intensity === undefined ? undefined : intensityOf(values.intensity),
    brief: values.brief,
    jobs: integer(values.jobs, 'jobs', 1, MAX_JOBS),
    limitSeconds: integer(values.limit, 'limit', 0, MAX_LIMIT_SECONDS),
    rounds: values.rounds,
    mutants: values.mutants,
    mutant: values.mutant,
    keepGoing: values['keep-going'],
    verbose: values.verbose,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seeds: { type: 'string' },
        'first-seed': { type: 'string', default: '1' },
        faults: { type: 'string' },
        with: { type: 'string' },
        intensity: { type: 'string' },
        brief: { type: 'boolean', default: false },
        jobs: { type: 'string', default: '1' },
        limit: { type: 'string', default: '600' },
        rounds: { type: 'boolean', default: false },
        mutants: { type: 'boolean', default: false },
        mutant: { type: 'string' },
        'keep-going': { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function integer(text: string, name: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  return refuse(`--${name} is an integer from ${min} to ${max}`);
}

function intensityOf(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 100) return value;
  return refuse('--intensity is a number above 0, at most 100');
}

function chosenOf<Name extends string>(
  text: string,
  known: readonly Name[],
  what: string,
): readonly Name[] {
  const wanted = text.split(',');
  const unknown = wanted.filter((name) => !known.some((one) => one === name));
  if (unknown.length === 0) return known.filter((name) => wanted.includes(name));
  return refuse(`no such ${what}: ${unknown.join(' ')}; known: ${known.join(' ')}`);
}

function refuse(why: string): never {
  console.error(`${why}\n\n${USAGE}`);
  process.exit(2);
}
