/**
 * Who lists what, and when a listing may answer: a, b, c have the objects, e, f, g the rows of the container.
 */
import assert from 'node:assert/strict';
import { GIVEN_UP_MS, type Name, type Stage, type StagedScenario } from './stage.ts';

const KEY = 'x';
const HOLDERS: readonly Name[] = ['a', 'b', 'c'];

/** No row gets from where the objects are to these. */
function keepFrom(stage: Stage, ...listers: readonly Name[]): void {
  for (const name of HOLDERS) stage.cut(name, ...listers);
}

export const LISTING_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'what could not be listed when it was written is listed later',
    mutants: ['lose-the-updaters-mark', 'clear-the-mark-unsent'],
    run: async (stage) => {
      // As long as the proxy needs to know of the container, it reaches those who tell.
      stage.onceSent('object.write', () => keepFrom(stage, 'e', 'f', 'g'));
      assert.equal(await stage.put('a', KEY, 'new'), false, 'no container replica has its row');
      // What is sent already is given up.
      await stage.sleep(GIVEN_UP_MS);
      stage.heal();
      await stage.until('what was written is not listed', async () => {
        return (await stage.list('d')).includes(KEY);
      });
    },
  },
  {
    name: 'a write with one row of three is not acknowledged',
    mutants: ['acknowledge-without-rows'],
    run: async (stage) => {
      stage.onceSent('object.write', () => keepFrom(stage, 'e', 'f'));
      const acknowledged = await stage.put('a', KEY, 'new');
      stage.cut('g', 'a', 'b', 'c', 'd', 'e', 'f');
      const listed = await stage.list('d');
      if (acknowledged) assert.deepEqual(listed, [KEY], 'what was acknowledged is not listed');
    },
  },
  {
    name: 'a container replica that has missed a row asks another before it lists',
    mutants: ['list-without-a-pull'],
    run: async (stage) => {
      stage.cut('e', 'a', 'b', 'c', 'f', 'g');
      assert.ok(await stage.put('a', KEY, 'new'), 'f and g are a majority');
      keepFrom(stage, 'e', 'f', 'g');
      stage.world.network.heal('e', 'f');
      stage.world.network.heal('f', 'e');
      stage.cut('d', 'f', 'g');
      await stage.connected('e', 'f');
      assert.deepEqual(await stage.list('d'), [KEY], 'what was acknowledged is not listed');
    },
  },
];
