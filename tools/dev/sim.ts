/**
 * `npm run sim -- --seeds N --first-seed N [--verbose] [--faults kill,crash] [--mutants]`: the cluster
 * simulator (test/sim) over many seeds. Exit code 1 when a promise was broken or a mutant survived.
 */
import { parseArgs } from 'node:util';
import { FAULTS, type Fault } from '../../test/sim/plan.ts';
import { runSeed } from '../../test/sim/run.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    'first-seed': { type: 'string', default: '1' },
    faults: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});

const faults = values.faults?.split(',').map((name): Fault => {
  const fault = FAULTS.find((known) => known === name);
  if (fault === undefined) throw new Error(`no such fault: ${name}; known: ${FAULTS.join(' ')}`);
  return fault;
});
const first = Number(values['first-seed']);
const count = Number(values.seeds);
const started = performance.now();
let virtualMs = 0;
let failed = 0;
const done: Record<string, number> = {};
const operations: Record<string, number> = {};
for (let seed = first; seed < first + count; seed++) {
  const result = await runSeed(seed, { ...(faults && { faults }) });
  virtualMs += result.virtualMs;
  for (const [fault, n] of Object.entries(result.faults)) done[fault] = (done[fault] ?? 0) + n;
  for (const [what, n] of Object.entries(result.operations))
    operations[what] = (operations[what] ?? 0) + n;
  if (values.verbose) {
    console.log(
      `seed ${seed} ${result.traceHash} ${result.events} events ${JSON.stringify(result.operations)} ${JSON.stringify(result.faults)}`,
    );
  }
  if (result.failure !== undefined) {
    failed++;
    console.log(`seed ${seed}: ${result.failure.message.slice(0, values.verbose ? 1e6 : 600)}`);
    if (values.verbose) console.log(result.failure.report);
    console.log(`  npm run sim -- --first-seed ${seed} --seeds 1 --verbose`);
    if (!values['keep-going']) break;
  }
}
const seconds = (performance.now() - started) / 1000;
console.log(operations, done);
console.log(
  `${count} seeds, ${failed} failed, ${(count / seconds).toFixed(1)} seeds/s, ${(virtualMs / 3_600_000 / seconds).toFixed(2)} virtual hours/s`,
);
process.exit(failed > 0 ? 1 : 0);
