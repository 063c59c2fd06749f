/**
 * What runs by itself while a device is open: the watch over its folder and the free space, flushes and
 * checkpoints of the index, and once after the start the sweep of orphaned blobs.
 */
import type { Env, Timer } from '#env/env.ts';
import { type BlobStore, keyOfBlob } from './blob-store.ts';
import type { LogPosition, RowSink } from './contract.ts';
import type { DamageControl } from './damage-control.ts';
import type { EntryStore } from './entry-store.ts';
import { statusOf } from './errors.ts';
import type { Health } from './health.ts';
import { isIndexDamage } from './index-file.ts';
import { type DeviceLimits, defaultReserve } from './limits.ts';
import type { Quarantine } from './quarantine.ts';
import type { Reaper } from './reaper.ts';

/** Index rows written since the last checkpoint that make the next one due. */
const CHECKPOINT_ENTRIES = 16_384;
const PAGE = 1000;
/** How long committed rows wait for the row store at most, when nobody looks. */
const ROWS_MS = 25;
/** Behind a hash: the next one. */
const ZERO = Buffer.alloc(1);

export interface SweepOptions {
  /** Blobs that no record names are kept: the record may be among what the rebuild could not read. */
  readonly quarantineOrphans: boolean;
  readonly rebuilt: boolean;
}

export interface UpkeepParts {
  readonly env: Env;
  readonly path: string;
  readonly limits: DeviceLimits;
  readonly health: Health;
  readonly damage: DamageControl;
  readonly store: EntryStore;
  readonly sink: RowSink;
  readonly reaper: Reaper;
  readonly blobs: BlobStore;
  readonly quarantine: Quarantine;
  /** The folder is still the one that was opened. */
  inPlace(): boolean;
  /** Gives the row store the committed rows that it has not taken. */
  applyRows(): void;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  #watchTimer: Timer | undefined;
  #flushTimer: Timer | undefined;
  #rowsTimer: Timer | undefined;
  #stopped = false;
  #lastCheckpointMs: number;
  #flushedEntries = 0;
  #checkpointing: Promise<void> | undefined;
  #watching: Promise<void> = Promise.resolve();
  space = { totalBytes: 0, freeBytes: 0 };

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
    this.#lastCheckpointMs = parts.env.clock.monotonicMs();
  }

  /** `rebuilt`: the index was made from the log, which does not know of blobs that were found damaged. */
  async start({ quarantineOrphans, rebuilt }: SweepOptions): Promise<void> {
    await this.#watchSpace();
    this.#tick();
    const sweeping = this.#sweep(quarantineOrphans).then(() =>
      rebuilt ? this.#findMissing() : undefined,
    );
    sweeping.catch((error: unknown) => {
      this.#parts.env.log.warn('device.sweep-failed', { error });
    });
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#watchTimer?.cancel();
    this.#flushTimer?.cancel();
    this.#rowsTimer?.cancel();
    await this.#watching;
    await this.#checkpointing?.catch(() => undefined); // its caller has the error
  }

  /** Brings the index up to the newest commit. @throws OperatingError `device-failed` */
  flush(): void {
    const { store, health, damage } = this.#parts;
    const waiting = store.waiting;
    try {
      store.flush();
      this.#flushedEntries += waiting;
    } catch (error) {
      if (isIndexDamage(error)) throw damage.index(error);
      health.take(error);
      // A full disk is no reason to refuse reads: the entries wait in memory, and in the log.
      if (statusOf(error) !== 'full') throw health.error();
    }
  }

  flushSoon(): void {
    if (this.#stopped) return;
    this.#flushTimer ??= this.#parts.env.clock.setTimer(this.#parts.limits.flushMs, () => {
      this.#flushTimer = undefined;
      try {
        this.flush();
      } catch (error) {
        // The status says it already, to every caller that comes.
        this.#parts.env.log.error('device.flush-failed', { error });
      }
    });
  }

  /** Brings the row store up to the newest commit. @throws OperatingError: they wait, in memory and in the log */
  applyRows(): void {
    try {
      this.#parts.applyRows();
    } catch (error) {
      throw this.#parts.health.take(error);
    }
  }

  applyRowsSoon(): void {
    if (this.#stopped) return;
    this.#rowsTimer ??= this.#parts.env.clock.setTimer(ROWS_MS, () => {
      this.#rowsTimer = undefined;
      this.hasAllRows();
    });
  }

  /** Now; false: it could not take them. */
  hasAllRows(): boolean {
    try {
      this.applyRows();
      return true;
    } catch {
      return false; // the status says why
    }
  }

  /** Makes the index durable, then removes what is not needed from there on. */
  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpointNow().finally(() => {
      this.#checkpointing = undefined;
    });
    return this.#checkpointing;
  }

  async #checkpointNow(): Promise<void> {
    const { store, sink, reaper, env } = this.#parts;
    this.#flushedEntries = 0;
    this.#lastCheckpointMs = env.clock.monotonicMs();
    this.flush();
    if (this.hasAllRows()) sink.apply([], store.position);
    const position = store.applied;
    const complete = await store.index.database.checkpoint();
    if (complete && (await sink.checkpoint())) await reaper.release(position);
  }

  #tick(): void {
    if (this.#stopped) return;
    this.#watchTimer = this.#parts.env.clock.setTimer(this.#parts.limits.watchMs, () => {
      this.#watching = this.#watch().then(() => this.#tick());
    });
  }

  async #watch(): Promise<void> {
    const { env, health } = this.#parts;
    try {
      if (health.readable && !this.#parts.inPlace()) {
        health.worsen('missing', 'the device folder was taken away');
      }
      if (!health.writable) return;
      await this.#watchSpace();
      if (this.#isCheckpointDue()) await this.checkpoint();
    } catch (error) {
      env.log.warn('device.watch-failed', { error });
      health.take(error);
    }
  }

  #isCheckpointDue(): boolean {
    const { env, limits, reaper, store } = this.#parts;
    if (this.#flushedEntries >= CHECKPOINT_ENTRIES) return true;
    const elapsedMs = env.clock.monotonicMs() - this.#lastCheckpointMs;
    const some = this.#flushedEntries > 0 || store.waiting > 0 || reaper.waiting > 0;
    return some && elapsedMs >= limits.checkpointMs;
  }

  async #watchSpace(): Promise<void> {
    const { env, path, limits, health } = this.#parts;
    this.space = await env.disk.space(path);
    const reserve = limits.reserveBytes ?? defaultReserve(this.space.totalBytes);
    if (this.space.freeBytes < reserve) health.worsen('full', 'the reserve is reached');
    // Half as much again, so that it does not go back and forth.
    else if (this.space.freeBytes >= 1.5 * reserve) health.recover();
  }

  /** Blobs that a crash left behind, or whose unlinking it prevented. */
  async #sweep(quarantineOrphans: boolean): Promise<void> {
    const { blobs, quarantine, health, store, damage } = this.#parts;
    for await (const names of blobs.earlier()) {
      for (const name of names) {
        if (this.#stopped || !health.writable) return;
        const key = keyOfBlob(name);
        if (key === undefined) continue;
        const body = damage.looking(() => store.get(key))?.body;
        if (body?.kind === 'blob' && body.name === name) continue;
        const from = blobs.path(name);
        const what = 'a blob that no record names';
        if (quarantineOrphans) await quarantine.move(from, name, { what, from });
        else this.condemn(name, store.position);
      }
    }
  }

  /** Entries whose blob is not there: it was taken away as damaged before the index was rebuilt. */
  async #findMissing(): Promise<void> {
    const { store, blobs, damage, health } = this.#parts;
    for (const policy of store.index.policies()) {
      let from: Buffer | undefined = Buffer.alloc(16);
      while (from !== undefined) {
        const start: Buffer = from;
        const page = damage.looking(() => store.index.range(policy, start, undefined, PAGE));
        for (const { key } of page) {
          if (this.#stopped || !health.writable) return;
          const entry = damage.looking(() => store.get(key));
          if (entry?.body?.kind !== 'blob' || (await blobs.exists(entry.body))) continue;
          damage.body(entry, 'a blob is missing', undefined);
        }
        from = page.length < PAGE ? undefined : Buffer.concat([page.at(-1)!.key.hash, ZERO]);
      }
    }
  }

  /** Nothing refers to a blob from this position of the log on. */
  condemn(name: string, from: LogPosition): void {
    const { blobs, reaper } = this.#parts;
    reaper.add({
      from,
      folder: blobs.folderOf(name),
      busy: () => blobs.busy(name),
      unlink: () => blobs.unlink(name),
    });
  }
}
