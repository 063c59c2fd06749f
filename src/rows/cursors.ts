/**
 * How far this device has taken in the commits of its peers, per container. A cursor is written after
 * the rows below it are durable here; one that a crash takes back only makes the next pull longer.
 */
import type { Database, Statement } from '#env/env.ts';

export interface Cursor {
  /** Of the peer's rows database: a rebuilt one counts anew. */
  readonly incarnation: string;
  readonly sequence: number;
}

export class CursorTable {
  readonly #get: Statement<Cursor>;
  readonly #set: Statement<unknown>;

  constructor(db: Database) {
    this.#get = db.prepare<Cursor>(
      'SELECT incarnation, sequence FROM cursor WHERE container = ? AND device = ?',
    );
    this.#set = db.prepare(
      'INSERT OR REPLACE INTO cursor (container, device, incarnation, sequence) VALUES (?, ?, ?, ?)',
    );
  }

  get(container: number, device: number): Cursor | undefined {
    return this.#get.get(container, device);
  }

  set(container: number, device: number, cursor: Cursor): void {
    this.#set.run(container, device, cursor.incarnation, cursor.sequence);
  }
}
