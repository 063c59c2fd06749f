/**
 * The auditor's way through index.db: SQLite's own check first, then the small tables, then every row:
 * its checksum, the columns beside it, whether the rows of each bucket add up to its digest (a row that
 * is missing, old or too many does not), and whether what it names is there.
 *
 * It reads through a connection of its own, opened for each step, because the one that writes would
 * answer from its cache; and right after a checkpoint, because a page that is still in the WAL is read
 * from there, and what the file has in its place comes to light only when the WAL starts over. Index and memory are compared in one turn of the event loop, right after a
 * flush, so nothing can come between. Whatever differs means that the index is rebuilt from the log.
 */
import { codeOf } from '#base/errors.ts';
import type { Database } from '#env/env.ts';
import type { BlobStore } from './blob-store.ts';
import type { DigestSummary } from './contract.ts';
import { DigestStore } from './digest-store.ts';
import { BUCKETS, bucketOf, DigestTable, PAGES } from './digest-table.ts';
import type { EntryStore } from './entry-store.ts';
import { damaged, statusError } from './errors.ts';
import { bucketStart, expiryColumn, hasIndexTables, metaValue } from './index-file.ts';
import { decodeIndexRow } from './index-row.ts';
import { sealPromise } from './promise-table.ts';
import type { SegmentFiles } from './segment-files.ts';
import { BLOBS, placesOf, storedStatistics } from './segment-statistics.ts';
import type { StoredEntry } from './stored-entry.ts';

export interface IndexAuditParts {
  readonly store: EntryStore;
  readonly files: SegmentFiles;
  readonly blobs: BlobStore;
  isThere(): Promise<boolean>;
  /** A connection that reads what is on disk. */
  look(): Database;
  flush(): void;
  damaged(entry: StoredEntry, what: string): void;
}

export interface IndexPlace {
  readonly policy: number;
  readonly bucket: number;
}

type RawRow = [
  hash: Buffer,
  slot: number,
  unlisted: number | null,
  deleteAt: number | null,
  entry: Buffer,
];

const ROWS = `SELECT hash, slot, unlisted, delete_at, entry FROM entries
  WHERE policy = ? AND hash >= ? AND hash < ? ORDER BY hash`;

export class IndexAudit {
  readonly #parts: IndexAuditParts;

  constructor(parts: IndexAuditParts) {
    this.#parts = parts;
  }

  /**
   * Reads about `limit` rows from `place` on; undefined: from the beginning, tables first.
   * @throws OperatingError `damaged` and SQLite's errors: the index is damaged
   */
  async step(
    place: IndexPlace | undefined,
    limit: number,
  ): Promise<{ readonly bytes: number; readonly next: IndexPlace | undefined }> {
    try {
      return await this.#step(place, limit);
    } catch (error) {
      // A table or a column that is not there, though the connection that writes knows it.
      if (codeOf(error) !== 'SQLITE_ERROR') throw error;
      throw damaged('the index is not what it was', {}, error);
    }
  }

  async #step(
    place: IndexPlace | undefined,
    limit: number,
  ): Promise<{ readonly bytes: number; readonly next: IndexPlace | undefined }> {
    const { store, look, flush } = this.#parts;
    if (!(await this.#parts.isThere())) throw damaged('the index is gone');
    await store.index.database.checkpoint();
    if (place === undefined) {
      const problem = await store.index.database.verify();
      if (problem !== undefined) throw damaged(`the index is damaged: ${problem}`);
    }
    flush();
    if (store.waiting > 0) throw statusError('full'); // rows that the index could not take yet
    const database = look();
    try {
      if (place === undefined) this.#checkTables(database);
      const at = this.#policyFrom(database, place);
      if (at === undefined) return { bytes: 0, next: undefined };
      const to = this.#rangeEnd(at, limit);
      const { entries, bytes } = this.#checkRange(database, at, to);
      const next = to < BUCKETS ? { ...at, bucket: to } : { policy: at.policy + 1, bucket: 0 };
      return { bytes: await this.#checkBlobs(entries).then(() => bytes), next };
    } finally {
      database.close();
    }
  }

  /** Everything in them has a checksum, or is in memory too. */
  #checkTables(database: Database): void {
    const { store, files } = this.#parts;
    if (!hasIndexTables(database)) throw damaged('the tables are not what they were made as');
    const values = database.prepare<[string, Buffer]>('SELECT name, value FROM meta').raw();
    for (const [name, bytes] of values.all()) metaValue(name, bytes);
    const stored = storedStatistics(database);
    for (const segment of [BLOBS, ...files.numbers()]) {
      if ((stored.get(segment)?.live ?? 0) !== store.statistics.get(segment).live) {
        throw damaged('the statistics of segments are damaged', { segment });
      }
    }
    this.#checkPromises(database);
    this.#checkDigests(database);
  }

  #checkPromises(database: Database): void {
    const find = database
      .prepare<Buffer>('SELECT promise FROM promises WHERE policy = ? AND hash = ?')
      .pluck();
    let count = 0;
    for (const { key, promise } of this.#parts.store.promises.all()) {
      const found = find.get(key.policy, key.hash);
      const isKept = Buffer.isBuffer(found) && found.equals(sealPromise(key, promise));
      if (!isKept) throw damaged('a promise is not in the index', { ...key });
      count++;
    }
    const counted = database.prepare<number>('SELECT count(*) FROM promises').pluck().get();
    if (counted !== count) throw damaged('the index has promises that nobody made');
  }

  /** What a start would read must be what is in memory. */
  #checkDigests(database: Database): void {
    const stored = new DigestStore(database);
    stored.load();
    const { digests } = this.#parts.store;
    for (const policy of new Set([...digests.policies(), ...stored.policies()])) {
      const own = digests.summarise(policy, 0, BUCKETS, PAGES);
      for (const [page, found] of stored.summarise(policy, 0, BUCKETS, PAGES).entries()) {
        if (isSame(found, own[page]!)) continue;
        throw damaged('the stored digests are damaged', { policy, page });
      }
    }
  }

  /** The next ring that the index or the digests know anything of. */
  #policyFrom(database: Database, place: IndexPlace | undefined): IndexPlace | undefined {
    const from = place?.policy ?? 0;
    const sql = 'SELECT policy FROM entries WHERE policy >= ? ORDER BY policy LIMIT 1';
    const indexed = database.prepare<number>(sql).pluck().get(from);
    const { digests } = this.#parts.store;
    const known = [...digests.policies(), ...(indexed === undefined ? [] : [indexed])];
    const policy = Math.min(...known.filter((candidate) => candidate >= from));
    if (!Number.isFinite(policy)) return undefined;
    return { policy, bucket: policy === from ? (place?.bucket ?? 0) : 0 };
  }

  /** So many buckets that their rows are about `limit`, at least one. */
  #rangeEnd({ policy, bucket }: IndexPlace, limit: number): number {
    const { digests } = this.#parts.store;
    let width = BUCKETS - bucket;
    while (width > 1) {
      if (digests.summarise(policy, bucket, bucket + width, 1)[0]!.total <= limit) break;
      width = Math.floor(width / 2);
    }
    return bucket + width;
  }

  #checkRange(
    database: Database,
    { policy, bucket }: IndexPlace,
    to: number,
  ): { entries: StoredEntry[]; bytes: number } {
    const rows = database.prepare<RawRow>(ROWS).raw();
    const found = new DigestTable();
    const entries: StoredEntry[] = [];
    let bytes = 0;
    for (const raw of rows.all(policy, bucketStart(bucket), bucketStart(to))) {
      const entry = this.#entryOf(policy, raw);
      found.change(bucketOf(entry.key.hash), entry, 1);
      entries.push(entry);
      bytes += raw[4].length;
    }
    const [sum] = found.summarise(bucket, to, 1);
    const [expected] = this.#parts.store.digests.summarise(policy, bucket, to, 1);
    if (!isSame(sum!, expected!)) {
      throw damaged('rows of the index are not what the digest says', { policy, bucket });
    }
    return { entries, bytes };
  }

  #entryOf(policy: number, [hash, slot, unlisted, deleteAt, bytes]: RawRow): StoredEntry {
    const entry = decodeIndexRow({ policy, hash }, bytes);
    const isGood =
      slot === 0 && (unlisted ?? 0) === entry.unlistedSinceMs && deleteAt === expiryColumn(entry);
    if (!isGood) throw damaged('columns of the index are not what the row says', { policy });
    const { files } = this.#parts;
    for (const { segment, offset, length } of placesOf(entry)) {
      if (offset + length > files.size(segment)) throw damaged('the index names no record');
    }
    return entry;
  }

  async #checkBlobs(entries: readonly StoredEntry[]): Promise<void> {
    for (const entry of entries) {
      const { body } = entry;
      if (body?.kind !== 'blob' || (await this.#parts.blobs.exists(body))) continue;
      this.#parts.damaged(entry, 'the auditor met an entry whose blob is missing');
    }
  }
}

function isSame(a: DigestSummary, b: DigestSummary): boolean {
  return (
    a.sum.equals(b.sum) && a.total === b.total && a.live === b.live && a.bodiless === b.bodiless
  );
}
