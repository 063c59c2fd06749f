/** Of devices and their jobs: what seeds never do, or meet too seldom. */
import assert from 'node:assert/strict';
import { encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, containerPath, objectPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Listing } from '#object/calls.ts';
import type { RowStore } from '#rows/row-store.ts';
import { BOX, NAMES, type Name, OLD, STANDING, type Stage, type StagedScenario } from './stage.ts';

const KEY = 'x';
const OTHER_POLICY = 7;
/** More than the grace after a delete-at. */
const HALF_A_DAY_MS = 12 * 3_600_000;
/** Within this every expirer has looked. */
const EXPIRER_MS = 40_000;

const DAY_MS = 24 * 3_600_000;
/** More than the age from which on deletions are forgotten, and the margin. */
const RECLAIMED_MS = 9 * DAY_MS;
const LOOKS = 9;

/** Within this everybody has compared all that it has with everybody. */
const SWEPT_MS = 90_000;
/** Within this everything of a few is done that is done at once. */
const SOON_MS = 5_000;
/** Within this every stand-in has offered what it holds. */
const HANDOVER_MS = 60_000;

interface Version {
  readonly kind: 'live' | 'deleted';
  readonly deleteAt?: number;
  readonly body?: { readonly length: number };
}

interface Sending {
  readonly policy?: number;
  readonly ringVersion?: number;
  readonly timestamp?: Timestamp;
  readonly unlisted?: boolean;
  /** A `write` without a listing is one whose row somebody else has seen to. */
  readonly intent?: 'join' | 'write';
  readonly listing?: Listing;
  readonly body?: Buffer;
}

/** A state without bytes, as replication brings it to devices of policy 0 or another. */
async function join(stage: Stage, to: readonly Name[], version: Version, sending: Sending = {}) {
  const { timestamp = stage.node('a').process!.clock.now(), ringVersion = 1, ...more } = sending;
  const none = { etag: '', size: 0, contentType: 'text/plain', clientMicros: 0 };
  const data = { timestamp, writeId: timestamp.slice(4), ...none, ...version };
  const state = encodeState({ data, groups: {} });
  for (const device of to) {
    const request = { policy: 0, intent: 'join', ...more, state };
    await stage.call(device, 'object.write', KEY, ringVersion, request);
  }
}

function boxHash(stage: Stage): Buffer {
  const { hashPrefix, hashSuffix } = stage.cluster.shape.view;
  return hashPath(hashPrefix, containerPath(BOX), hashSuffix);
}

function rowsOf(stage: Stage, name: Name): RowStore {
  const { shape, process } = stage.node(name);
  return process!.storage.open().get(shape.devices[0]!)!.rows;
}

/** To one replica of the container. */
function listingOn(stage: Stage, name: Name): Listing {
  const containerHash = boxHash(stage);
  const targets = [{ device: stage.node(name).shape.devices[0]!, node: name }];
  return { containerHash, ringVersion: 1, targets, mode: 'strict', policy: 0 };
}

function wipe(stage: Stage, name: Name): void {
  const node = stage.node(name);
  node.machine.disk.wipe(node.devicePath(node.shape.devices[0]!));
  node.kill();
  node.start();
}

/** What it wrote last. */
async function damageLast(stage: Stage, name: Name): Promise<void> {
  const node = stage.node(name);
  const { disk, env } = node.machine;
  const folder = `${node.devicePath(node.shape.devices[0]!)}/log`;
  const path = `${folder}/${(await env.disk.list(folder)).sort().at(-1)!}`;
  disk.flipByte(path, (await env.disk.stat(path))!.size - 1);
}

/** All records of a path but the first ones are damaged, and what was made of them is lost. */
async function damageAllButFirst(
  stage: Stage,
  name: Name,
  path = objectPath({ ...BOX, object: KEY }),
  database = 'index.db',
  good = 1,
): Promise<void> {
  const node = stage.node(name);
  const { disk, env } = node.machine;
  const device = node.devicePath(node.shape.devices[0]!);
  let met = 0;
  for (const file of (await env.disk.list(`${device}/log`)).sort()) {
    const segment = await env.disk.read(`${device}/log/${file}`);
    for (let at = segment.indexOf(path); at >= 0; at = segment.indexOf(path, at + 1)) {
      if (met++ >= good) disk.flipByte(`${device}/log/${file}`, at);
    }
  }
  assert.ok(met > good, 'no record is damaged');
  node.kill();
  disk.lose(`${device}/${database}`);
  node.start();
}

async function versionAt(stage: Stage, device: Name): Promise<string> {
  return (await stage.stat(device, KEY, 1)).version;
}

export const DEVICE_SCENARIOS: readonly StagedScenario[] = [
  {
    name: 'a name in one policy is not the same name in another',
    mutants: ['index-without-policy'],
    run: async (stage) => {
      await join(stage, ['a'], { kind: 'live' });
      const version = await versionAt(stage, 'a');
      await join(stage, ['a'], { kind: 'deleted' }, { policy: OTHER_POLICY });
      assert.equal(await versionAt(stage, 'a'), version, 'the other policy shows here');
      await stage.sleep(1_000);
      assert.equal(await versionAt(stage, 'a'), version, 'the other policy shows here');
    },
  },
  {
    name: 'a replica that missed an overwrite expires its own version and no other',
    mutants: ['expire-by-a-tombstone-at-delete-at'],
    run: async (stage) => {
      const deleteAt = Math.floor(stage.cluster.trueMs / 1000) + 60;
      await join(stage, ['a', 'b', 'c'], { kind: 'live', deleteAt });
      await join(stage, ['a', 'b'], { kind: 'live' });
      const overwritten = await versionAt(stage, 'a');
      stage.cut('c', 'a', 'b');
      stage.cluster.passTime(HALF_A_DAY_MS);
      await stage.sleep(EXPIRER_MS);
      stage.heal();
      await stage.until('all are equal', async () => {
        return (await versionAt(stage, 'c')) === (await versionAt(stage, 'a'));
      });
      assert.equal(await versionAt(stage, 'a'), overwritten, 'an expiry deleted what came later');
    },
  },
  {
    name: 'a stand-in keeps what is not listed yet, though all primaries have the object',
    mutants: ['drop-an-unlisted-handoff'],
    run: async (stage) => {
      // No row reaches the container from d, and nobody else knows that one is missing.
      stage.cut('d', 'e', 'f', 'g');
      const timestamp = stage.node('a').process!.clock.now();
      await join(stage, ['a', 'b', 'c'], { kind: 'live' }, { timestamp, intent: 'write' });
      await join(stage, ['d'], { kind: 'live' }, { timestamp, unlisted: true });
      await stage.sleep(HANDOVER_MS);
      assert.deepEqual(await stage.list('a'), [], 'nobody could list it');
      stage.heal();
      await stage.until('what a stand-in held is not listed', async () => {
        return (await stage.list('a')).includes(KEY);
      });
    },
  },
  {
    // The proxy died before it sent the row to the others (--brief, seed 3 of wipe, kill, partition-pair).
    name: 'a write that one replica took is listed, though the only container replica with its row was wiped',
    mutants: ['repair-lists-nothing'],
    run: async (stage) => {
      stage.cut('e', 'f', 'g');
      stage.cut('a', 'b', 'c');
      const listing = listingOn(stage, 'e');
      await join(stage, ['a'], { kind: 'live' }, { intent: 'write', listing });
      wipe(stage, 'e');
      stage.heal();
      await stage.until('repair has brought it to all', async () => {
        return (await versionAt(stage, 'c')) === (await versionAt(stage, 'a'));
      });
      await stage.until('what repair brought is not listed', async () => {
        return (await stage.list('a')).includes(KEY);
      });
    },
  },
  {
    // Nobody was told of it; it is the only write that the listing knows of, and no device has it.
    name: 'the row of a deletion whose only device was wiped hides the object for no longer than a round',
    mutants: ['rows-of-lost-writes-stay'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'kept'));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      const listing = listingOn(stage, 'e');
      await join(stage, ['c'], { kind: 'deleted' }, { intent: 'write', listing });
      wipe(stage, 'c');
      await stage.until('c is whole again', async () => {
        const { version, complete } = await stage.stat('c', KEY, 1);
        return complete && version === (await versionAt(stage, 'a'));
      });
      assert.deepEqual(await stage.list('a'), [], 'the row is there');
      stage.cluster.passTime(HALF_A_DAY_MS);
      // What auditors come to within a day, they also do after a start.
      stage.node('e').kill();
      stage.node('e').start();
      await stage.until('it is not listed: the row of a lost deletion hides it', async () => {
        return (await stage.list('a')).includes(KEY);
      });
      assert.equal(await stage.get('b', KEY), 'kept');
    },
  },
  {
    // Seeds 901996 and 903569 (--brief): the only container replica with its row was wiped.
    name: 'what no listing shows is listed when somebody has everything audited now',
    mutants: ['audit-run-leaves-listings'],
    run: async (stage) => {
      await join(stage, OLD, { kind: 'live' }, { intent: 'write' });
      stage.cluster.passTime(HALF_A_DAY_MS);
      await stage.sleep(HANDOVER_MS);
      assert.deepEqual(await stage.list('a'), [], 'nobody has its row');
      for (const name of OLD) stage.node(name).process!.storage.auditor.run(undefined);
      await stage.sleep(SOON_MS);
      assert.deepEqual(await stage.list('a'), [KEY], 'it is not listed');
    },
  },
  {
    name: 'a deletion is remembered as long as somebody is away who has missed it',
    mutants: ['drop-a-tombstone-early'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'old'));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      await stage.sleep(SWEPT_MS);
      stage.cut('c', 'a', 'b', 'd', 'e', 'f', 'g');
      await join(stage, ['a', 'b'], { kind: 'deleted' });
      await stage.until('it is listed', async () => (await stage.list('a')).length === 0);
      // Else who has forgotten it is told again by who has not yet.
      stage.cut('a', 'b');
      stage.cluster.passTime(HALF_A_DAY_MS);
      await stage.sleep(EXPIRER_MS);
      stage.heal();
      await stage.until('all are equal', async () => {
        const versions = new Set<string>();
        for (const name of ['a', 'b', 'c'] as const) versions.add(await versionAt(stage, name));
        return versions.size === 1;
      });
      assert.match(await versionAt(stage, 'c'), /deleted/, 'what was deleted came back');
    },
  },
  {
    name: 'what a stand-in had forgotten does not return from a damaged log without an index',
    mutants: ['believe-a-log-with-a-hole'],
    run: async (stage) => {
      await join(stage, ['d'], { kind: 'live' });
      await stage.until('it is handed over', async () => !(await versionAt(stage, 'd')));
      await removedAndReclaimed(stage);
      await join(stage, ['d'], { kind: 'live' }, { policy: OTHER_POLICY });
      await damageAllButFirst(stage, 'd');
      await staysDeleted(stage);
    },
  },
  {
    name: 'what all have reclaimed does not return from a damaged log without an index',
    mutants: ['believe-a-log-with-a-hole'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'old'));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      await removedAndReclaimed(stage);
      await join(stage, ['c'], { kind: 'live' }, { policy: OTHER_POLICY });
      await damageAllButFirst(stage, 'c');
      await staysDeleted(stage);
      await stage.until('c counts', async () => (await stage.stat('c', KEY, 1)).complete);
    },
  },
  {
    name: 'a container that was deleted does not return from a damaged log without its rows',
    mutants: ['believe-a-log-with-a-hole'],
    run: async (stage) => {
      await stage.removeBox('a');
      stage.cluster.passTime(RECLAIMED_MS);
      const rows = (name: Name) => rowsOf(stage, name).facts(CONTAINER_RING, boxHash(stage))?.total;
      await stage.until('all have reclaimed it', () => STANDING.every((name) => !rows(name)));
      await join(stage, ['e'], { kind: 'live' }, { policy: OTHER_POLICY });
      await damageAllButFirst(stage, 'e', containerPath(BOX), 'rows.db');
      for (let look = 0; look < LOOKS; look++) {
        await stage.sleep(SWEPT_MS / LOOKS);
        assert.equal(await stage.hasBox('a'), false, 'it came back');
      }
      assert.ok(!rows('e'), 'it came back there');
    },
  },
  {
    name: 'the row of what was deleted does not return from a damaged log without its rows',
    mutants: ['believe-a-log-with-a-hole'],
    run: async (stage) => {
      assert.ok(await stage.put('a', KEY, 'old'));
      await stage.until('it is listed', async () => (await stage.list('a')).length === 1);
      await removedAndReclaimed(stage);
      const rows = () => rowsOf(stage, 'e').changes(CONTAINER_RING, boxHash(stage), 0, 9).length;
      await stage.until('its row is reclaimed', () => rows() === 1);
      await join(stage, ['e'], { kind: 'live' }, { policy: OTHER_POLICY });
      // Of the container itself, and of the row while it was alive.
      await damageAllButFirst(stage, 'e', containerPath(BOX), 'rows.db', 2);
      for (let look = 0; look < LOOKS; look++) {
        await stage.sleep(SWEPT_MS / LOOKS);
        assert.deepEqual(await stage.list('a'), [], 'what was deleted came back');
      }
      assert.equal(rows(), 1, 'it came back there');
      assert.ok(await stage.hasBox('a'));
    },
  },
  {
    name: 'who has yet to ask what it had forgotten serves nobody, until a person says that nobody will tell',
    mutants: ['believe-a-log-with-a-hole'],
    run: async (stage) => {
      for (const content of ['old', 'new']) assert.ok(await stage.put('a', KEY, content));
      await stage.until('all have it', async () => (await stage.stat('c', KEY, 1)).hasBody);
      await join(stage, ['c'], { kind: 'live' }, { policy: OTHER_POLICY });
      stage.cut('c', 'a', 'b', 'd', 'e', 'f', 'g');
      await damageAllButFirst(stage, 'c');
      await stage.until('c is up', () => stage.node('c').process !== undefined);
      await stage.sleep(SOON_MS);
      await assert.rejects(
        versionAt(stage, 'c'),
        { remoteCode: 'no-device' },
        'what it may have forgotten came back',
      );
      stage.node('c').process!.storage.acceptLoss(stage.node('c').shape.devices[0]!);
      await stage.until('c serves', async () => (await versionAt(stage, 'c')).length > 0);
      stage.heal();
      await stage.until('all are equal', async () => {
        return (await versionAt(stage, 'c')) === (await versionAt(stage, 'a'));
      });
    },
  },
  {
    // The proxy died, and the only replica that had the body lost it.
    name: 'a version that nobody has does not hide what was acknowledged before it',
    mutants: ['never-give-up-what-nobody-has'],
    run: async (stage) => {
      stage.cut('c', 'a', 'b', 'd', 'e', 'f', 'g');
      assert.ok(await stage.put('a', KEY, 'kept'), 'a and b are a majority');
      const body = Buffer.from('lost');
      const version = { kind: 'live', body: { length: body.length } } as const;
      await join(stage, ['c'], version, { intent: 'write', body });
      await damageLast(stage, 'c');
      stage.heal();
      for (const name of ['a', 'b', 'e'] as const) await stage.connected('c', name);
      const told = await stage.get('c', KEY).catch(codeOf);
      assert.equal(told, 'kept', 'what two replicas had acknowledged is not found');
    },
  },
  {
    // Seeds 902334 and 907505 (--brief): the client was told nothing, and each replica expires on its own.
    name: 'a POST that only a stand-in has does not revive what all primaries have expired',
    mutants: ['hand-over-what-nobody-has-bytes-for'],
    run: async (stage) => {
      await putExpiring(stage);
      stage.cut('d', 'a', 'b', 'c');
      await postNoExpiry(stage, 'd');
      await expired(stage, 'a', 'b', 'c');
      stage.heal();
      await stage.until('the POST is still held', async () => !(await versionAt(stage, 'd')));
      for (const name of OLD) assert.match(await versionAt(stage, name), FREED, CAME_BACK);
      assert.equal(await stage.get('a', KEY), undefined);
    },
  },
  {
    name: 'a POST that only a replica without the body has does not revive what the others have expired',
    mutants: ['revive-without-bytes'],
    run: async (stage) => {
      await putExpiring(stage);
      stage.cut('c', 'a', 'b', 'd', 'e', 'f', 'g');
      await damageLast(stage, 'c');
      await postNoExpiry(stage, 'c');
      await expired(stage, 'a', 'b');
      stage.heal();
      await stage.sleep(SWEPT_MS);
      for (const name of ['a', 'b'] as const)
        assert.match(await versionAt(stage, name), FREED, CAME_BACK);
      for (const name of ['e', 'f', 'g'] as const) await stage.connected('c', name);
      assert.equal(await stage.get('c', KEY), undefined, 'it is 503, and not 404');
      await stage.until('all are equal', async () => {
        return (await versionAt(stage, 'c')) === (await versionAt(stage, 'a'));
      });
    },
  },
  {
    // Seed 7700004 (--brief, five faults): c keeps no bodies.
    name: 'a replica that was away when a version was kept from expiring is asked for its bytes, not freed of them',
    mutants: ['free-without-asking'],
    run: async (stage) => {
      stage.publish(NAMES, OLD, undefined, 2);
      await putExpiring(stage, 2, 'c');
      stage.node('a').kill();
      for (const name of ['b', 'c'] as const) await postNoExpiry(stage, name, 2);
      wipe(stage, 'b');
      stage.cluster.passTime(HALF_A_DAY_MS);
      stage.node('a').start();
      await stage
        .until('all have it', async () => {
          for (const name of ['a', 'b'] as const)
            if (!(await stage.stat(name, KEY, 2)).hasBody) return false;
          return true;
        })
        .catch(() => assert.fail('what it has is not found'));
      assert.equal(await stage.get('c', KEY), 'expires');
    },
  },
  {
    name: 'what has expired is freed though one of three is away',
    mutants: ['never-free-without-all'],
    run: async (stage) => {
      stage.publish(NAMES, OLD, undefined, 2);
      await putExpiring(stage, 2, 'c');
      stage.cut('b', 'a', 'c', 'd', 'e', 'f', 'g');
      stage.cluster.passTime(HALF_A_DAY_MS);
      await stage
        .until('its bytes are freed', async () => {
          return FREED.test((await stage.stat('a', KEY, 2)).version);
        })
        .catch(() => assert.fail('it is still held'));
    },
  },
];

const CAME_BACK = 'what had expired came back';
const FREED = /^\w{20}expired[^;]*$/;

/** On all primaries, to expire in a minute; its bytes on all but the witness. */
async function putExpiring(stage: Stage, ringVersion = 1, witness?: Name): Promise<void> {
  const deleteAt = Math.floor(stage.cluster.trueMs / 1000) + 60;
  const body = Buffer.from('expires');
  const version = { kind: 'live', deleteAt, body: { length: body.length } } as const;
  const timestamp = stage.node('a').process!.clock.now();
  for (const name of OLD) {
    const sending = { ringVersion, timestamp, intent: 'write', ...(name !== witness && { body }) };
    await join(stage, [name], version, sending as Sending);
  }
}

/** One device is told that it does not expire. */
async function postNoExpiry(stage: Stage, to: Name, ringVersion = 1): Promise<void> {
  const timestamp = stage.node(to).process!.clock.now();
  const state = encodeState({ groups: { system: { timestamp, values: {} } } });
  await stage.call(to, 'object.write', KEY, ringVersion, { policy: 0, intent: 'write', state });
}

async function expired(stage: Stage, ...names: Name[]): Promise<void> {
  stage.cluster.passTime(HALF_A_DAY_MS);
  await stage.until('its bytes are freed', async () => {
    for (const name of names) if (!FREED.test(await versionAt(stage, name))) return false;
    return true;
  });
}

/** Deleted, and nobody remembers it. */
async function removedAndReclaimed(stage: Stage): Promise<void> {
  await stage.remove('a', KEY);
  await stage.until('all have the deletion', async () => {
    for (const name of OLD) if (!/deleted/.test(await versionAt(stage, name))) return false;
    return true;
  });
  stage.cluster.passTime(RECLAIMED_MS);
  await stage.until('all have reclaimed it', async () => {
    for (const name of OLD) if (await versionAt(stage, name)) return false;
    return true;
  });
}

async function staysDeleted(stage: Stage): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    await stage.sleep(SWEPT_MS / LOOKS);
    for (const name of OLD) {
      const version = await versionAt(stage, name).catch(() => '');
      assert.equal(version, '', 'what was deleted came back');
    }
    assert.equal(await stage.get('a', KEY), undefined, 'it can be read');
  }
}
