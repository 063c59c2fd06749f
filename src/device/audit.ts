/**
 * The auditor of one device: reads everything again in a fixed order (log, blobs, index, rows) and sees to
 * what is damaged. One step reads a bounded number of bytes; who calls it, and how often, decides the
 * rate (src/object/auditor.ts).
 *
 * The place is saved now and then, so that a restart goes on about where it was. What was read twice
 * for it is harmless, and what was found is known by the device itself (a body that is missing, a mark
 * that the index must be rebuilt), but for suspect segments, which are saved with the place at once.
 */
import type { Env } from '#env/env.ts';
import { BlobAudit, type BlobAuditParts } from './audit-blobs.ts';
import { IndexAudit, type IndexAuditParts, type IndexPlace } from './audit-index.ts';
import { LogAudit, type LogAuditParts } from './audit-log.ts';
import {
  AUDIT_PHASES,
  AUDIT_PLACE,
  type AuditPlace,
  firstPlace,
  loadPlace,
  savePlace,
} from './audit-place.ts';
import type { Audit, AuditFacts, AuditStep, LogPosition, RowSink } from './contract.ts';
import { isIndexDamage } from './index-file.ts';
import { BLOBS } from './segment-statistics.ts';

export interface AuditParts {
  readonly env: Env;
  readonly path: string;
  readonly incarnation: string;
  readonly sink: RowSink;
  /** Segments to be rewritten: shared with the compactor, which takes them out. */
  readonly suspects: Set<number>;
  readonly log: Omit<LogAuditParts, 'suspect' | 'damaged' | 'forgetBelow'>;
  readonly blobs: Omit<BlobAuditParts, 'damaged'>;
  readonly index: Omit<IndexAuditParts, 'damaged'>;
  /** The body of an entry is bad. */
  readonly damaged: LogAuditParts['damaged'];
  /** The index is damaged; gives the error for the caller. */
  indexDamaged(error: unknown): Error;
  /** The folder is still the one that was opened: nothing is left behind in one that was wiped. */
  inPlace(): boolean;
  /** One step of rewriting suspect segments. */
  mend(): Promise<unknown>;
}

/** Of an index row and of a row, about. */
const INDEX_ROW_BYTES = 512;
const ROW_BYTES = 256;
/** How long the place in memory may be ahead of the one on disk. */
const SAVE_MS = 30_000;

interface PhaseStep {
  readonly bytes: number;
  /** Undefined: the phase has ended. */
  readonly next: string | undefined;
}

export class DeviceAudit implements Audit {
  readonly #parts: AuditParts;
  readonly #log: LogAudit;
  readonly #blobs: BlobAudit;
  readonly #index: IndexAudit;
  #place: AuditPlace;
  #savedMs = 0;
  #orphans = 0;

  constructor(parts: AuditParts) {
    this.#parts = parts;
    const damaged: AuditParts['damaged'] = (entry, what, cause) => {
      this.#found();
      parts.damaged(entry, what, cause);
    };
    this.#log = new LogAudit({
      ...parts.log,
      damaged,
      suspect: (segment, region) => this.#suspect(segment, region !== undefined),
      forgetBelow: () => this.#place.forgetBelow,
    });
    this.#blobs = new BlobAudit({ ...parts.blobs, damaged });
    this.#index = new IndexAudit({ ...parts.index, damaged });
    this.#place = firstPlace(parts.incarnation, this.#nowMs());
  }

  get #file(): string {
    return `${this.#parts.path}/${AUDIT_PLACE}`;
  }

  async load(): Promise<void> {
    const { env, incarnation, suspects } = this.#parts;
    this.#place = (await loadPlace(env.disk, this.#file, incarnation)) ?? this.#place;
    for (const segment of this.#place.suspects) suspects.add(segment);
  }

  /** Compaction takes away a segment in which records of forgetting may be lost. */
  async unexplained(segment: number): Promise<void> {
    this.#forgetAgain(segment);
    await this.#save();
  }

  /** Segments in which the start met damage. */
  suspect(segments: Iterable<number>): void {
    for (const segment of segments) this.#parts.suspects.add(segment);
  }

  async step(bytes: number): Promise<AuditStep> {
    if (this.#parts.suspects.size > 0) await this.#parts.mend();
    const phase = await this.#phase(bytes);
    const place = { ...this.#place, readBytes: this.#place.readBytes + phase.bytes };
    const following = AUDIT_PHASES[AUDIT_PHASES.indexOf(place.phase) + 1];
    if (phase.next !== undefined) this.#place = { ...place, at: phase.next };
    else if (following !== undefined) this.#place = { ...place, phase: following, at: '' };
    else this.#place = this.#nextCycle(place);
    const cycleDone = this.#place.cycles > place.cycles;
    if (cycleDone || this.#parts.env.clock.monotonicMs() - this.#savedMs >= SAVE_MS) {
      await this.#save();
    }
    return { bytes: phase.bytes, cycleDone };
  }

  facts(): AuditFacts {
    const { readBytes, cycles, startedMs, verifiedSinceMs, found, bytesPerSecond } = this.#place;
    return {
      totalBytes: this.#totalBytes(),
      readBytes,
      cycles,
      startedMs,
      ...(verifiedSinceMs !== null && { verifiedSinceMs }),
      found,
      orphans: this.#orphans,
      suspects: this.#parts.suspects.size,
      ...(bytesPerSecond !== null && { bytesPerSecond }),
    };
  }

  async restart(): Promise<void> {
    this.#place = { ...this.#place, phase: 'log', at: '', startedMs: this.#nowMs(), readBytes: 0 };
    await this.#save();
  }

  note(name: string): string {
    return this.#place.notes[name] ?? '';
  }

  setNote(name: string, text: string): void {
    this.#place = { ...this.#place, notes: { ...this.#place.notes, [name]: text } };
  }

  async setRate(bytesPerSecond: number | undefined): Promise<void> {
    this.#place = { ...this.#place, bytesPerSecond: bytesPerSecond ?? null };
    await this.#save();
  }

  /** For a clean shutdown. */
  async close(): Promise<void> {
    await this.#save();
  }

  async #phase(bytes: number): Promise<PhaseStep> {
    const { phase, at } = this.#place;
    switch (phase) {
      case 'log': {
        const { next, bytes: read } = await this.#guarded(() => this.#log.step(toPlace(at), bytes));
        return { bytes: read, next: next && `${next.segment} ${next.offset}` };
      }
      case 'blobs': {
        const step = await this.#guarded(() => this.#blobs.step(at, bytes));
        if (step.next === undefined) this.#orphans = this.#blobs.orphans;
        return step;
      }
      case 'index': {
        const rows = Math.ceil(bytes / INDEX_ROW_BYTES);
        const step = await this.#guarded(() => this.#index.step(toIndexPlace(at), rows));
        return { bytes: step.bytes, next: step.next && `${step.next.policy} ${step.next.bucket}` };
      }
      case 'rows':
        return this.#rows(at, Math.ceil(bytes / ROW_BYTES));
    }
  }

  /** Whatever says that the index is damaged takes the device out of use until it is rebuilt. */
  async #guarded<Result>(step: () => Promise<Result>): Promise<Result> {
    try {
      return await step();
    } catch (error) {
      if (!isIndexDamage(error)) throw error;
      this.#found();
      await this.#save();
      throw this.#parts.indexDamaged(error);
    }
  }

  async #rows(at: string, limit: number): Promise<PhaseStep> {
    try {
      const { rows, next } = await this.#parts.sink.audit(Number(at || 0), limit);
      return { bytes: rows * ROW_BYTES, next: next === undefined ? undefined : String(next) };
    } catch (error) {
      this.#found();
      await this.#save();
      throw error;
    }
  }

  #nextCycle(place: AuditPlace): AuditPlace {
    const nowMs = this.#nowMs();
    const { found, cycles, startedMs } = place;
    const facts = { path: this.#parts.path, readBytes: place.readBytes, found };
    this.#parts.env.log.info('device.audited', { ...facts, seconds: (nowMs - startedMs) / 1000 });
    return {
      ...place,
      phase: 'log',
      at: '',
      cycles: cycles + 1,
      verifiedSinceMs: startedMs,
      startedMs: nowMs,
      readBytes: 0,
      // One whole cycle has gone through the older segments since a forget record may have been lost.
      forgetBelow: cycles > place.forgetCycle ? 0 : place.forgetBelow,
    };
  }

  #suspect(segment: number, isUnreadable: boolean): void {
    this.#found();
    this.#parts.suspects.add(segment);
    if (isUnreadable) this.#forgetAgain(segment);
    this.#savedMs = Number.NEGATIVE_INFINITY; // with the end of this step
  }

  /** In older segments may be what records of this one had forgotten. */
  #forgetAgain(segment: number): void {
    const forgetBelow = Math.max(this.#place.forgetBelow, segment);
    this.#place = { ...this.#place, forgetBelow, forgetCycle: this.#place.cycles };
  }

  #found(): void {
    this.#place = { ...this.#place, found: this.#place.found + 1 };
  }

  async #save(): Promise<void> {
    const { env, suspects } = this.#parts;
    this.#savedMs = env.clock.monotonicMs();
    if (!this.#parts.inPlace()) return;
    await savePlace(env.disk, env.log, this.#file, { ...this.#place, suspects: [...suspects] });
  }

  #totalBytes(): number {
    const { log, sink, index } = this.#parts;
    const { digests, statistics } = index.store;
    const entries = digests
      .policies()
      .reduce((sum, policy) => sum + digests.summarise(policy, 0, 1 << 20, 1)[0]!.total, 0);
    const rows = sink.rowCount;
    const inDatabases = entries * INDEX_ROW_BYTES + rows * ROW_BYTES;
    return log.files.totalBytes() + statistics.get(BLOBS).live + inDatabases;
  }

  #nowMs(): number {
    return Math.floor(this.#parts.env.clock.wallMicros() / 1000);
  }
}

function toPlace(at: string): LogPosition {
  const [segment = 0, offset = 0] = at === '' ? [] : at.split(' ').map(Number);
  return { segment, offset };
}

function toIndexPlace(at: string): IndexPlace | undefined {
  if (at === '') return undefined;
  const [policy = 0, bucket = 0] = at.split(' ').map(Number);
  return { policy, bucket };
}
