/** The load generator as a process of its own: a LoadPlan in argv[2] (JSON), prints a LoadResult (JSON). */
import { type LoadPlan, runLoad } from '../../bench/load.ts';

export type { LoadPlan, LoadResult } from '../../bench/load.ts';

const plan: LoadPlan = JSON.parse(process.argv[2] ?? '{}');
runLoad(plan).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`));
