/**
 * The device: puts log, index, blobs and the rest together behind the interface of contract.ts.
 *
 * Everything that changes it goes through the committer; everything that is answered was synced before.
 */

import { newestTimestamp } from '#base/entry.ts';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Env, Timer } from '#env/env.ts';
import type { BlobStore } from './blob-store.ts';
import { BodyReader, gone } from './body-reader.ts';
import { type CommitHost, Committer, MAX_WAITING, type Operation } from './committer.ts';
import { Compactor } from './compactor.ts';
import type { CompletenessMap } from './completeness.ts';
import type * as contract from './contract.ts';
import type { ContributionHasher } from './contribution.ts';
import { BUCKETS } from './digest-table.ts';
import { type EntryStore, MAX_OVERLAY } from './entry-store.ts';
import { damaged, statusOf } from './errors.ts';
import type { LogOwner } from './format.ts';
import { Health } from './health.ts';
import { identityPath, type StoredIdentity } from './identity.ts';
import { isIndexDamage } from './index-file.ts';
import type { DeviceLimits } from './limits.ts';
import { defaultReserve } from './limits.ts';
import type { LogWriter } from './log-writer.ts';
import * as operations from './operations.ts';
import type { Quarantine } from './quarantine.ts';
import type { Reaper } from './reaper.ts';
import type { SegmentFiles } from './segment-files.ts';
import { BLOBS } from './segment-statistics.ts';
import { Stage, type StageHost } from './stage.ts';
import { StoredEntry, sameVersion } from './stored-entry.ts';

/** What opening found; kept for whoever wants to know how the device came up. */
export interface OpenReport {
  /** A bad last batch was cut off: nothing is complete until `completeness.confirmTail()`. */
  readonly tailCut: boolean;
  readonly rebuilt: boolean;
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
  readonly quarantine: Quarantine;
  readonly sink: contract.RowSink;
  readonly reaper: Reaper;
  readonly opened: OpenReport;
  readonly onStatus: (status: contract.DeviceStatus, reason: string) => void;
  readonly onDamage: (key: contract.EntryKey | undefined, what: string) => void;
}

const MAX_SCAN = 10_000;
/** Index rows written since the last checkpoint that make the next one due. */
const CHECKPOINT_ENTRIES = 16_384;

export class LogDevice implements contract.Device, CommitHost, operations.OperationHost, StageHost {
  readonly opened: OpenReport;
  readonly owner: LogOwner;
  readonly inlineLimit: number;
  readonly rowLog: contract.RowLog;
  readonly #parts: DeviceParts;
  readonly #health: Health;
  readonly #committer: Committer;
  readonly #reader: BodyReader;
  readonly #compactor: Compactor;
  readonly #stages = new Set<Stage>();
  #stageMemory = 0;
  /** Rows of the group under way, and those that the row store could not take yet. */
  #rows: { row: contract.RowRecord; position: contract.LogPosition }[] = [];
  #timer: Timer | undefined;
  #flushTimer: Timer | undefined;
  #identity: string | undefined;
  #space = { totalBytes: 0, freeBytes: 0 };
  #lastCheckpointMs = 0;
  #checkpointing: Promise<void> | undefined;
  #compacting: Promise<boolean> | undefined;
  #flushedEntries = 0;
  #blobSyncs = 0;
  #closed = false;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    this.opened = parts.opened;
    this.owner = { device: parts.identity.deviceId, incarnation: parts.identity.incarnation };
    this.inlineLimit = parts.limits.inlineLimit;
    this.#health = new Health(parts.env.log, parts.onStatus);
    this.#committer = new Committer(parts.writer, this, parts.env.clock, parts.limits.segmentBytes);
    this.#reader = new BodyReader(parts.files, parts.blobs, (entry, what, cause) =>
      this.#bodyDamaged(entry, what, cause),
    );
    this.rowLog = { append: (row) => this.#appendRow(row) };
    this.#compactor = new Compactor({
      ...parts,
      host: this,
      owner: this.owner,
      append: (operation) => this.#append(operation),
      flush: () => this.#flush(),
      damaged: (entry, what, cause) => this.#bodyDamaged(entry, what, cause),
    });
    this.#identity = parts.env.disk.statSync(identityPath(parts.path))?.identity;
    this.#lastCheckpointMs = parts.env.clock.monotonicMs();
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
  get genesis(): boolean {
    return this.#parts.identity.genesis;
  }
  get status(): contract.DeviceStatus {
    return this.#health.status;
  }
  get store(): EntryStore {
    return this.#parts.store;
  }
  get hasher(): ContributionHasher {
    return this.#parts.hasher;
  }
  get blobs(): BlobStore {
    return this.#parts.blobs;
  }
  get digests(): contract.Digests {
    return this.#parts.store.digests;
  }
  get completeness(): CompletenessMap {
    return this.#parts.completeness;
  }

  /** Starts what runs by itself: the watch over folder and space, checkpoints, the sweep of orphans. */
  async start(quarantineOrphans: boolean): Promise<void> {
    await this.#watchSpace();
    this.#tick();
    this.#sweep(quarantineOrphans).catch((error: unknown) => {
      this.#parts.env.log.warn('device.sweep-failed', { error });
    });
  }

  stat(key: contract.EntryKey): StoredEntry | undefined {
    if (!this.#health.readable || this.#closed) throw this.#health.error();
    return this.#looking(() => this.store.get(key));
  }

  write(request: contract.WriteRequest): Promise<contract.WriteOutcome> {
    try {
      this.#admit(request);
    } catch (error) {
      return Promise.reject(error);
    }
    const operation = new operations.WriteOperation(this, request);
    this.#committer.add(operation);
    return operation.answer;
  }

  async stage(key: contract.EntryKey): Promise<Stage> {
    if (this.status !== 'ok') throw this.#health.error();
    if (this.#stages.size >= this.#parts.limits.maxStages) {
      throw new OperatingError('overloaded', 'too many bodies are being staged');
    }
    const stage = new Stage(operations.copyKey(key), this);
    this.#stages.add(stage);
    return stage;
  }

  async *read(entry: contract.Entry, range: contract.ByteRange): AsyncGenerator<Buffer> {
    if (!this.#health.readable) throw this.#health.error();
    yield* this.#reader.read(this.#exactly(entry), range);
  }

  readSmall(entry: contract.Entry): Buffer | undefined {
    if (!this.#health.readable) throw this.#health.error();
    return this.#reader.readSmall(this.#exactly(entry));
  }

  markListed(key: contract.EntryKey, newest: Timestamp): void {
    if (!this.#health.writable) return;
    const entry = this.#looking(() => this.store.get(key));
    if (entry === undefined || !entry.unlisted) return;
    if (newestTimestamp(entry.state) !== newest) return;
    this.store.remark(key, entry.with({ unlistedSinceMs: 0 }));
    this.#flushSoon();
  }

  unlisted(limit: number, olderThanMs: number): StoredEntry[] {
    const upToMs = this.#wallMs() - olderThanMs;
    return this.#scan(() => this.store.index.unlisted(upToMs, Math.min(limit, MAX_SCAN)));
  }

  entries(policy: number, from: Buffer, to: Buffer | undefined, limit: number): StoredEntry[] {
    return this.#scan(() => this.store.index.range(policy, from, to, Math.min(limit, MAX_SCAN)));
  }

  expiring(nowSeconds: number, limit: number): StoredEntry[] {
    return this.#scan(() => this.store.index.expiring(nowSeconds, Math.min(limit, MAX_SCAN)));
  }

  /** Conditional rounds: syncs a promise, or refuses with the higher number. */
  async promise(
    key: contract.EntryKey,
    path: string,
    ballot: Timestamp,
  ): Promise<operations.PromiseOutcome> {
    this.#expectStatus(['ok']);
    this.#parts.clock.observe(ballot);
    return this.#append(
      new operations.PromiseOperation(this, operations.copyKey(key), path, ballot),
    );
  }

  /**
   * Drops a handoff's or former primary's copy, if the entry is still in exactly this state and its row
   * is acknowledged. False: it is not, and nothing was done.
   */
  async forget(entry: contract.Entry): Promise<boolean> {
    this.#expectStatus(['ok', 'full']);
    return this.#append(new operations.ForgetOperation(this, this.#exactly(entry)));
  }

  /** Tombstones that this device stored before then may be dropped by compaction (Reclaim). */
  setReclaimBefore(policy: number, storedBeforeMs: number): void {
    this.#compactor.reclaimBefore.set(policy, storedBeforeMs);
  }

  appendPartition(policy: number, extra: Parameters<CompletenessMap['replay']>[1]): Promise<void> {
    this.#expectStatus(['ok', 'full']);
    return this.#append(new operations.PartitionOperation(policy, extra));
  }

  facts(): contract.DeviceFacts {
    const { files, store, quarantine, writer } = this.#parts;
    const policies = store.digests.policies();
    const total = (policy: number): number =>
      this.digests.summarise(policy, 0, BUCKETS, 1)[0]!.total;
    return {
      ...this.#space,
      entries: policies.reduce((sum, policy) => sum + total(policy), 0),
      liveBytes: store.statistics.liveBytes(),
      logBytes: files.totalBytes(),
      blobBytes: store.statistics.get(BLOBS).live,
      unlisted: store.unlistedEntries,
      quarantined: quarantine.count,
      commits: this.#committer.commits,
      syncs: writer.syncs + this.#blobSyncs,
    };
  }

  compactStep(): Promise<boolean> {
    this.#compacting ??= this.#compactNow().finally(() => {
      this.#compacting = undefined;
    });
    return this.#compacting;
  }

  async #compactNow(): Promise<boolean> {
    if (!this.#health.writable || this.#closed) return false;
    const worked = await this.#compactor.step();
    if (this.#parts.reaper.waiting > 0 && !worked) await this.checkpoint();
    return worked;
  }

  /** Makes the index durable, then removes what is not needed from there on. */
  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpointNow().finally(() => {
      this.#checkpointing = undefined;
    });
    return this.#checkpointing;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#flushTimer?.cancel();
    await this.#compacting?.catch(() => undefined); // its caller has the error
    await this.#committer.idle();
    await this.#checkpointing?.catch(() => undefined); // logged where it was started
    for (const stage of [...this.#stages]) await stage.abandon();
    try {
      if (this.#health.writable) await this.#shutDown();
    } catch (error) {
      this.#parts.env.log.warn('device.unclean-close', { error });
    }
    this.#parts.sink.close();
    this.store.index.database.close();
    await this.#parts.blobs.close();
    await this.#parts.files.close();
  }

  // ---- for the committer ----

  refuses(): Error | undefined {
    return this.#health.writable ? undefined : this.#health.error();
  }

  committed(position: contract.LogPosition): void {
    const { store, sink } = this.#parts;
    store.commit(position, (before, after) => this.condemn(before, after, position));
    if (this.#rows.length > 0) {
      sink.apply(this.#rows, position);
      this.#rows = [];
    }
    if (store.waiting >= MAX_OVERLAY) this.#flush();
    else this.#flushSoon();
  }

  rolledBack(): void {
    this.store.rollBack();
  }

  inPlace(): boolean {
    const { env, path, writer } = this.#parts;
    const identity = env.disk.statSync(identityPath(path))?.identity;
    return identity !== undefined && identity === this.#identity && writer.isInPlace();
  }

  refused(error: unknown): unknown {
    return isIndexDamage(error) ? this.#indexDamaged(error) : error;
  }

  broken(error: unknown): Error {
    if (isIndexDamage(error)) return this.#indexDamaged(error);
    return this.#health.take(error);
  }

  addRow(
    row: contract.RowRecord,
    place: { segment: number; offset: number; length: number },
  ): void {
    this.#rows.push({ row, position: { segment: place.segment, offset: place.offset } });
    this.store.statistics.addRows(place.segment, place.length);
  }

  // ---- for stages ----

  takeMemory(bytes: number): boolean {
    if (bytes > 0 && this.#stageMemory + bytes > this.#parts.limits.stageMemory) return false;
    this.#stageMemory += bytes;
    return true;
  }

  failed(error: unknown): Error {
    return this.#health.take(error);
  }

  ended(stage: Stage): void {
    this.#stages.delete(stage);
  }

  countSync(): void {
    this.#blobSyncs++;
  }

  /** A blob that the newest entry does not refer to any more. */
  condemn(before: StoredEntry, after: StoredEntry | undefined, from: contract.LogPosition): void {
    const { body } = before;
    if (body?.kind !== 'blob') return;
    if (after?.body?.kind === 'blob' && after.body.name === body.name) return;
    this.#condemnBlob(body.name, from);
  }

  #condemnBlob(name: string, from: contract.LogPosition): void {
    const { blobs, reaper } = this.#parts;
    reaper.add({
      from,
      folder: blobs.folderOf(name),
      busy: () => blobs.busy(name),
      unlink: () => blobs.unlink(name),
    });
  }

  #admit(request: contract.WriteRequest): void {
    const { data } = request.state;
    // A full disk must be able to delete.
    const deletes = data?.kind === 'deleted' && request.body === undefined;
    this.#expectStatus(deletes ? ['ok', 'full'] : ['ok']);
    if (this.#committer.waiting >= MAX_WAITING) {
      throw new OperatingError('overloaded', 'too many writes wait for the device');
    }
    this.#parts.clock.observe(newestTimestamp(request.state));
    if (data?.expiredSource !== undefined) this.#parts.clock.observe(data.expiredSource);
    if (request.body !== undefined) checkBody(request);
  }

  #expectStatus(allowed: readonly contract.DeviceStatus[]): void {
    if (this.#closed) throw new OperatingError('device-failed', 'the device is closed');
    if (!allowed.includes(this.status)) throw this.#health.error();
  }

  async #appendRow(row: contract.RowRecord): Promise<void> {
    this.#expectStatus(['ok']);
    if (this.#committer.waiting >= MAX_WAITING) {
      throw new OperatingError('overloaded', 'too many rows wait for the device');
    }
    const oldest = this.#parts.files.oldest() ?? 0;
    return this.#append(new operations.RowOperation(this, row, oldest));
  }

  #append<Result>(operation: Operation & { readonly answer: Promise<Result> }): Promise<Result> {
    this.#committer.add(operation);
    return operation.answer;
  }

  /** The entry as this device holds it, at exactly the version that the caller has seen. */
  #exactly(entry: contract.Entry): StoredEntry {
    if (entry instanceof StoredEntry) return entry;
    const current = this.#looking(() => this.store.get(entry.key));
    if (current !== undefined && sameVersion(current.state, entry.state)) return current;
    throw new OperatingError('gone', 'this version is not here any more', { path: entry.path });
  }

  #looking<Result>(look: () => Result): Result {
    try {
      return look();
    } catch (error) {
      throw isIndexDamage(error) ? this.#indexDamaged(error) : error;
    }
  }

  #scan(query: () => StoredEntry[]): StoredEntry[] {
    if (!this.#health.readable || this.#closed) throw this.#health.error();
    this.#flush();
    return this.#looking(query);
  }

  /**
   * A damaged index is rebuilt from the log by the next start; until then nothing it says can be
   * believed, not even that a key is unknown.
   */
  #indexDamaged(error: unknown): Error {
    const { env, path } = this.#parts;
    const cause = this.#health.readable ? error : undefined;
    this.#health.worsen('failed', 'index-damaged');
    if (cause !== undefined) {
      env.log.error('device.index-damaged', { error: cause });
      try {
        env.disk.replaceSync(`${path}/index.rebuild`, Buffer.from(`${messageOf(error)}\n`));
      } catch (second) {
        env.log.error('device.index-mark-failed', { error: second });
      }
      this.#parts.onDamage(undefined, 'index');
    }
    return this.#health.error();
  }

  #bodyDamaged(entry: StoredEntry, what: string, cause: unknown): Error {
    const { body, key, path } = entry;
    const current = this.store.get(key);
    const isCurrent =
      body !== undefined && current?.body !== undefined && sameBody(current.body, body);
    if (!isCurrent) return gone(entry);
    const ioError = cause !== undefined && codeOf(cause) !== 'damaged';
    if (ioError) this.#health.readFailed(cause);
    this.store.remark(key, current.with({ body: undefined }));
    this.#flushSoon();
    this.#isolate(entry, what).catch((error: unknown) => {
      this.#parts.env.log.warn('device.quarantine-failed', { error });
    });
    this.#parts.onDamage(key, what);
    return damaged(what, { path }, cause);
  }

  async #isolate(entry: StoredEntry, what: string): Promise<void> {
    const { quarantine, blobs, files } = this.#parts;
    const { body, key, path } = entry;
    const note = { what, policy: key.policy, hash: key.hash.toString('hex'), path };
    if (body?.kind === 'blob') {
      const from = blobs.path(body.name);
      await blobs.forget(body.name);
      return quarantine.move(from, body.name, { ...note, from, length: body.length });
    }
    if (body === undefined) return;
    const { segment, offset, length } = body.record;
    const { file, release } = await files.retain(segment);
    const bytes = await file
      .read(offset, length)
      .catch(() => Buffer.alloc(0)) // unreadable: the note is what can be kept
      .finally(release);
    const from = files.path(segment);
    await quarantine.keep(`${segment}-${offset}.record`, bytes, {
      ...note,
      from,
      segment,
      offset,
      length,
    });
  }

  #flushSoon(): void {
    this.#flushTimer ??= this.#parts.env.clock.setTimer(this.#parts.limits.flushMs, () => {
      this.#flushTimer = undefined;
      try {
        if (!this.#closed) this.#flush();
      } catch (error) {
        // The status says it already, to every caller that comes.
        this.#parts.env.log.error('device.flush-failed', { error });
      }
    });
  }

  #flush(): void {
    const waiting = this.store.waiting;
    try {
      this.store.flush();
      this.#flushedEntries += waiting;
    } catch (error) {
      if (isIndexDamage(error)) throw this.#indexDamaged(error);
      this.#health.take(error);
      if (statusOf(error) !== 'full') throw this.#health.error();
    }
  }

  async #checkpointNow(): Promise<void> {
    const { store, sink, reaper } = this.#parts;
    this.#flushedEntries = 0;
    this.#lastCheckpointMs = this.#parts.env.clock.monotonicMs();
    this.#flush();
    if (this.#rows.length === 0) sink.apply([], store.position);
    const position = store.applied;
    const complete = await store.index.database.checkpoint();
    if (!complete || !(await sink.checkpoint())) return;
    await reaper.release(position);
  }

  #tick(): void {
    this.#timer = this.#parts.env.clock.setTimer(this.#parts.limits.watchMs, () => {
      this.#watch().finally(() => {
        if (!this.#closed) this.#tick();
      });
    });
  }

  async #watch(): Promise<void> {
    const { env, limits } = this.#parts;
    try {
      if (this.#health.readable && !this.inPlace()) {
        this.#health.worsen('missing', 'the device folder was taken away');
      }
      if (!this.#health.writable) return;
      await this.#watchSpace();
      const due = env.clock.monotonicMs() - this.#lastCheckpointMs >= limits.checkpointMs;
      const some = this.#flushedEntries > 0 || this.#parts.reaper.waiting > 0;
      if ((due && some) || this.#flushedEntries >= CHECKPOINT_ENTRIES) await this.checkpoint();
    } catch (error) {
      env.log.warn('device.watch-failed', { error });
      this.#health.take(error);
    }
  }

  async #watchSpace(): Promise<void> {
    const { env, path, limits } = this.#parts;
    this.#space = await env.disk.space(path);
    const reserve = limits.reserveBytes ?? defaultReserve(this.#space.totalBytes);
    if (this.#space.freeBytes < reserve) this.#health.worsen('full', 'the reserve is reached');
    // Half as much again, so that it does not go back and forth.
    else if (this.#space.freeBytes >= 1.5 * reserve) this.#health.recover();
  }

  /** Blobs that a crash left behind, or whose unlinking it prevented. */
  async #sweep(quarantineOrphans: boolean): Promise<void> {
    const { blobs, quarantine } = this.#parts;
    const { keyOfBlob } = await import('./blob-store.ts');
    for await (const names of blobs.earlier()) {
      for (const name of names) {
        if (this.#closed || !this.#health.writable) return;
        const key = keyOfBlob(name);
        if (key === undefined) continue;
        const body = this.#looking(() => this.store.get(key))?.body;
        if (body?.kind === 'blob' && body.name === name) continue;
        if (!quarantineOrphans) this.#condemnBlob(name, this.store.position);
        else {
          const from = blobs.path(name);
          await quarantine.move(from, name, { what: 'a blob that no record names', from });
        }
      }
    }
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

  #wallMs(): number {
    return Math.floor(this.#parts.env.clock.wallMicros() / 1000);
  }
}

function sameBody(a: NonNullable<StoredEntry['body']>, b: typeof a): boolean {
  if (a.kind === 'blob') return b.kind === 'blob' && a.name === b.name;
  return b.kind === 'inline' && a.start === b.start && a.record.segment === b.record.segment;
}

/** A body must be what the state says, or a reader would be promised bytes that are not there. */
function checkBody(request: contract.WriteRequest): void {
  const { body, state, key } = request;
  const expected = state.data?.body?.length;
  if (expected !== undefined && body!.length !== expected) {
    throw new OperatingError('bad-body', 'the body has not the length that its state says', {
      length: body!.length,
      expected,
    });
  }
  if (!(body instanceof Stage)) return;
  if (!body.finished) throw new OperatingError('bad-stage', 'the stage is not finished');
  if (body.key.policy !== key.policy || !body.key.hash.equals(key.hash)) {
    throw new OperatingError('bad-stage', 'the stage is of another key');
  }
}
