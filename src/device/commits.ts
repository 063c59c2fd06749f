/**
 * What a commit means for the rest of the device: entries become visible, rows go to the row store,
 * bodies that nothing refers to are condemned; and when it fails, what becomes of the device.
 */
import { OperatingError } from '#base/errors.ts';
import type { Disk } from '#env/env.ts';
import type { CommitHost } from './committer.ts';
import type { CompletenessMap } from './completeness.ts';
import type {
  EntryKey,
  LoggedRow,
  LogPosition,
  RowRecord,
  RowSink,
  RowStanding,
} from './contract.ts';
import type { ContributionHasher } from './contribution.ts';
import type { DamageControl } from './damage-control.ts';
import type { Promised } from './entry-change.ts';
import { type EntryStore, MAX_OVERLAY } from './entry-store.ts';
import type { Health } from './health.ts';
import { identityPath } from './identity.ts';
import { isIndexDamage } from './index-file.ts';
import type { LogWriter } from './log-writer.ts';
import type { OperationHost } from './operations.ts';
import type { RecordPlace, StoredEntry } from './stored-entry.ts';
import type { Upkeep } from './upkeep.ts';

/** Rows that wait for the row store; then it gets them in one transaction. */
const MAX_ROWS = 256;

export interface CommitsParts {
  readonly disk: Disk;
  readonly path: string;
  readonly store: EntryStore;
  readonly hasher: ContributionHasher;
  readonly sink: RowSink;
  readonly writer: LogWriter;
  readonly health: Health;
  readonly damage: DamageControl;
  readonly completeness: CompletenessMap;
  readonly upkeep: () => Upkeep;
}

export class Commits implements CommitHost, OperationHost {
  readonly store: EntryStore;
  readonly hasher: ContributionHasher;
  readonly #parts: CommitsParts;
  /** Identity of device.json when the device was opened. */
  readonly #identity: string | undefined;
  /** Rows of the group that is being written. */
  #pendingRows: { row: LoggedRow['row']; place: RecordPlace; writtenMs: number }[] = [];
  /** Forget records of entries in that group. */
  #pendingForgets: RecordPlace[] = [];
  /** Durable rows that the row store has not taken yet. */
  #rows: LoggedRow[] = [];

  constructor(parts: CommitsParts) {
    this.#parts = parts;
    this.store = parts.store;
    this.hasher = parts.hasher;
    this.#identity = parts.disk.statSync(identityPath(parts.path))?.identity;
  }

  get rowsWaiting(): boolean {
    return this.#rows.length > 0;
  }

  promised(key: EntryKey): Promised {
    const { store, completeness } = this.#parts;
    return { standing: store.promisedFor(key), floor: completeness.floor(key) };
  }

  addRow(row: LoggedRow['row'], place: RecordPlace, writtenMs: number): void {
    this.#pendingRows.push({ row, place, writtenMs });
  }

  addForget(place: RecordPlace): void {
    this.#pendingForgets.push(place);
  }

  /** While the row store lags behind the log, it can't tell. */
  standing(row: RowRecord): RowStanding {
    return this.#parts.upkeep().hasAllRows() ? this.#parts.sink.standing(row) : 'undecided';
  }

  refuses(): Error | undefined {
    const { health } = this.#parts;
    return health.writable ? undefined : health.error();
  }

  committed(position: LogPosition): void {
    const { store, upkeep } = this.#parts;
    store.commit(position, (before, after) => this.#condemn(before, after, position));
    for (const { row, place, writtenMs } of this.#pendingRows) {
      const position = { segment: place.segment, offset: place.offset };
      this.#rows.push({ row, position, writtenMs });
      store.statistics.addRows(place.segment, place.length);
    }
    for (const { segment, length } of this.#pendingForgets)
      store.statistics.addRows(segment, length);
    this.#pendingRows = [];
    this.#pendingForgets = [];
    // What is synced is done: rows that find no room wait, and fail nobody (a body would be given up that is current).
    if (this.#rows.length >= MAX_ROWS) upkeep().hasAllRows();
    else if (this.rowsWaiting) upkeep().applyRowsSoon();
    if (store.waiting >= MAX_OVERLAY) upkeep().flush();
    else upkeep().flushSoon();
  }

  /** When it fails they stay: the row store takes them in log order, or the next start replays them. */
  applyRows(): void {
    if (!this.rowsWaiting) return;
    this.#parts.sink.apply(this.#rows, this.store.position);
    this.#rows = [];
  }

  rolledBack(): void {
    this.#pendingRows = [];
    this.#pendingForgets = [];
    this.store.rollBack();
  }

  /** device.json and the open segment are still the files that were opened. */
  inPlace(): boolean {
    const { disk, path, writer } = this.#parts;
    const identity = disk.statSync(identityPath(path))?.identity;
    return identity !== undefined && identity === this.#identity && writer.isInPlace();
  }

  refused(error: unknown): unknown {
    return isIndexDamage(error) ? this.#parts.damage.index(error) : error;
  }

  broken(error: unknown): Error {
    if (isIndexDamage(error)) return this.#parts.damage.index(error);
    if (error instanceof OperatingError && error.code.startsWith('device-')) {
      if (error.code !== 'device-missing') return error; // its status is set already
    }
    return this.#parts.health.take(error);
  }

  #condemn(before: StoredEntry, after: StoredEntry | undefined, from: LogPosition): void {
    const { body } = before;
    if (body?.kind !== 'blob') return;
    if (after?.body?.kind === 'blob' && after.body.name === body.name) return;
    this.#parts.upkeep().condemn(body.name, from);
  }
}
