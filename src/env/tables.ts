/**
 * Whether the tables of a database are as the statements made them, text by text. A flipped byte there
 * names another column, or none, which SQLite takes for the statement's mistake; or it leaves a statement
 * that means nearly the same (`NOP NULL`), which SQLite takes for right. Neither is damage to it.
 */
import type { Database } from './env.ts';

/**
 * Whether a code of SQLite's means that a database of ours is damaged. Its statements are right, so one that SQLite calls
 * wrong met a flipped byte in the schema or in the header; another one there makes a file read-only, or of a future
 * format (simulator, seed 900441). Where it is the file system that is read-only, it can't be made anew either.
 */
export function saysFileDamage(code: string | undefined): boolean {
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_ERROR') return true;
  return (
    code?.startsWith('SQLITE_CORRUPT') === true || code?.startsWith('SQLITE_READONLY') === true
  );
}

interface Stored {
  readonly type: string;
  readonly name: string;
  readonly tbl_name: string;
  /** Null: an index that SQLite made for a key. */
  readonly sql: string | null;
}

const MADE = /^CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)(?: ON (\w+))?/;

/** `schema`: statements with `IF NOT EXISTS`, with a semicolon behind each. */
export function hasTables(db: Database, schema: string): boolean {
  const stored = db.prepare<Stored>('SELECT type, name, tbl_name, sql FROM sqlite_schema').all();
  const wanted = schema.split(';').map((sql) => sql.replace('IF NOT EXISTS ', '').trim());
  const found = new Set(stored.map(({ sql }) => sql));
  return wanted.every((sql) => sql === '' || found.has(sql)) && stored.every(isNamed);
}

/** SQLite goes by the statements, and takes most of what stands beside them as it is; it follows from them. */
function isNamed({ type, name, tbl_name: table, sql }: Stored): boolean {
  // A flipped bit may have made a BLOB of a TEXT.
  if (typeof name !== 'string' || typeof table !== 'string') return false;
  if (sql === null) return type === 'index' && name.startsWith(`sqlite_autoindex_${table}_`);
  const [, kind, made, on = made] = MADE.exec(sql) ?? [];
  return type === kind?.toLowerCase() && name === made && table === on;
}
