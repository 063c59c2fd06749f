/** One scenario on one mutant, in a process of its own: `node scenario-process.ts SCENARIO MUTANT`. */
import { messageOf } from '#base/errors.ts';
import { breakProduct } from './mutants.ts';

const [scenario = '', mutant = ''] = process.argv.slice(2);
breakProduct(mutant);
// Imported now: the mutant's file must not have been loaded before it was broken.
const { runScenario } = await import('./scenarios.ts');
try {
  await runScenario(scenario);
  process.exit(0);
} catch (error) {
  console.log(messageOf(error));
  process.exit(1);
}
