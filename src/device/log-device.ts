/**
 * The device: puts log, index, blobs and the rest together behind the interface of contract.ts.
 *
 * Everything that changes it goes through the committer; everything that is answered was synced before.
 */
import { newestTimestamp, sameBody } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import { makeTimestamp, type Timestamp } from '#base/timestamp.ts';
import type { Env } from '#env/env.ts';
import { checkBody, observeState, statusesFor } from './admission.ts';
import { DeviceAudit } from './audit.ts';
import type { BlobStore } from './blob-store.ts';
import { BodyReader } from './body-reader.ts';
import { Commits } from './commits.ts';
import { Committer, MAX_WAITING, type Operation } from './committer.ts';
import { Compactor } from './compactor.ts';
import type { CompletenessMap } from './completeness.ts';
import type * as contract from './contract.ts';
import type { ContributionHasher } from './contribution.ts';
import { DamageControl } from './damage-control.ts';
import { BUCKETS } from './digest-table.ts';
import { isCertain } from './entry-change.ts';
import type { EntryStore } from './entry-store.ts';
import { floorsOver } from './floors.ts';
import { Health } from './health.ts';
import { HOLE_MARK } from './hole-mark.ts';
import type { StoredIdentity } from './identity.ts';
import type { DeviceLimits } from './limits.ts';
import type { LogWriter } from './log-writer.ts';
import * as operations from './operations.ts';
import type { PartitionMarks } from './partition-marks.ts';
import type { Quarantine } from './quarantine.ts';
import type { Reaper } from './reaper.ts';
import type { PartitionExtra } from './record-extra.ts';
import { ForgetAgainOperation } from './relocate.ts';
import type { SegmentFiles } from './segment-files.ts';
import { BLOBS } from './segment-statistics.ts';
import type { Stage } from './stage.ts';
import { Stages } from './stages.ts';
import { StoredEntry } from './stored-entry.ts';
import { type SweepOptions, Upkeep } from './upkeep.ts';

/** What opening found; kept for whoever wants to know how the device came up. */
export interface OpenReport {
  /** A bad last batch was cut off: nothing is complete until `completeness.confirmTail()`. */
  readonly tailCut: boolean;
  readonly rebuilt: boolean;
  /** What a hole in the log has forgotten index or rows may know: not to be served from before `fillHole()`. */
  readonly hasHole: boolean;
  readonly replayedRecords: number;
  /** Damaged places that replay met. */
  readonly damaged: number;
}

export interface DeviceParts {
  readonly env: Env;
  readonly path: string;
  readonly identity: StoredIdentity;
  readonly limits: DeviceLimits;
  readonly clock: HybridClock;
  readonly files: SegmentFiles;
  readonly blobs: BlobStore;
  readonly store: EntryStore;
  readonly hasher: ContributionHasher;
  readonly writer: LogWriter;
  readonly completeness: CompletenessMap;
  readonly versions: PartitionMarks;
  readonly quarantine: Quarantine;
  readonly sink: contract.RowSink;
  readonly reaper: Reaper;
  readonly opened: OpenReport;
  readonly onStatus: (status: contract.DeviceStatus, reason: string) => void;
  readonly onDamage: (key: contract.EntryKey | undefined, what: string) => void;
}

/** Ballots older than this are forgotten: no round lives that long. */
const PROMISE_MICROS = 3600e6;
/** At once. */
const MAX_FORGOTTEN = 1000;
/** Entries that one scan answers at most. */
const MAX_SCAN = 10_000;
/** The auditor reads every page once. */
const AUDIT_CACHE_KIB = 256;

export class LogDevice implements contract.Device {
  readonly opened: OpenReport;
  readonly audit: DeviceAudit;
  readonly rowLog: contract.RowLog = {
    append: (row) => this.#appendRow(row),
    apply: () => this.#upkeep.applyRows(),
  };
  readonly #parts: DeviceParts;
  readonly #health: Health;
  readonly #damage: DamageControl;
  readonly #commits: Commits;
  readonly #committer: Committer;
  readonly #upkeep: Upkeep;
  readonly #stages: Stages;
  readonly #reader: BodyReader;
  readonly #compactor: Compactor;
  #compacting: Promise<boolean> | undefined;
  #closed = false;

  constructor(parts: DeviceParts) {
    const { env, identity, limits, writer } = parts;
    const owner = { device: identity.deviceId, incarnation: identity.incarnation };
    this.#parts = parts;
    this.opened = parts.opened;
    const health = new Health(env.log, parts.onStatus);
    const damage = new DamageControl({ ...parts, health });
    const upkeep = (): Upkeep => this.#upkeep;
    const commits = new Commits({ ...parts, disk: env.disk, health, damage, upkeep });
    const committer = new Committer(writer, commits, env.clock, limits.segmentBytes);
    this.#health = health;
    this.#damage = damage;
    this.#commits = commits;
    this.#committer = committer;
    this.#upkeep = new Upkeep({
      ...parts,
      health,
      damage,
      inPlace: () => commits.inPlace(),
      applyRows: () => commits.applyRows(),
    });
    this.#stages = new Stages(parts.blobs, owner, limits, health);
    const damaged = damage.body.bind(damage);
    this.#reader = new BodyReader(parts.files, parts.blobs, damaged);
    const flush = (): void => this.#upkeep.flush();
    const append = this.#append.bind(this);
    const rotate = (): void => committer.rotate();
    const host = commits;
    const unexplained = (segment: number): Promise<void> => this.audit.unexplained(segment);
    const unreadable = damage.unreadable.bind(damage);
    const own = { host, owner, append, rotate, flush, damaged, unexplained, unreadable };
    this.#compactor = new Compactor({ ...parts, ...own });
    this.audit = new DeviceAudit({
      ...parts,
      incarnation: identity.incarnation,
      suspects: this.#compactor.suspects,
      log: {
        ...parts,
        owner,
        unreadable,
        forgetAgain: (header) => append(new ForgetAgainOperation(host, header, undefined)),
      },
      blobs: {
        ...parts,
        isStaged: (name) => this.#stages.holds(name),
        condemn: (name) => this.#upkeep.condemn(name, parts.store.position),
      },
      index: {
        ...parts,
        flush,
        isThere: async () => (await env.disk.stat(`${parts.path}/index.db`)) !== undefined,
        look: () => {
          const options = { readOnly: true, cacheKiB: AUDIT_CACHE_KIB };
          return env.disk.openDatabase(`${parts.path}/index.db`, options);
        },
      },
      damaged: (entry, what, cause) => void damaged(entry, what, cause),
      indexDamaged: (error) => damage.index(error),
      inPlace: () => commits.inPlace(),
      mend: () => this.compactStep(),
    });
  }

  get id(): number {
    return this.#parts.identity.deviceId;
  }
  get name(): string {
    return this.#parts.identity.name;
  }
  get path(): string {
    return this.#parts.path;
  }
  get incarnation(): string {
    return this.#parts.identity.incarnation;
  }
  /** It was there when the cluster was made: complete from the start, for the first rings. */
  get genesis(): boolean {
    return this.#parts.identity.genesis;
  }
  get status(): contract.DeviceStatus {
    return this.#health.status;
  }

  /** Why the status is what it is. */
  get statusReason(): string {
    return this.#health.reason;
  }

  /** Out of service for a reason that ends when it is closed and opened again. */
  get curable(): boolean {
    return this.#health.curable;
  }

  get digests(): contract.Digests {
    return this.#parts.store.digests;
  }
  get completeness(): CompletenessMap {
    return this.#parts.completeness;
  }
  get versions(): PartitionMarks {
    return this.#parts.versions;
  }

  get quarantined(): contract.Quarantined {
    return this.#parts.quarantine;
  }

  /** Starts what runs by itself; `openDevice` calls it. */
  start(sweep: SweepOptions): Promise<void> {
    const { files, sink } = this.#parts;
    // A segment may have gone right before the end of the last process.
    for (const [after, before] of files.gaps()) sink.noSegments(after, before);
    return this.#upkeep.start(sweep);
  }

  stat(key: contract.EntryKey): StoredEntry | undefined {
    this.#expectReadable();
    return this.#damage.looking(() => this.#parts.store.get(key));
  }

  write(request: contract.WriteRequest): Promise<contract.WriteOutcome> {
    try {
      this.#admit(statusesFor(request.state, request.body !== undefined));
      observeState(this.#parts.clock, request.state);
      checkBody(request);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#append(new operations.WriteOperation(this.#commits, request));
  }

  async stage(key: contract.EntryKey): Promise<Stage> {
    this.#expectStatus(['ok']);
    return this.#stages.begin(key);
  }

  async *read(entry: contract.Entry, range: contract.ByteRange): AsyncGenerator<Buffer> {
    this.#expectReadable();
    yield* this.#reader.read(this.#exactly(entry), range);
  }

  readSmall(entry: contract.Entry): Buffer | undefined {
    this.#expectReadable();
    return this.#reader.readSmall(this.#exactly(entry));
  }

  markListed(key: contract.EntryKey, newest: Timestamp): void {
    if (!this.#health.writable || this.#closed) return;
    const { store } = this.#parts;
    const entry = this.#damage.looking(() => store.get(key));
    if (entry === undefined || !entry.unlisted) return;
    if (newestTimestamp(entry.state) !== newest) return;
    store.remark(key, entry.with({ unlistedSinceMs: 0 }));
    this.#upkeep.flushSoon();
  }

  unlisted(limit: number, olderThanMs: number, skip = 0): StoredEntry[] {
    const nowMs = Math.floor(this.#parts.env.clock.wallMicros() / 1000);
    const upToMs = nowMs - olderThanMs;
    return this.#scan((index) => index.unlisted(upToMs, nowMs, Math.min(limit, MAX_SCAN), skip));
  }

  entries(policy: number, from: Buffer, to: Buffer | undefined, limit: number): StoredEntry[] {
    return this.#scan((index) => index.range(policy, from, to, Math.min(limit, MAX_SCAN)));
  }

  expiring(nowSeconds: number, limit: number, skip = 0): StoredEntry[] {
    return this.#scan((index) => index.expiring(nowSeconds, Math.min(limit, MAX_SCAN), skip));
  }

  async promise(
    key: contract.EntryKey,
    path: string,
    ballot: Timestamp,
  ): Promise<contract.PromiseOutcome> {
    this.#admit(['ok']);
    this.#parts.clock.observe(ballot);
    const own = operations.copyKey(key);
    return this.#append(new operations.PromiseOperation(this.#commits, own, path, ballot));
  }

  isCertain(key: contract.EntryKey): boolean {
    return isCertain(this.stat(key)?.state, this.#commits.promised(key));
  }

  /** Forgets promises of an hour ago and more; false: there were none. Floors stand for them from then on. */
  async #forgetPromises(): Promise<boolean> {
    const { store, clock, completeness } = this.#parts;
    // Nothing is issued: an idle clock has nothing to reserve, so nothing to sync.
    const before = makeTimestamp(Math.max(0, clock.peekMicros() - PROMISE_MICROS), 0);
    const old = store.promises.older(before, MAX_FORGOTTEN);
    if (old.length === 0) return false;
    for (const [policy, floors] of floorsOver(old)) await completeness.raiseFloors(policy, floors);
    await this.#append(new operations.ForgetPromisesOperation(this.#commits, old));
    return true;
  }

  /**
   * Drops a handoff's or former primary's copy, if the entry is still in exactly this state and its row
   * is acknowledged. False: it is not, and nothing was done.
   */
  async forget(entry: contract.Entry): Promise<boolean> {
    this.#admit(['ok', 'full']);
    return this.#append(new operations.ForgetOperation(this.#commits, this.#exactly(entry)));
  }

  /** The same of what nobody else knows, whatever its row: it was forgotten before (repair/recall.ts). */
  async disown(entry: contract.Entry): Promise<boolean> {
    this.#admit(['ok', 'full']);
    const exact = this.#exactly(entry);
    return this.#append(new operations.ForgetOperation(this.#commits, exact, 'listed or not'));
  }

  /**
   * Durable when it resolves: peers were asked what a hole in the log had forgotten.
   * @throws OperatingError `device-failed`: closed meanwhile; the mark may be that of who was opened in its place
   */
  async fillHole(): Promise<void> {
    this.#expectStatus(['ok', 'full']);
    const { env, path } = this.#parts;
    await env.disk.unlink(`${path}/${HOLE_MARK}`);
    await env.disk.syncDirectory(path);
  }

  /** For `completeness`: syncs a partition record. */
  async appendPartition(policy: number, extra: PartitionExtra): Promise<void> {
    this.#expectStatus(['ok', 'full']);
    await this.#append(new operations.PartitionOperation(policy, extra));
  }

  facts(): contract.DeviceFacts {
    const { files, store, quarantine, writer } = this.#parts;
    const total = (policy: number): number =>
      store.digests.summarise(policy, 0, BUCKETS, 1)[0]!.total;
    return {
      ...this.#upkeep.space,
      entries: store.digests.policies().reduce((sum, policy) => sum + total(policy), 0),
      liveBytes: store.statistics.liveBytes(),
      logBytes: files.totalBytes(),
      blobBytes: store.statistics.get(BLOBS).live,
      unlisted: store.unlistedEntries,
      quarantined: quarantine.count,
      commits: this.#committer.commits,
      syncs: writer.syncs + this.#stages.syncs,
    };
  }

  compactStep(): Promise<boolean> {
    this.#compacting ??= this.#compactNow().finally(() => {
      this.#compacting = undefined;
    });
    return this.#compacting;
  }

  /** Makes the index durable, then removes what is not needed from there on. */
  checkpoint(): Promise<void> {
    return this.#upkeep.checkpoint();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#compacting?.catch(() => undefined); // its caller has the error
    await this.#committer.idle();
    await this.#upkeep.stop();
    await this.#stages.abandonAll();
    await this.#damage.idle();
    if (this.#health.writable) await this.audit.close();
    try {
      if (this.#health.writable && this.#upkeep.hasAllRows()) await this.#shutDown();
    } catch (error) {
      this.#parts.env.log.warn('device.unclean-close', { error });
    }
    this.#parts.sink.close();
    this.#parts.store.index.database.close();
    await this.#parts.blobs.close();
    await this.#parts.files.close();
  }

  async #compactNow(): Promise<boolean> {
    if (!this.#health.writable || this.#closed) return false;
    const worked = (await this.#forgetPromises()) || (await this.#compactor.step());
    if (this.#parts.reaper.waiting > 0 && !worked) await this.checkpoint();
    return worked;
  }

  async #shutDown(): Promise<void> {
    const { writer, store, sink } = this.#parts;
    const position = await writer.commit(writer.builder(), true);
    store.commit(position, () => undefined);
    store.flush();
    store.index.database.transaction(() => store.digests.persistAll());
    sink.apply([], position);
    await store.index.database.checkpoint();
    await sink.checkpoint();
  }

  async #appendRow(row: contract.RowRecord): Promise<void> {
    const isForget = row.forgets !== undefined;
    this.#admit(isForget ? ['ok', 'full'] : statusesFor(row.state, false));
    await this.#append(new operations.RowOperation(this.#commits, row));
  }

  #append<Result>(operation: Operation & { readonly answer: Promise<Result> }): Promise<Result> {
    this.#committer.add(operation);
    return operation.answer;
  }

  #admit(statuses: readonly contract.DeviceStatus[]): void {
    this.#expectStatus(statuses);
    if (this.#committer.waiting < MAX_WAITING) return;
    throw new OperatingError('overloaded', 'too much waits for the device');
  }

  #expectStatus(allowed: readonly contract.DeviceStatus[]): void {
    if (this.#closed) throw closed();
    if (!allowed.includes(this.status)) throw this.#health.error();
  }

  #expectReadable(): void {
    if (this.#closed) throw closed();
    if (!this.#health.readable) throw this.#health.error();
  }

  /** The entry as this device holds it, at exactly the version that the caller has seen. */
  #exactly(entry: contract.Entry): StoredEntry {
    if (entry instanceof StoredEntry) return entry;
    const current = this.#damage.looking(() => this.#parts.store.get(entry.key));
    if (current !== undefined && sameBody(current.state, entry.state)) return current;
    throw new OperatingError('gone', 'this version is not here any more', { path: entry.path });
  }

  #scan(query: (index: EntryStore['index']) => StoredEntry[]): StoredEntry[] {
    this.#expectReadable();
    this.#upkeep.flush();
    return this.#damage.looking(() => query(this.#parts.store.index));
  }
}

function closed(): OperatingError {
  return new OperatingError('device-failed', 'the device is closed');
}
