/**
 * The way in: `formatDevice` makes a device of an empty folder, `openDevice` brings one up.
 *
 * Order of opening: whose folder is it, index (or a new one, when it is lost, damaged or of another
 * version), replay, then the end of the log is opened for writing and the losses that replay met are
 * recorded. Only then anything is served.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { Database, Env } from '#env/env.ts';
import { AUDIT_PLACE, loadPlace } from './audit-place.ts';
import { BlobStore } from './blob-store.ts';
import { type AppendPartition, CompletenessMap } from './completeness.ts';
import type { DeviceIdentity, DeviceStatus, EntryKey, LogPosition, RowSink } from './contract.ts';
import { ContributionHasher } from './contribution.ts';
import { REBUILD_MARK } from './damage-control.ts';
import { DigestStore } from './digest-store.ts';
import { EntryStore } from './entry-store.ts';
import { HoleMark } from './hole-mark.ts';
import {
  isMountPoint,
  readIdentity,
  type StoredIdentity,
  SUBFOLDERS,
  writeIdentity,
} from './identity.ts';
import {
  hasIndexTables,
  INDEX_VERSION,
  IndexFile,
  indexVersion,
  isIndexDamage,
} from './index-file.ts';
import { DEFAULT_LIMITS, type DeviceLimits } from './limits.ts';
import { LogDevice } from './log-device.ts';
import { LogWriter } from './log-writer.ts';
import { PartitionMarks } from './partition-marks.ts';
import { Quarantine } from './quarantine.ts';
import { isBefore, Reaper } from './reaper.ts';
import { RecordReplay } from './record-replay.ts';
import { Recovery, type RecoveryReport } from './recovery.ts';
import { SegmentFiles } from './segment-files.ts';

export type { DeviceLimits, LogDevice };
export { DEFAULT_LIMITS };

/** Keeps which incarnations of a device have counted, somewhere else than on the device. */
export interface DeviceRegister {
  /** @throws OperatingError `device-former`: another one has counted since */
  check(incarnation: string): Promise<void>;
  /** Durable when it resolves: this one is about to count. */
  note(incarnation: string): Promise<void>;
}

export interface OpenOptions {
  readonly clusterId: string;
  readonly deviceId: number;
  readonly clock: HybridClock;
  /** Opens the row store of this device folder; `incarnation` tells it whose rows it may believe. */
  readonly openRows: (folder: string, incarnation: string) => RowSink | Promise<RowSink>;
  readonly limits?: Partial<DeviceLimits>;
  readonly onStatus?: (status: DeviceStatus, reason: string) => void;
  /** A body is not good any more (its key), or the index is not (no key). */
  readonly onDamage?: (key: EntryKey | undefined, what: string) => void;
  /** The configuration says that this path is a mount point. */
  readonly mountPoint?: boolean;
  readonly register?: DeviceRegister;
}

/** @throws OperatingError `device-in-use` */
export function formatDevice(
  env: Env,
  path: string,
  identity: Pick<DeviceIdentity, 'clusterId' | 'deviceId' | 'name' | 'genesis'>,
): Promise<DeviceIdentity> {
  return writeIdentity(env, path, identity);
}

/**
 * @throws OperatingError `device-blank` (format it, as not genesis), `device-unmounted`,
 *   `device-other-cluster`, `device-other-id`, `device-former`, `newer-format`, `foreign-segment`, `damaged`
 */
export async function openDevice(env: Env, path: string, options: OpenOptions): Promise<LogDevice> {
  await checkIdentity(env, path, options);
  for (const name of SUBFOLDERS) await env.disk.mkdir(`${path}/${name}`);
  // Once more: were the device wiped before its folders were made, a log would begin in nobody's folder.
  const identity = await checkIdentity(env, path, options);
  const limits: DeviceLimits = { ...DEFAULT_LIMITS, ...options.limits };
  let sink = await options.openRows(path, identity.incarnation);
  const start = (): Promise<LogDevice> => bringUp(env, path, identity, limits, sink, options);
  try {
    if (await isOlderThanLog(env, path, sink)) {
      env.log.error('device.rows-outdated', { path, applied: sink.applied() });
      sink.condemn();
      sink.close();
      sink = await options.openRows(path, identity.incarnation);
    }
    return await start().catch((error: unknown) => {
      condemnIndex(env, path, error);
      return start();
    });
  } catch (error) {
    sink.close();
    throw error;
  }
}

/**
 * Whether compaction has taken away segments behind what the rows have, which it does only when they have all of those
 * durably: they were put back from before that. What forgot rows may have gone with the segments, and
 * replay would count the rest anew under the numbers that peers know.
 */
async function isOlderThanLog(env: Env, path: string, sink: RowSink): Promise<boolean> {
  const applied = sink.applied();
  const files = new SegmentFiles(env.disk, `${path}/log`);
  await files.load();
  return applied !== undefined && !files.isWholeFrom(applied.segment);
}

/**
 * Replay met a row of the index that is damaged: the index goes, and is made again from the log. (A
 * start that only failed would fail in the same way for ever.) Any other error is thrown.
 */
function condemnIndex(env: Env, path: string, error: unknown): void {
  const marked = env.disk.statSync(`${path}/${REBUILD_MARK}`) !== undefined;
  if (marked || !isIndexDamage(error)) throw error;
  env.log.error('device.index-damaged', { path, error });
  env.disk.replaceSync(`${path}/${REBUILD_MARK}`, Buffer.from(`${messageOf(error)}\n`));
}

async function checkIdentity(
  env: Env,
  path: string,
  options: OpenOptions,
): Promise<StoredIdentity> {
  const mounted = await isMountPoint(env.disk, path);
  if (options.mountPoint === true && !mounted) {
    throw new OperatingError('device-unmounted', 'nothing is mounted on the folder', { path });
  }
  const identity = await readIdentity(env.disk, path);
  const { clusterId, deviceId } = identity;
  if (clusterId !== options.clusterId) {
    throw new OperatingError('device-other-cluster', 'the device belongs to another cluster', {
      path,
      clusterId,
    });
  }
  if (deviceId !== options.deviceId) {
    throw new OperatingError('device-other-id', 'the folder holds another device', {
      path,
      deviceId,
    });
  }
  if (identity.mountPoint && !mounted) {
    throw new OperatingError('device-unmounted', 'the folder was a mount point and is none', {
      path,
    });
  }
  await options.register?.check(identity.incarnation);
  return identity;
}

async function bringUp(
  env: Env,
  path: string,
  identity: StoredIdentity,
  limits: DeviceLimits,
  sink: RowSink,
  options: OpenOptions,
): Promise<LogDevice> {
  const files = new SegmentFiles(env.disk, `${path}/log`);
  await files.load();
  const run = env.random.bytes(6).toString('hex');
  const blobs = new BlobStore(env.disk, `${path}/blobs`, run);
  const quarantine = new Quarantine(env, `${path}/quarantine`);
  await quarantine.load();
  const reaper = new Reaper((folder) => env.disk.syncDirectory(folder));
  const hasher = new ContributionHasher(identity.clusterId);
  let device: LogDevice | undefined;
  const append: AppendPartition = (policy, extra) => device!.appendPartition(policy, extra);
  const completeness = new CompletenessMap(append, {
    now: () => options.clock.now(),
    genesis: identity.genesis,
    countsFromMs: env.clock.monotonicMs() + limits.learnMs,
    beforeCounting: async () => options.register?.note(identity.incarnation),
  });
  const versions = new PartitionMarks(append);
  const partitions = { completeness, versions };
  const opened = await openIndex(env, path, identity, limits, files, partitions);
  const { store } = opened;
  try {
    const hole = await HoleMark.load(env.disk, path);
    // Synced batches are gone, and the index that had done what they said.
    if (opened.logBehind) hole.note('forgotten');
    if (opened.anew !== undefined && (await hadHole(env, path, identity))) hole.note('forgotten');
    const owner = { device: identity.deviceId, incarnation: identity.incarnation };
    const replay = new RecordReplay({
      env,
      store,
      hasher,
      completeness,
      versions,
      // The sweep finds the blobs that nothing refers to any more.
      replaced: () => undefined,
    });
    const { lastBatch, anew } = opened;
    const isIndexLost = anew === 'lost';
    const logs = { env, files, owner, store, sink, replay, quarantine, lastBatch };
    const recovery = new Recovery({ ...logs, hole, isIndexLost });
    // Its flushes move the index's position past the records that say what is complete, so they must
    // save that too: a power failure may leave the index at exactly this flush. What was found lost is
    // not on record yet; a start from there must not believe in anything. Nor after a cut tail, until the
    // others were asked.
    store.onFlush = () => {
      const known = recovery.foundLoss
        ? completeness.exportNothing()
        : completeness.export(completeness.tailUnconfirmed || recovery.cutTail || opened.logBehind);
      saveMeta(store.index, partitions, known, recovery.lastBatch);
    };
    const report = await recovery.run();
    const writer = new LogWriter(env.disk, env.clock, files, owner, report.end);
    await writer.open();
    store.onFlush = () => {
      saveMeta(store.index, partitions, completeness.export(), writer.batch);
      store.index.setMeta('anew', null);
    };
    device = new LogDevice({
      env,
      path,
      identity,
      limits,
      clock: options.clock,
      files,
      blobs,
      store,
      hasher,
      writer,
      completeness,
      versions,
      quarantine,
      sink,
      reaper,
      opened: {
        tailCut: report.tailCut || opened.logBehind,
        rebuilt: opened.rebuilt,
        hasHole: hole.isThere,
        replayedRecords: report.records,
        damaged: report.lost.length + report.bodies.length,
      },
      onStatus: options.onStatus ?? (() => undefined),
      onDamage: options.onDamage ?? (() => undefined),
    });
    await settle(device, report, options);
    hole.settle();
    if (opened.anew !== undefined) await noteMade(store);
    if (opened.logBehind) await env.disk.unlink(`${path}/${REBUILD_MARK}`);
    await completeness.announce();
    await device.audit.load();
    const { rebuilt } = opened;
    await device.start({ quarantineOrphans: rebuilt && report.lost.length > 0, rebuilt });
    env.log.info('device.open', { device: identity.deviceId, path, ...device.opened });
    return device;
  } catch (error) {
    store.index.database.close();
    await files.close();
    throw error;
  }
}

/**
 * Records what replay has lost, before anything is answered. All of it is in force before the first record is
 * synced: the index moves past the damage with it, and a kill then must not leave it believing the rest.
 */
async function settle(
  device: LogDevice,
  report: RecoveryReport,
  options: OpenOptions,
): Promise<void> {
  const { completeness } = device;
  // Or an earlier start found it cut, and ended before that was on record.
  const tailCut = device.opened.tailCut || completeness.tailUnconfirmed;
  if (tailCut || report.lost.length > 0) device.versions.doubt();
  await Promise.all([
    tailCut ? completeness.cutTail() : undefined,
    ...report.lost.map((key) => completeness.lose(key)),
    report.lostRows ? completeness.loseRows() : undefined,
  ]);
  device.audit.suspect(report.suspects);
  for (const key of report.bodies) options.onDamage?.(key, 'replay met a damaged body');
  if (report.records > 0) await device.checkpoint();
}

/** Its segment may have been rewritten by an index that had forgotten what was to be forgotten. */
async function hadHole(env: Env, path: string, { incarnation }: StoredIdentity): Promise<boolean> {
  const place = await loadPlace(env.disk, `${path}/${AUDIT_PLACE}`, incarnation);
  return place !== undefined && place.forgetBelow > 0;
}

/** Durable: or after a power failure a bad last batch would be one that nobody has seen (Recovery, `#takeLast`). */
async function noteMade({ index, onFlush }: EntryStore): Promise<void> {
  index.database.transaction(onFlush);
  await index.database.checkpoint();
}

/** Text of the mark while a log that ends before its index did is not known by a record of it. */
const LOG_BEHIND = 'log-behind\n';

/** Why it is made anew from the log, by this start or by one that ended on its way: of another version, or not to be used. */
type Anew = 'format' | 'lost';

interface OpenedIndex {
  readonly store: EntryStore;
  readonly anew: Anew | undefined;
  readonly rebuilt: boolean;
  /** The index knew of a later end of the log than there is: synced batches are gone. */
  readonly logBehind: boolean;
  readonly lastBatch: number;
}

/** What the log says of ranges of the hash space. */
interface Partitions {
  readonly completeness: CompletenessMap;
  readonly versions: PartitionMarks;
}

async function openIndex(
  env: Env,
  path: string,
  identity: StoredIdentity,
  limits: DeviceLimits,
  files: SegmentFiles,
  partitions: Partitions,
): Promise<OpenedIndex> {
  const mark = `${path}/${REBUILD_MARK}`;
  const marked = (await env.disk.stat(mark)) !== undefined;
  let logBehind = marked && (await env.disk.read(mark)).toString() === LOG_BEHIND;
  let anew: Anew = 'lost';
  if (!marked) {
    const found = readIndex(env, path, identity, limits, files, partitions);
    if (typeof found === 'object') return found;
    logBehind = found === 'log-behind';
    if (found === 'other-format') anew = 'format';
    // Only the index could tell it, and it goes now.
    if (logBehind) env.disk.replaceSync(mark, Buffer.from(LOG_BEHIND));
  }
  for (const name of ['index.db', 'index.db-wal', 'index.db-shm']) {
    await env.disk.removeTree(`${path}/${name}`);
  }
  await env.disk.syncDirectory(path);
  const hadLog = files.numbers().length > 0;
  if (hadLog) env.log.warn('device.index-rebuild', { path, bytes: files.totalBytes() });
  const index = new IndexFile(openDatabase(env, path, limits));
  index.database.transaction(() => {
    index.setMeta('format', [INDEX_VERSION, identity.incarnation]);
    index.setPosition({ segment: 0, offset: 0 });
    index.setMeta('anew', anew);
  });
  if (marked && !logBehind) await env.disk.unlink(mark);
  const digests = new DigestStore(index.database);
  const store = new EntryStore(index, digests, { segment: 0, offset: 0 }, limits.cacheEntries);
  return { store, anew, rebuilt: hadLog, logBehind, lastBatch: 0 };
}

/** A word: why there is none that can be used. */
function readIndex(
  env: Env,
  path: string,
  identity: StoredIdentity,
  limits: DeviceLimits,
  files: SegmentFiles,
  { completeness, versions }: Partitions,
): OpenedIndex | 'unusable' | 'other-format' | 'log-behind' {
  let database: Database | undefined;
  try {
    database = openDatabase(env, path, limits);
    if (!hasIndexTables(database)) {
      const version = indexVersion(database);
      database.close();
      return version === undefined || version === INDEX_VERSION ? 'unusable' : 'other-format';
    }
    const index = new IndexFile(database);
    const [version, incarnation] = (index.meta('format') ?? []) as [number?, string?];
    const position = index.position();
    const isOther = version !== INDEX_VERSION;
    if (isOther || incarnation !== identity.incarnation || position === undefined) {
      database.close();
      return isOther && version !== undefined ? 'other-format' : 'unusable';
    }
    if (!reaches(files, position)) {
      env.log.error('device.log-behind-index', { path, ...position });
      database.close();
      return 'log-behind';
    }
    // As of rows: put back from before a compaction, it has what was forgotten since.
    if (!files.isWholeFrom(position.segment)) {
      env.log.error('device.index-outdated', { path, ...position });
      database.close();
      return 'unusable';
    }
    const digests = new DigestStore(database);
    digests.load();
    const store = new EntryStore(index, digests, position, limits.cacheEntries);
    completeness.import(index.meta('completeness'));
    completeness.importFloors(index.meta('floors'));
    versions.import(index.meta('versions'));
    const anew = (index.meta('anew') ?? undefined) as Anew | undefined;
    const lastBatch = Number(index.meta('batch') ?? 0);
    return { store, anew, rebuilt: anew !== undefined, logBehind: false, lastBatch };
  } catch (error) {
    if (!isIndexDamage(error)) throw error;
    env.log.error('device.index-damaged', { path, error: messageOf(error) });
    database?.close();
    return 'unusable';
  }
}

function openDatabase(env: Env, path: string, limits: DeviceLimits): Database {
  return env.disk.openDatabase(`${path}/index.db`, { cacheKiB: limits.indexCacheKiB });
}

/** The log goes at least as far as the index says. */
function reaches(files: SegmentFiles, position: LogPosition): boolean {
  const last = files.numbers().at(-1);
  if (last === undefined) return position.segment === 0;
  return !isBefore({ segment: last, offset: files.size(last) }, position);
}

function saveMeta(
  index: IndexFile,
  { completeness, versions }: Partitions,
  known: unknown,
  batch: number,
): void {
  index.setMeta('completeness', known);
  index.setMeta('floors', completeness.exportFloors());
  index.setMeta('versions', versions.export());
  index.setMeta('batch', batch);
}
