/**
 * The interleavings that the rules of a ring change close (consistency.md, "Ring change"), one by one.
 * Random seeds meet most of them too seldom. Each is run on the product, and on the mutants that it must catch.
 */
import assert from 'node:assert/strict';
import { codeOf } from '#base/errors.ts';
import type { Operation } from '#proxy/contract.ts';
import {
  ALL,
  BOX,
  GIVEN_UP_MS,
  NAMES,
  type Name,
  NEW,
  OLD,
  STANDING,
  type Stage,
  type StagedScenario,
} from './stage.ts';

const FIVE: readonly Name[] = ['a', 'b', 'c', 'd', 'e'];
/** Within this a former replica has handed over what it has. */
const HANDED_OVER_MS = 60_000;

/** What was acknowledged is read; what was not may be anything. */
async function expectRead(stage: Stage, via: Name, acknowledged: boolean): Promise<void> {
  if (!acknowledged) return;
  assert.equal(await stage.get(via, 'x'), 'new', 'read after write');
}

/** After a power failure, with an empty folder. */
function startWiped(stage: Stage, name: Name): ReturnType<Stage['node']> {
  const node = stage.node(name);
  node.crash('lost');
  node.machine.disk.wipe(node.devicePath(node.shape.devices[0]!));
  node.start();
  return node;
}

/** a acknowledges and is wiped before b has heard of the write, after so long. */
async function wipeWithinARound(stage: Stage, afterMs: number): Promise<void> {
  assert.ok(await stage.put('a', 'x', 'old'));
  const { version } = await stage.stat('a', 'x', 1);
  stage.cut('d', 'c');
  stage.world.network.setLink('d', 'b', { delayMs: afterMs });
  const put = stage.put('d', 'x', 'new');
  const hasNew = async () => (await stage.stat('a', 'x', 1)).version !== version;
  await stage.until('a has it', hasNew);
  const a = startWiped(stage, 'a');
  await stage.until('a is back', () => a.process !== undefined);
  const acknowledged = await put;
  stage.cut('b', ...NAMES.filter((name) => name !== 'b'));
  const told = await stage.get('c', 'x').catch(codeOf);
  assert.ok(!acknowledged || told === 'new' || told === 'unavailable', 'read after write');
  stage.heal();
  stage.world.network.setLink('d', 'b', { delayMs: 1 });
  await stage.until('what was written is told', async () => (await stage.get('c', 'x')) === 'new');
}

export const RING_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'what a device learns while a write is under way that it has lost does not count',
    mutants: ['what-is-learnt-early-counts'],
    run: (stage) => wipeWithinARound(stage, 2_000),
  },
  {
    name: 'what was acknowledged so long ago that it may be lost again does not count',
    mutants: ['a-round-counts-for-ever'],
    run: (stage) => wipeWithinARound(stage, 3_800),
  },
  {
    name: 'what an old ring writes after a joining device has learnt is not acknowledged',
    mutants: ['no-fence'],
    run: async (stage) => {
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('c', 'b');
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a fence outlives a power failure',
    mutants: ['no-fence', 'a-fence-is-forgotten-in-a-crash'],
    run: async (stage) => {
      // c has no fence of its own: those of a and b are enough.
      stage.cut('d', 'c');
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.node('a').crash('lost');
      stage.node('a').start();
      await stage.until('a is back', () => stage.node('a').process !== undefined);
      await stage.connected('c', 'a');
      stage.cut('c', 'b');
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a device that is wiped and filled again keeps the fence that it has forgotten',
    mutants: ['a-fence-is-forgotten-in-a-wipe'],
    run: async (stage) => {
      stage.cut('d', 'c');
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      await stage.sleep(GIVEN_UP_MS);
      stage.heal();
      const a = startWiped(stage, 'a');
      await stage.until('a is back', () => a.process !== undefined);
      await stage.until('a is filled again', async () => (await stage.stat('a', 'x', 2)).complete);
      await stage.connected('c', 'a');
      stage.cut('c', 'b');
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a device that is wiped counts again when it knows the ring that it was fenced off from',
    mutants: ['ranges-are-compared-across-a-fence'],
    run: async (stage) => {
      const next: readonly Name[] = ['b', 'c', 'd'];
      stage.cut('d', 'c');
      // The others are fenced off before they know the ring.
      stage.publish(['d'], next, OLD);
      await stage.until('d has learnt', async () => (await stage.stat('d', 'x', 2)).complete);
      await stage.sleep(GIVEN_UP_MS);
      stage.heal();
      const a = startWiped(stage, 'a');
      await stage.until('a is back', () => a.process !== undefined);
      await stage.sleep(20_000);
      stage.cut('a', 'b');
      const acknowledged = await stage.put('a', 'x', 'new');
      stage.deliver(next);
      stage.publish(next, next);
      stage.cut('d', 'c');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a new member that is wiped before it knows that the change is over does not say 404',
    mutants: ['a-ring-that-is-not-known-is-taken'],
    run: async (stage) => {
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(['b'], NEW);
      stage.cut('a', 'b', 'd');
      const acknowledged = await stage.put('b', 'x', 'new');
      // At once, so that no stand-in for a is asked.
      stage.cut('b', ...NAMES.filter((name) => name !== 'b'));
      const d = startWiped(stage, 'd');
      stage.heal();
      stage.cut('b', ...NAMES.filter((name) => name !== 'b'));
      await stage.until('d is back', () => d.process !== undefined);
      await stage.until('d is filled', async () => (await stage.stat('d', 'x', 2)).complete);
      const told = await stage.get('a', 'x').catch(codeOf);
      assert.ok(told !== undefined || !acknowledged, 'read after write');
      stage.heal();
      stage.deliver(['a', 'c', 'd']);
      await stage.until('it is acknowledged', () => stage.put('b', 'x', 'newer'));
      assert.equal(await stage.get('d', 'x'), 'newer');
    },
  },
  {
    name: 'an old member that is wiped before the others are fenced off does not count for who joins',
    mutants: ['learn-from-who-has-lost-its-fence'],
    run: async (stage) => {
      const next: readonly Name[] = ['b', 'c', 'd'];
      const asked = Promise.withResolvers<void>();
      stage.onceSent('object.fence', asked.resolve);
      stage.cut('d', 'b');
      stage.world.network.setLink('d', 'c', { delayMs: 4_900 });
      stage.publish(['d'], next, OLD);
      await asked.promise;
      // a has its fence; the one for c is on its way.
      await stage.sleep(20);
      const a = startWiped(stage, 'a');
      await stage.until('a is back', () => a.process !== undefined);
      await stage.until('a is filled', async () => (await stage.stat('a', 'x', 1)).complete);
      await stage.connected('d', 'a');
      stage.world.network.setLink('d', 'c', { delayMs: 1 });
      await stage.until('d learns', async () => (await stage.stat('d', 'x', 2)).complete);
      stage.cut('c', 'a');
      const acknowledged = await stage.put('b', 'x', 'new');
      // At once, so that no stand-in for c is asked.
      for (const name of ['a', 'b'] as const)
        stage.cut(name, ...NAMES.filter((one) => one !== name));
      stage.deliver(['c', 'd']);
      stage.publish(['c', 'd'], next);
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a joining device learns from a majority of the old set',
    mutants: ['learn-from-one-old-member'],
    run: async (stage) => {
      stage.cut('a', 'b', 'c');
      const acknowledged = await stage.put('b', 'x', 'new');
      assert.ok(acknowledged, 'b and c are a majority');
      // a answers first.
      for (const far of ['b', 'c'] as const)
        stage.world.network.setLinkBothWays('d', far, { delayMs: 100 });
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      stage.cut('d', 'b', 'c');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'while joint a write needs a majority of the new set too',
    mutants: ['single-ring-quorum-during-a-move'],
    run: async (stage) => {
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('b', 'a', 'd');
      stage.cut('c', 'a', 'd');
      const acknowledged = await stage.put('b', 'x', 'new');
      stage.publish(ALL, NEW);
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'while joint a write needs a majority of the old set too',
    mutants: ['a-joining-device-counts-alone'],
    run: async (stage) => {
      stage.cut('d', 'a', 'c');
      stage.publish(ALL, NEW, OLD);
      const acknowledged = await stage.put('d', 'x', 'new');
      stage.publish(ALL, OLD);
      stage.heal();
      stage.cut('a', 'b');
      stage.cut('c', 'b');
      await expectRead(stage, 'a', acknowledged);
    },
  },
  {
    name: 'what a device knew as a member in earlier days proves nothing when it comes back',
    mutants: ['an-earlier-membership-is-believed'],
    run: async (stage) => {
      const rest: readonly Name[] = ['a', 'b', 'd'];
      // c goes, is away, and is to come back for d.
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(rest, NEW);
      stage.cut('c', ...rest);
      stage.cut('a', 'b', 'd');
      const acknowledged = await stage.put('b', 'x', 'new');
      assert.ok(acknowledged, 'b and d are a majority');
      stage.publish(ALL, OLD, NEW);
      await stage.sleep(8_000);
      // By now it would have learnt, if it could reach anybody.
      if (!stage.isSettleable()) return;
      stage.publish(ALL, OLD);
      stage.heal();
      stage.cut('b', 'a', 'c');
      stage.cut('d', 'a', 'c');
      await expectRead(stage, 'a', acknowledged);
    },
  },
  {
    name: 'a former primary says moved, never that it knows nothing',
    mutants: ['a-former-primary-answers-404'],
    run: async (stage) => {
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      const asOfJoint = (): Promise<unknown> =>
        stage.stat('c', 'x', 2).then(
          ({ version, complete }) => (version === '' && complete ? 'not there' : 'known'),
          (error: { remoteCode?: string }) => error.remoteCode ?? codeOf(error),
        );
      assert.equal(await asOfJoint(), 'moved');
      await stage.until('c has dropped its copy', async () => {
        const { version } = await stage.stat('c', 'x', 3);
        return version === '';
      });
      assert.notEqual(await asOfJoint(), 'not there');
      assert.equal(await stage.get('c', 'x'), 'new');
    },
  },
  {
    name: 'a former primary keeps what a new one lacks',
    mutants: [],
    run: async (stage) => {
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('d', 'a', 'b', 'c');
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW);
      await stage.sleep(60_000);
      assert.ok((await stage.stat('c', 'x', 3)).hasBody, 'c has the third copy');
      stage.heal();
      await stage.until('d has it, and c has not', async () => {
        const [there, left] = [await stage.stat('d', 'x', 3), await stage.stat('c', 'x', 3)];
        return there.hasBody && there.version !== '' && left.version === '';
      });
    },
  },
  {
    name: 'an upload that began by the old ring ends by the new one',
    mutants: [],
    run: async (stage) => {
      const { proxy } = stage.node('a').process!;
      const release = Promise.withResolvers<void>();
      const chunk = Buffer.alloc(3_000, 'x');
      const body = (async function* () {
        for (let i = 0; i < 4; i++) yield chunk;
        await release.promise;
        for (let i = 0; i < 4; i++) yield chunk;
      })();
      const request = {
        body,
        length: 8 * chunk.length,
        maxLength: 8 * chunk.length,
        contentType: 'text/plain',
        user: {},
        system: {},
      };
      const operation: Operation = {
        txn: 'upload',
        signal: new AbortController().signal,
        read: 'quorum',
      };
      const stored = proxy.putObject(operation, { ...BOX, object: 'x' }, request);
      await stage.sleep(1_000);
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      release.resolve();
      assert.equal((await stored).kind, 'stored');
      assert.equal((await stage.get('d', 'x'))?.length, 8 * chunk.length);
      await stage.until('d has the body', async () => (await stage.stat('d', 'x', 3)).hasBody);
    },
  },
  {
    name: 'a policy that keeps more copies: what was written before gets them too',
    mutants: [],
    run: async (stage) => {
      // c is a witness, which has the state alone.
      stage.publish(ALL, OLD, undefined, 2);
      const large = 'large '.repeat(20_000);
      for (const [key, content] of [
        ['x', 'small'],
        ['y', large],
      ] as const)
        assert.ok(await stage.put('a', key, content));
      assert.equal((await stage.stat('c', 'y', 2)).hasBody, false);
      stage.publish(ALL, OLD, undefined, 3);
      for (const [key, content] of [
        ['x', 'small'],
        ['y', large],
      ] as const) {
        await stage.until('c has the body', async () => (await stage.stat('c', key, 3)).hasBody);
        assert.equal(await stage.get('d', key), content);
      }
    },
  },
  {
    name: 'a policy of three replicas becomes one of five, and of three again',
    mutants: [],
    run: async (stage) => {
      const has = (name: Name, key: string, version: number) => async () =>
        (await stage.stat(name, key, version)).hasBody;
      assert.ok(await stage.put('a', 'x', 'old'));
      stage.publish(NAMES, FIVE, OLD, 3);
      assert.ok(await stage.put('b', 'y', 'during'));
      await stage.until('d and e have learnt', () => stage.isSettleable());
      stage.publish(NAMES, FIVE);
      for (const name of FIVE) await stage.until(`${name} has x`, has(name, 'x', 3));
      for (const name of FIVE) await stage.until(`${name} has y`, has(name, 'y', 3));
      assert.ok(await stage.put('g', 'z', 'five'));
      stage.publish(NAMES, OLD, FIVE, 3);
      await stage.until('three are enough', () => stage.isSettleable());
      stage.publish(NAMES, OLD);
      for (const [key, content] of [
        ['x', 'old'],
        ['y', 'during'],
        ['z', 'five'],
      ] as const) {
        for (const name of OLD) await stage.until(`${name} has ${key}`, has(name, key, 5));
        assert.equal(await stage.get('c', key), content);
      }
    },
  },
];

export const ROW_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'rows that an old ring lists after a joining replica has learnt are not acknowledged',
    mutants: ['no-fence-for-rows'],
    run: async (stage) => {
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('b', 'c', ...STANDING);
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.heal();
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      if (acknowledged) assert.deepEqual(await stage.list('d'), ['x'], 'list after write');
    },
  },
  {
    name: 'a container that moved lists what was in it, and takes more',
    mutants: [],
    run: async (stage) => {
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW, OLD);
      assert.ok(await stage.put('c', 'y', 'new'));
      assert.deepEqual(await stage.list('d'), ['x', 'y']);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      assert.ok(await stage.put('b', 'z', 'new'));
      for (const via of ALL) assert.deepEqual(await stage.list(via), ['x', 'y', 'z']);
    },
  },
  {
    // Brief seed 906674.
    name: 'what a replica that was behind told the account is taken back when it has left',
    mutants: ['former-replicas-keep-their-slots'],
    run: async (stage) => {
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.cut('c', ...NAMES.filter((name) => name !== 'c'));
      assert.ok(await stage.put('a', 'y', 'new'), 'a and b are a majority');
      await stage.sleep(GIVEN_UP_MS);
      reconnect(stage, 'c', STANDING);
      for (const name of STANDING) await stage.connected(name, 'c');
      assert.ok(await stage.put('a', 'z', 'new'));
      // It has not heard of y, and tells after all others, just before it goes.
      stage.cut('c', ...STANDING);
      stage.publish(NAMES, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      await stage.sleep(GIVEN_UP_MS);
      reconnect(stage, 'c', STANDING);
      const told = (): Promise<number | undefined> => stage.objectsTold('e');
      await stage.until('c has told', async () => (await told()) === 2);
      stage.publish(NAMES, NEW);
      stage.heal();
      await stage.sleep(HANDED_OVER_MS);
      assert.equal(await told(), 2, 'c is shown');
      // A start begins a round of the auditors.
      for (const name of STANDING) {
        stage.node(name).kill();
        stage.node(name).start();
      }
      await stage.until('the account shows what is there', async () => (await told()) === 3);
    },
  },
];

function reconnect(stage: Stage, one: Name, others: readonly Name[]): void {
  for (const other of others) {
    stage.world.network.heal(one, other);
    stage.world.network.heal(other, one);
  }
}
