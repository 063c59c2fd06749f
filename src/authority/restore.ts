/**
 * Puts a backup into an empty state store, and makes what it says the newest word of the cluster: nodes
 * may know later versions than the backup, so it is published above them, with the rings that they
 * have (data lies by those). What was decided since, but is no ring, is what the backup said.
 *
 * The record that makes a store an authority's is removed first and written last: half a restore is
 * taken for nothing, and can be begun again.
 */
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterView, NodeInfo } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import type { State } from '#state/state.ts';
import { createAuthority } from './authority.ts';
import type { Backup } from './backup-format.ts';
import { BUNDLES, currentValue, publishedOf } from './publisher.ts';
import { clusterRecord, headRecord, KEYS, type NodeRecord } from './records.ts';
import type { Changes, Sealer, Snapshot } from './store.ts';

export interface RestoreOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly state: State;
  readonly sealer: Sealer;
  readonly backup: Backup;
  /** The newest bundle that any node has kept; undefined: none is at hand. */
  readonly last: ClusterView | undefined;
  /** Keys that are left out, by their beginnings. */
  readonly without: readonly string[];
  /** What the store holds may go. */
  readonly replace: boolean;
  readonly progress?: (done: number, all: number) => void;
}

export interface Restored {
  readonly version: number;
  readonly keys: number;
  /** Rings that nodes had later versions of. */
  readonly adopted: readonly string[];
  /** Nodes that joined after the backup: members again, by what the last bundle says of them. */
  readonly joinedSince: readonly string[];
}

const BATCH_KEYS = 100;
const BATCH_BYTES = 256 * 1024;
/** Ids given out after the backup must not be given out again: timestamps are unique by them. */
const SPARE_WORKER_IDS = 1024;
const SPARE_DEVICE_IDS = 256;
const MICROS_PER_HOUR = 3_600_000_000;
/** Above what the nodes may know where no bundle of theirs is at hand. */
const SPARE_VERSIONS = 100;
const ROW_RINGS = new Map([
  ['container', CONTAINER_RING],
  ['account', ACCOUNT_RING],
]);

/** @throws OperatingError `cannot-unseal`, `authority-runs`, `not-empty`, `other-cluster` */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { env, state, sealer, backup, last } = options;
  checkSecrets(backup, sealer);
  if (last !== undefined && last.clusterId !== backup.clusterId)
    throw new OperatingError('other-cluster', 'the bundle is of another cluster than the backup');
  await makeRoom(options);
  const known = Math.max(backup.bundleVersion + SPARE_VERSIONS, last?.version ?? 0);
  const keys = await writeAll(options, known);
  const authority = createAuthority({ env, state, sealer, address: '', askMoves: async () => [] });
  const reason = { what: `restored from ${new Date(backup.madeMs).toISOString()}`, who: 'restore' };
  const { version, result } = await authority.store.change(reason, (now) =>
    caughtUp(now, last, env.clock.wallMicros() / MICROS_PER_HOUR),
  );
  return { version, keys, ...result };
}

/** A wrong master key is noticed before anything is touched. */
function checkSecrets({ items }: Backup, sealer: Sealer): void {
  const record = items.find(([key]) => key === KEYS.cluster);
  if (record === undefined)
    throw new OperatingError('malformed', 'damaged backup: it has no cluster');
  try {
    sealer.open(clusterRecord.decode(record[1]).signingSecret, KEYS.cluster);
  } catch (cause) {
    const hint = 'the master key is not the one that this cluster had';
    throw new OperatingError('cannot-unseal', hint, {}, { cause });
  }
}

async function makeRoom({ state, replace }: RestoreOptions): Promise<void> {
  if ((await state.get(KEYS.leader)) !== undefined)
    throw new OperatingError('authority-runs', 'an authority runs on this store: stop all of them');
  const { items } = await state.range({ start: '\0' }, { limit: 1 });
  if (items.length === 0) return;
  if (!replace)
    throw new OperatingError(
      'not-empty',
      'the store is not empty: --replace forgets what is in it',
    );
  await state.txn({ success: [{ kind: 'delete', key: KEYS.cluster }] });
  await state.txn({ success: [{ kind: 'deleteRange', range: { start: '\0' } }] });
}

async function writeAll(
  { state, backup, without, progress = () => undefined }: RestoreOptions,
  version: number,
): Promise<number> {
  const wanted = backup.items.filter(([key]) => without.every((start) => !key.startsWith(start)));
  const items = wanted.map(([key, value]) => [key, renumbered(key, value, version)] as const);
  const last = items.filter(([key]) => key === KEYS.cluster);
  const first = items.filter(([key]) => key !== KEYS.cluster);
  let done = 0;
  for (const batch of [...batches(first), last]) {
    await state.txn({ success: batch.map(([key, value]) => ({ kind: 'put', key, value })) });
    done += batch.length;
    progress(done, items.length);
  }
  return items.length;
}

function* batches<Item extends readonly [string, Uint8Array]>(items: readonly Item[]) {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    if (batch.length === BATCH_KEYS || (batch.length > 0 && bytes + item[1].length > BATCH_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(item);
    bytes += item[1].length;
  }
  if (batch.length > 0) yield batch;
}

/** The next version that is published is above this one. */
function renumbered(key: string, value: Uint8Array, version: number): Uint8Array {
  if (key === KEYS.head) return headRecord.encode({ ...headRecord.decode(value), version });
  if (key !== BUNDLES.current) return value;
  const bytes = Buffer.from(value);
  const item = { key, value: bytes, createRevision: 0, modRevision: 0, version: 0 };
  return currentValue(version, publishedOf(item));
}

type CaughtUp = Changes & { result: Pick<Restored, 'adopted' | 'joinedSince'> };

/** What the nodes' last bundle says beyond the backup. */
function caughtUp(now: Snapshot, last: ClusterView | undefined, nowHours: number): CaughtUp {
  const { nextWorkerId, nextDeviceId } = now.head;
  const head = {
    nextWorkerId: nextWorkerId + SPARE_WORKER_IDS,
    nextDeviceId: nextDeviceId + SPARE_DEVICE_IDS,
  };
  if (last === undefined) return { head, result: { adopted: [], joinedSince: [] } };
  const rings = namedRings(last);
  const newer = [...rings].filter(([name, ring]) => {
    return ring.version > (now.set.builders.get(name)?.state.version ?? 0);
  });
  const set = newer.length === 0 ? now.set : now.set.adopt(rings, Math.floor(nowHours));
  const joined = [...last.nodes.values()].filter(({ name }) => !now.nodes.has(name));
  const nodes = [...joined.map((node) => memberOf(node, set)), ...expelledSince(now, last)];
  return {
    ...(newer.length > 0 && { set, document: { ...now.document, policies: [...last.policies] } }),
    nodes,
    head,
    result: {
      adopted: newer.map(([name, ring]) => `${name} version ${ring.version}`),
      joinedSince: joined.map(({ name }) => name),
    },
  };
}

function namedRings({ rings, policies }: ClusterView): Map<string, Ring> {
  const objects = policies.flatMap(({ index, name }) => {
    const ring = rings.get(index);
    return ring === undefined ? [] : [[`object/${name}`, ring] as const];
  });
  const rows = [...ROW_RINGS].flatMap(([name, number]) => {
    const ring = rings.get(number);
    return ring === undefined ? [] : [[name, ring] as const];
  });
  return new Map([...objects, ...rows]);
}

/** As far as a bundle tells; the rest comes when it renews its certificate or joins anew. */
function memberOf({ name, site, zone, wire, roles = [] }: NodeInfo, set: RingSet): NodeRecord {
  const own = set.devices().filter((device) => device.node === name && device.site === site);
  return {
    name,
    site,
    zone,
    wire,
    roles: [...roles],
    ports: {},
    workerIds: [],
    devices: own.map(({ id, name: disk }) => ({ id, name: disk, bytes: 0 })),
    serial: '',
    certifiedUntilMs: 0,
    revoked: [],
    expelled: false,
    joinedMs: 0,
  };
}

/** Who was cut off after the backup stays so. */
function expelledSince(now: Snapshot, { settings }: ClusterView): NodeRecord[] {
  const members = [...now.nodes.values()];
  const serials = new Set(members.flatMap(({ revoked }) => revoked));
  const more = settings?.revoked.serials.filter((serial) => !serials.has(serial)) ?? [];
  const expelled = new Set(settings?.revoked.nodes ?? []);
  const changed = members.filter((node, n) => {
    return (expelled.has(node.name) && !node.expelled) || (n === 0 && more.length > 0);
  });
  return changed.map((node) => ({
    ...node,
    expelled: node.expelled || expelled.has(node.name),
    // Whose they were is not told; void they are, whoever has them.
    revoked: node === members[0] ? [...node.revoked, ...more] : node.revoked,
  }));
}
