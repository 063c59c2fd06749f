/**
 * What clients would notice of rules that seeds seldom put to the test: a timestamp that is issued
 * twice, a download that goes on with another version, deletions of objects and of containers.
 */
import assert from 'node:assert/strict';
import { encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { containerPath, objectPath } from '#base/names.ts';
import { justAbove } from '#base/timestamp.ts';
import { BOX, type Name, OLD, type Stage, type StagedScenario, textOf } from './stage.ts';

const KEY = 'x';
const SEAL_MS = 15_000;
const HOUR_MS = 3_600_000;
/** More than a proxy sends along with the state. */
const LARGE = 6_000;
/** More than it takes into its memory. */
const STREAMED = 20_000;
/** More timestamps than are issued otherwise. */
const ISSUED = 1_000;
/** Within this all that hear of each other have each other's time. */
const HEARD_MS = 5_000;
/** Within this all container replicas are equal. */
const CONVERGED_MS = 90_000;

export const SERVICE_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'a timestamp is issued once, also when all clocks have been set back and its process has started again',
    mutants: ['reuse-timestamps-after-a-restart'],
    run: async (stage) => {
      const { cluster } = stage;
      for (const node of cluster.nodes) cluster.setClock(node, HOUR_MS);
      await stage.sleep(HEARD_MS);
      assert.ok(await stage.put('b', KEY, 'old'));
      for (const node of cluster.nodes) cluster.setClock(node, 0);
      await stage.sleep(HEARD_MS);
      stage.cut('a', 'b', 'c', 'd', 'e', 'f', 'g');
      // Nobody hears of these, or the others' clocks might be above the deletion, and tell it.
      for (let n = 0; n < ISSUED; n++) stage.node('a').process!.clock.now();
      await deleteOn(stage, 'a');
      stage.node('a').kill();
      stage.heal();
      stage.node('a').start();
      await stage.until('a is back', () => stage.node('a').process !== undefined);
      for (const name of ['b', 'c', 'e', 'f', 'g'] as const) await stage.connected('a', name);
      assert.ok(await stage.put('a', KEY, 'new'));
      // Until then a read asks the two that have missed the deletion, or one that has not.
      await stage.sleep(CONVERGED_MS);
      assert.equal(await stage.get('b', KEY), 'new', 'it deleted what came later');
    },
  },
  {
    name: 'a download goes on with the version that it began with, or breaks off',
    mutants: ['splice-two-versions'],
    run: async (stage) => {
      const [first, second] = ['1', '2'].map((digit) => digit.repeat(LARGE)) as [string, string];
      assert.ok(await stage.put('a', KEY, first));
      const reader = (await stage.open('d', KEY))!;
      assert.ok(await stage.put('a', KEY, second));
      const told = await textOf(reader).catch(codeOf);
      assert.ok(
        told === first || told === 'unavailable',
        'a download of two versions: bytes of another version',
      );
    },
  },
  {
    // Seed 902402 (--brief): the replicas refused the body, and their word counted, for the POST was newer.
    name: 'a large write that a POST overtakes on its last step is there, and so is the POST',
    mutants: ['overtaken-by-metadata-is-acknowledged'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'old'));
      stage.onceSent('object.write', () => postOn(stage, OLD));
      const large = 'l'.repeat(STREAMED);
      assert.ok(await stage.put('a', KEY, large));
      assert.ok((await stage.get('b', KEY)) === large, 'what was acknowledged is not found');
      const state = await stage.state('c', KEY, 'quorum');
      assert.equal(state?.groups['user']?.values['color'], 'red');
    },
  },
  {
    name: 'a container that somebody is deleting takes no more rows',
    mutants: ['delete-a-container-without-a-seal'],
    run: async (stage) => {
      const deletion = new Deletion(stage);
      for (const name of ['e', 'f', 'g'] as const)
        assert.equal(await deletion.seal(name), 'sealed');
      stage.cut('g', 'a', 'b', 'c', 'd', 'e', 'f');
      const acknowledged = await stage.put('a', KEY, 'new');
      for (const name of ['e', 'f', 'g'] as const) await deletion.remove(name);
      stage.heal();
      if (!acknowledged) return;
      await stage.sleep(CONVERGED_MS);
      assert.equal(await stage.remove('a', KEY), 'deleted');
      assert.ok(await stage.hasBox('a'), 'a container that nobody has deleted is not found');
    },
  },
];

/** Of another proxy, whose clock is a little ahead; it is there before anything that is sent now. */
function postOn(stage: Stage, names: readonly Name[]): void {
  const { clock } = stage.node('a').process!;
  const timestamp = justAbove(clock.now(), clock.workerId);
  const { hashPrefix, hashSuffix } = stage.cluster.shape.view;
  const path = objectPath({ ...BOX, object: KEY });
  const key = { policy: 0, hash: hashPath(hashPrefix, path, hashSuffix) };
  const state = { groups: { user: { timestamp, values: { color: 'red' } } } };
  for (const name of names) {
    const node = stage.node(name);
    const { device } = node.process!.storage.open().get(node.shape.devices[0]!)!;
    void device.write({ key, path, state, unlisted: false, intent: 'write' });
  }
}

/** What a proxy that was cut off then has sent to one replica alone. */
async function deleteOn(stage: Stage, name: Name): Promise<void> {
  const args = { policy: 0, intent: 'write', state: tombstone(stage, name) };
  await stage.call(name, 'object.write', KEY, 1, args);
}

/** By the clock of this node. */
function tombstone(stage: Stage, name: Name): Buffer {
  const timestamp = stage.node(name).process!.clock.now();
  const none = { etag: '', size: 0, contentType: '', clientMicros: 0 };
  const data = { timestamp, writeId: timestamp.slice(4), kind: 'deleted' as const, ...none };
  return encodeState({ data, groups: {} });
}

/** The steps of a container's deletion, as a proxy takes them, each at its moment. */
class Deletion {
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async seal(name: Name): Promise<string> {
    return this.#call(name, 'container.seal');
  }

  async remove(name: Name): Promise<string> {
    return this.#call(name, 'container.remove', { state: tombstone(this.#stage, 'a') });
  }

  async #call(name: Name, method: string, more: object = {}): Promise<string> {
    const { hashPrefix, hashSuffix } = this.#stage.cluster.shape.view;
    const path = containerPath(BOX);
    const hash = hashPath(hashPrefix, path, hashSuffix);
    const device = this.#stage.node(name).shape.devices[0]!;
    const seal = { seal: 'deletion', deadlineMs: SEAL_MS };
    const args = { device, hash, path, ringVersion: 1, ...seal, ...more };
    const { wire } = this.#stage.node(name).process!;
    const { result } = await wire.call(name, method, args, { txn: 'scenario', deadlineMs: 5_000 });
    return (result as { outcome: string }).outcome;
  }
}
