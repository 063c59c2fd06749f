/**
 * What a segment held that can't be read any more is written again from where else it is known, so that
 * the segment can go: states from the index, promises from their table, rows from the row store. A body
 * that was in there is lost to this device, and fetched from a replica.
 *
 * Bytes that held the records of entries in the index are explained by them. Others may have been dead, or
 * the newest record of any row: rows have no place in the index, so all of them are written again. That
 * is rare (unreadable heads only) and bounded by what the rows take, and it loses nothing; to leave the
 * hole would make every later rebuild of rows.db incomplete.
 */
import type { Operation } from './committer.ts';
import type { RowPlace, RowSink } from './contract.ts';
import type { EntryStore } from './entry-store.ts';
import { SEGMENT_HEADER_BYTES } from './format.ts';
import type { BadRegion } from './log-scan.ts';
import { type OperationHost, PromiseAgainOperation, RowOperation } from './operations.ts';
import { SalvageOperation } from './relocate.ts';
import { placesOf } from './segment-statistics.ts';
import type { RecordPlace, StoredEntry } from './stored-entry.ts';

export interface SalvageParts {
  readonly store: EntryStore;
  readonly sink: RowSink;
  readonly host: OperationHost;
  append<Result>(operation: Operation & { readonly answer: Promise<Result> }): Promise<Result>;
  damaged(entry: StoredEntry, what: string, cause: unknown): Error;
}

const PAGE = 1000;

/** Entries whose records could not be read while the segment was gone through: gives those records. */
export async function salvageEntries(parts: SalvageParts, segment: number): Promise<RecordPlace[]> {
  const { store } = parts;
  const lost: RecordPlace[] = [];
  for (const policy of store.index.policies()) {
    let from = Buffer.alloc(16);
    for (;;) {
      const page = store.index.range(policy, from, undefined, PAGE);
      for (const entry of page) {
        lost.push(...placesOf(entry).filter((place) => place.segment === segment));
      }
      await salvagePage(parts, segment, page);
      if (page.length < PAGE) break;
      from = Buffer.concat([page.at(-1)!.key.hash, Buffer.alloc(1)]);
    }
  }
  return lost;
}

async function salvagePage(
  { append, host, damaged }: SalvageParts,
  segment: number,
  page: readonly StoredEntry[],
): Promise<void> {
  const moves: Promise<unknown>[] = [];
  for (const entry of page) {
    const inBody = entry.body?.record.segment === segment;
    if (inBody && entry.body?.kind === 'inline') {
      damaged(entry, 'the record of a body cannot be read', undefined);
    }
    if (entry.record.segment !== segment && !inBody) continue;
    moves.push(append(new SalvageOperation(host, entry.key, segment)));
  }
  await Promise.all(moves);
}

export async function salvagePromises({ store, append, host }: SalvageParts): Promise<void> {
  const held = [...store.promises.all()];
  await Promise.all(
    held.map(({ key, promise }) => append(new PromiseAgainOperation(host, key, promise))),
  );
}

/** Writes the next rows again; where to go on, undefined: these were all. */
export async function salvageRows(
  { sink, append, host }: SalvageParts,
  place: RowPlace | undefined,
  limit: number,
): Promise<RowPlace | undefined> {
  const { rows, next } = sink.rowsAfter(place, limit);
  await Promise.all(rows.map((row) => append(new RowOperation(host, row))));
  return next;
}

/** Whether the bad regions are made of nothing but these records (and the segment's own header). */
export function isExplained(
  bad: readonly BadRegion[],
  records: readonly RecordPlace[],
  size: number,
): boolean {
  const ends = new Map(records.map(({ offset, length }) => [offset, offset + length]));
  return bad.every(({ from, to }) => {
    let at = Math.max(from, SEGMENT_HEADER_BYTES);
    while (at < Math.min(to, size)) {
      const end = ends.get(at);
      if (end === undefined) return false;
      at = end;
    }
    return true;
  });
}
