/**
 * Who counts in a majority, and who must not: an interleaving for each wrong count that seeds meet too
 * seldom. The object's primaries are a, b, c; rows are on e, f, g.
 */
import assert from 'node:assert/strict';
import { codeOf } from '#base/errors.ts';
import { type Name, OLD, type Stage, type StagedScenario } from './stage.ts';

const KEY = 'x';
const OTHERS: readonly Name[] = ['d', 'e', 'f', 'g'];
/** Longer than a call that has no answer. */
const NOTICED_MS = 30_000;
/** Within this a wiped replica has heard whom it reaches. */
const REJOINED_MS = 15_000;

/** b and c have acknowledged a write, and then b is out of reach. */
async function onlyAMisses(stage: Stage): Promise<void> {
  stage.cut('a', 'b', 'c');
  assert.ok(await stage.put('b', KEY, 'new'), 'b and c are a majority');
  // At once, so that no stand-in for a is asked.
  stage.cut('b', 'a', 'c', ...OTHERS);
}

async function isNot404(stage: Stage, name: Name): Promise<void> {
  const told = await stage.get(name, KEY).catch(codeOf);
  assert.notEqual(told, undefined, 'what two replicas had acknowledged is not found');
}

async function backUp(stage: Stage, name: Name): Promise<void> {
  stage.node(name).start();
  await stage.until(`${name} is back`, () => stage.node(name).process !== undefined);
}

/** The end of its log is not what it wrote, as after a power failure; its index went with it. */
async function damageTail(stage: Stage, name: Name): Promise<void> {
  const node = stage.node(name);
  const root = node.devicePath(OLD.indexOf(name));
  const { machine } = node;
  const last = (await machine.env.disk.list(`${root}/log`)).sort().at(-1)!;
  const path = `${root}/log/${last}`;
  const { size } = (await machine.env.disk.stat(path))!;
  node.kill();
  machine.disk.flipByte(path, size - 1);
  machine.disk.lose(`${root}/index.db`);
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

export const QUORUM_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'a wiped replica does not say 404 for what it has acknowledged',
    mutants: ['an-incomplete-replica-counts', 'a-wiped-device-is-complete'],
    run: async (stage) => {
      await onlyAMisses(stage);
      const c = stage.node('c');
      c.machine.disk.wipe(c.devicePath(OLD.indexOf('c')));
      c.kill();
      await backUp(stage, 'c');
      stage.heal();
      stage.cut('b', 'a', 'c', ...OTHERS);
      await stage.connected('a', 'c');
      await isNot404(stage, 'a');
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
  {
    name: 'a wiped replica that has heard one of the others, who missed a write, does not say 404',
    mutants: ['rejoin-from-one-peer-too-few'],
    run: async (stage) => {
      await onlyAMisses(stage);
      const c = stage.node('c');
      c.machine.disk.wipe(c.devicePath(OLD.indexOf('c')));
      c.kill();
      await backUp(stage, 'c');
      stage.heal();
      stage.cut('b', 'a', 'c', ...OTHERS);
      await stage.connected('c', 'a');
      await stage.sleep(REJOINED_MS);
      await isNot404(stage, 'a');
    },
  },
  {
    name: 'a replica whose log has lost its end does not say 404 before it has asked anybody',
    mutants: ['believe-a-cut-tail'],
    run: async (stage) => {
      await onlyAMisses(stage);
      await damageTail(stage, 'c');
      stage.heal();
      stage.cut('b', 'a', 'c', ...OTHERS);
      stage.cut('c', 'a');
      await backUp(stage, 'c');
      await stage.connected('g', 'c');
      await stage.connected('g', 'a');
      assert.equal((await stage.stat('c', KEY, 1)).version, '', 'c has lost it');
      await isNot404(stage, 'g');
    },
  },
  {
    name: 'a replica whose log has lost its end and that has heard one of the others, who missed a write, says no 404',
    mutants: ['confirm-a-tail-by-one-peer-too-few'],
    run: async (stage) => {
      await onlyAMisses(stage);
      await damageTail(stage, 'c');
      stage.heal();
      stage.cut('b', 'a', 'c', ...OTHERS);
      await backUp(stage, 'c');
      await stage.connected('c', 'a');
      await stage.sleep(REJOINED_MS);
      assert.equal((await stage.stat('c', KEY, 1)).version, '', 'c has lost it');
      await isNot404(stage, 'a');
    },
  },
];
