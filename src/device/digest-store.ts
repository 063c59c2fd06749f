/**
 * The digests of all rings of a device: in memory as of the newest commit, in index.db as of the
 * index's position.
 *
 * Writing a bucket's row for every change would double the random writes of the index. Instead each
 * transaction appends its changes as one blob (sequential), and writes a few whole pages in turn;
 * changes older than the oldest page in use are dropped. Opening reads the pages, then the changes
 * that each page lacks.
 */
import type { Database, Statement } from '#env/env.ts';
import type { DigestSummary, Digests } from './contract.ts';
import { bucketOf, DigestTable, PAGE_BITS, PAGES, type Weight } from './digest-table.ts';
import { sealed, unsealed } from './index-file.ts';
import type { StoredEntry } from './stored-entry.ts';

/** policy 2, bucket 4, signs and flags 1, contribution 16 */
const CHANGE_BYTES = 23;
const PAGES_PER_STEP = 16;
const FLAG_ADD = 1;
const FLAG_LIVE = 2;
const FLAG_BODILESS = 4;
/** Changes wait for at least this many before pages are written. */
const MIN_CHANGES = 65_536;

export class DigestStore implements Digests {
  /** As of the newest commit: what the device answers. */
  readonly #tables = new Map<number, DigestTable>();
  readonly #putChanges: Statement<unknown>;
  readonly #putPage: Statement<unknown>;
  readonly #database: Database;
  /** Changes of the transaction under way; grows to the largest one. */
  #pending: Buffer = Buffer.alloc(64 * CHANGE_BYTES);
  #pendingBytes = 0;
  #sequence = 0;
  #unsaved = 0;
  #cursor = 0;
  #cycleStart = 0;
  #changes = 0;

  constructor(database: Database) {
    this.#database = database;
    this.#putChanges = database.prepare('INSERT INTO digest_changes VALUES (?, ?)');
    this.#putPage = database.prepare('INSERT OR REPLACE INTO digest_pages VALUES (?, ?, ?, ?)');
  }

  summarise(policy: number, from: number, to: number, parts: number): DigestSummary[] {
    return this.#table(policy).summarise(from, to, parts);
  }

  get changes(): number {
    return this.#changes;
  }

  policies(): number[] {
    return [...this.#tables.keys()];
  }

  /** Entries in the bucket of a key. */
  entriesIn(policy: number, bucket: number): number {
    return this.#tables.get(policy)?.entries(bucket) ?? 0;
  }

  /** A commit: `before` was the newest state of the key, `after` is. Undefined: none. */
  change(before: StoredEntry | undefined, after: StoredEntry | undefined): void {
    const key = (before ?? after)?.key;
    if (key === undefined) return;
    this.#changes++;
    const table = this.#table(key.policy);
    const bucket = bucketOf(key.hash);
    if (before !== undefined) table.change(bucket, before, -1);
    if (after !== undefined) table.change(bucket, after, 1);
  }

  /** Inside an index transaction: the row of a key changes from `before` to `after`. */
  note(before: StoredEntry | undefined, after: StoredEntry | undefined): void {
    if (before !== undefined) this.#pendChange(before, false);
    if (after !== undefined) this.#pendChange(after, true);
  }

  /**
   * Ends an index transaction, which has brought every commit into the rows: so the tables in memory
   * are exactly what may be written as pages.
   */
  persist(): void {
    if (this.#pendingBytes > 0) {
      this.#sequence++;
      const changes = this.#pending.subarray(0, this.#pendingBytes);
      this.#putChanges.run(this.#sequence, sealed(changes, String(this.#sequence)));
      this.#unsaved += this.#pendingBytes / CHANGE_BYTES;
      this.#pendingBytes = 0;
    }
    if (this.#unsaved >= MIN_CHANGES) this.#savePages(PAGES_PER_STEP);
  }

  /** The transaction was rolled back: nothing of it is in the database. */
  discard(): void {
    this.#pendingBytes = 0;
    this.#cursor = 0;
  }

  /** All pages at once: after a rebuild and at a clean shutdown, so that the next start is short. */
  persistAll(): void {
    this.persist();
    if (this.#unsaved === 0) return;
    this.#cursor = 0;
    this.#cycleStart = this.#sequence;
    this.#savePages(PAGES);
  }

  #savePages(count: number): void {
    if (this.#cursor === 0) this.#cycleStart = this.#sequence;
    const end = Math.min(PAGES, this.#cursor + count);
    for (; this.#cursor < end; this.#cursor++) {
      for (const [policy, table] of this.#tables) {
        const bytes = table.exportPage(this.#cursor);
        if (bytes !== undefined) {
          const at = [policy, this.#cursor, this.#sequence] as const;
          this.#putPage.run(...at, sealed(bytes, at.join(' ')));
        }
      }
    }
    if (this.#cursor < PAGES) return;
    this.#cursor = 0;
    this.#unsaved = 0;
    this.#database.prepare('DELETE FROM digest_changes WHERE sequence <= ?').run(this.#cycleStart);
  }

  /** @throws OperatingError `damaged` */
  load(): void {
    const saved = new Map<string, number>();
    type PageRow = [policy: number, page: number, sequence: number, bytes: Buffer];
    const pages = this.#database
      .prepare<PageRow>('SELECT policy, page, sequence, bytes FROM digest_pages')
      .raw();
    for (const [policy, page, sequence, bytes] of pages.iterate()) {
      const content = unsealed(bytes, 'digest page', [policy, page, sequence].join(' '));
      this.#table(policy).importPage(page, content);
      saved.set(`${policy} ${page}`, sequence);
      this.#sequence = Math.max(this.#sequence, sequence);
    }
    const changes = this.#database
      .prepare<[number, Buffer]>('SELECT sequence, bytes FROM digest_changes ORDER BY sequence')
      .raw();
    for (const [sequence, bytes] of changes.iterate()) {
      this.#replay(unsealed(bytes, 'digest changes', String(sequence)), sequence, saved);
      this.#sequence = Math.max(this.#sequence, sequence);
    }
  }

  #replay(bytes: Buffer, sequence: number, saved: ReadonlyMap<string, number>): void {
    for (let at = 0; at + CHANGE_BYTES <= bytes.length; at += CHANGE_BYTES) {
      const policy = bytes.readUInt16BE(at);
      const bucket = bytes.readUInt32BE(at + 2);
      this.#unsaved++;
      if (sequence <= (saved.get(`${policy} ${bucket >>> PAGE_BITS}`) ?? 0)) continue;
      const flags = bytes[at + 6]!;
      const weight: Weight = {
        contribution: bytes.subarray(at + 7, at + CHANGE_BYTES),
        live: (flags & FLAG_LIVE) !== 0,
        bodiless: (flags & FLAG_BODILESS) !== 0,
      };
      this.#table(policy).change(bucket, weight, (flags & FLAG_ADD) !== 0 ? 1 : -1);
    }
  }

  #table(policy: number): DigestTable {
    let table = this.#tables.get(policy);
    if (table === undefined) this.#tables.set(policy, (table = new DigestTable()));
    return table;
  }

  #pendChange(entry: StoredEntry, add: boolean): void {
    const at = this.#pendingBytes;
    if (at === this.#pending.length) {
      const larger = Buffer.alloc(2 * at);
      larger.set(this.#pending);
      this.#pending = larger;
    }
    const bytes = this.#pending;
    bytes.writeUInt16BE(entry.key.policy, at);
    bytes.writeUInt32BE(bucketOf(entry.key.hash), at + 2);
    bytes[at + 6] =
      (add ? FLAG_ADD : 0) | (entry.live ? FLAG_LIVE : 0) | (entry.bodiless ? FLAG_BODILESS : 0);
    bytes.set(entry.contribution, at + 7);
    this.#pendingBytes += CHANGE_BYTES;
  }
}
