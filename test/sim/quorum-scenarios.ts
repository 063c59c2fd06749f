/**
 * Who counts in a majority, and who must not: an interleaving for each wrong count that seeds meet too
 * seldom. The object's primaries are a, b, c; rows are on e, f, g.
 */
import assert from 'node:assert/strict';
import { codeOf } from '#base/errors.ts';
import { type Name, OLD, type RingScenario, type Stage } from './ring-scenarios.ts';

const KEY = 'x';
const OTHERS: readonly Name[] = ['d', 'e', 'f', 'g'];
/** Longer than a call that has no answer. */
const NOTICED_MS = 30_000;

async function backUp(stage: Stage, name: Name): Promise<void> {
  stage.node(name).start();
  await stage.until(`${name} is back`, () => stage.node(name).process !== undefined);
}

/** Stand-ins that have the key. */
async function standIns(stage: Stage): Promise<Name[]> {
  const found: Name[] = [];
  for (const name of OTHERS) {
    const { version } = await stage.stat(name, KEY, 1);
    if (version !== '') found.push(name);
  }
  return found;
}

export const QUORUM_SCENARIOS: readonly RingScenario[] = [
  {
    name: 'a wiped replica does not say 404 for what it has acknowledged',
    mutants: ['an-incomplete-replica-counts', 'a-wiped-device-is-complete'],
    run: async (stage) => {
      stage.cut('a', 'b', 'c');
      assert.ok(await stage.put('b', KEY, 'new'), 'b and c are a majority');
      // At once, so that no stand-in for a is asked.
      stage.cut('b', 'a', 'c', ...OTHERS);
      const c = stage.node('c');
      c.machine.disk.wipe(c.devicePath(OLD.indexOf('c')));
      c.kill();
      await backUp(stage, 'c');
      stage.heal();
      stage.cut('b', 'a', 'c', ...OTHERS);
      await stage.connected('a', 'c');
      const told = await stage.get('a', KEY).catch(codeOf);
      assert.notEqual(told, undefined, 'what two replicas had acknowledged is not found');
    },
  },
  {
    name: 'a copy on a stand-in is no acknowledgement',
    mutants: ['a-handoff-counts-as-a-primary'],
    run: async (stage) => {
      // b refuses at once, so its stand-in has the copy before c is given up.
      stage.node('b').kill();
      stage.cut('c', 'a', ...OTHERS);
      const acknowledged = await stage.put('a', KEY, 'new');
      // Who stands in for c does so only when c has been given up.
      await stage.sleep(NOTICED_MS);
      const holders = await standIns(stage);
      assert.ok(holders.length > 0, 'a stand-in has it');
      if (!acknowledged) return;
      stage.heal();
      for (const name of ['b', 'c'] as const) stage.cut(name, 'a', ...holders);
      await backUp(stage, 'b');
      await stage.connected('b', 'c');
      assert.equal(await stage.get('b', KEY), 'new', 'what was acknowledged is not found');
    },
  },
];
