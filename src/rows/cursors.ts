/**
 * How far this device has taken in the commits of its peers, per container. A cursor is written after
 * the rows below it are durable here; one that a crash takes back only makes the next pull longer, and
 * so does one that fails its check: a flipped bit in the sequence would skip rows. Those in use are kept in
 * memory, for every listing asks twice.
 */
import { crc32 } from 'node:zlib';
import type { Database, Statement } from '#env/env.ts';

export interface Cursor {
  /** Of the peer's rows database: a rebuilt one counts anew. */
  readonly incarnation: string;
  readonly sequence: number;
}

interface StoredCursor extends Cursor {
  readonly crc: number;
}

interface PlacedCursor extends StoredCursor {
  readonly container: number;
  readonly device: number;
}

/** Containers whose cursors are kept in memory, at most. */
const MAX_KEPT = 4096;

export class CursorTable {
  /** By container, then by device. */
  readonly #kept = new Map<number, Map<number, Cursor>>();
  readonly #get: Statement<StoredCursor>;
  readonly #between: Statement<PlacedCursor>;
  readonly #set: Statement<unknown>;
  readonly #remove: Statement<unknown>;

  constructor(db: Database) {
    this.#get = db.prepare<StoredCursor>(
      'SELECT incarnation, sequence, crc FROM cursor WHERE container = ? AND device = ?',
    );
    this.#between = db.prepare<PlacedCursor>(
      'SELECT * FROM cursor WHERE container > ? AND container <= ?',
    );
    this.#remove = db.prepare('DELETE FROM cursor WHERE container = ?');
    this.#set = db.prepare(
      'INSERT OR REPLACE INTO cursor (container, device, incarnation, sequence, crc) VALUES (?, ?, ?, ?, ?)',
    );
  }

  /** The container is gone; its number may be another's next. */
  remove(container: number): void {
    this.#remove.run(container);
    this.#kept.delete(container);
  }

  get(container: number, device: number): Cursor | undefined {
    const kept = this.#kept.get(container)?.get(device);
    if (kept !== undefined) return kept;
    const stored = this.#get.get(container, device);
    if (stored === undefined || stored.crc !== check(container, device, stored)) return undefined;
    const { incarnation, sequence } = stored;
    return this.#keep(container, device, { incarnation, sequence });
  }

  set(container: number, device: number, cursor: Cursor): void {
    const { incarnation, sequence } = cursor;
    this.#set.run(container, device, incarnation, sequence, check(container, device, cursor));
    this.#keep(container, device, { incarnation, sequence });
  }

  /** Whether all of the containers with these numbers, `after` not among them, are what was written. */
  areWhole(after: number, upTo: number): boolean {
    return this.#between
      .all(after, upTo)
      .every((cursor) => cursor.crc === check(cursor.container, cursor.device, cursor));
  }

  #keep(container: number, device: number, cursor: Cursor): Cursor {
    let kept = this.#kept.get(container);
    if (kept === undefined) {
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear();
      this.#kept.set(container, (kept = new Map()));
    }
    kept.set(device, cursor);
    return cursor;
  }
}

function check(container: number, device: number, { incarnation, sequence }: Cursor): number {
  return crc32(`${container} ${device} ${incarnation} ${sequence}`);
}
