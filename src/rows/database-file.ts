/**
 * Opens rows.db, or begins a new one: when the file is missing, is no database, was made by another
 * version of the schema or for another incarnation of the device, or was found damaged by the last
 * run. A new one has no applied position, so the device replays its log into it; nothing is in it that
 * is not in the log. All of it is synchronous: a device opens its rows while it opens itself.
 */
import { codeOf } from '#base/errors.ts';
import type { Database, Disk, Log } from '#env/env.ts';
import { hasSchema, Meta, SCHEMA, SCHEMA_VERSION } from './schema.ts';
import { writeFloor } from './sequence-floor.ts';

const MARK = '.damaged';
const NOTHING = Buffer.alloc(0);
/** Hot pages of the trees; a page of a listing is read once and needs no cache. */
const CACHE_KIB = 8192;

export interface OpenedDatabase {
  readonly db: Database;
  readonly meta: Meta;
}

export function openRowsDatabase(
  disk: Disk,
  path: string,
  incarnation: string,
  log: Log,
): OpenedDatabase {
  if (disk.statSync(path) === undefined) return create(disk, path, incarnation);
  const marked = (disk.statSync(path + MARK)?.size ?? 0) > 0;
  const opened = marked ? undefined : tryOpen(disk, path, incarnation, log);
  if (opened !== undefined) return opened;
  log.warn('rows.rebuild', { path, marked });
  for (const suffix of ['-wal', '']) disk.replaceSync(path + suffix, NOTHING);
  const created = create(disk, path, incarnation);
  if (marked) disk.replaceSync(path + MARK, NOTHING);
  return created;
}

/** The next start begins a new database. */
export function markDamaged(disk: Disk, path: string, why: string): void {
  disk.replaceSync(path + MARK, Buffer.from(why));
}

function tryOpen(
  disk: Disk,
  path: string,
  incarnation: string,
  log: Log,
): OpenedDatabase | undefined {
  let db: Database | undefined;
  try {
    db = disk.openDatabase(path, { cacheKiB: CACHE_KIB });
    const meta = new Meta(db);
    const fits =
      meta.get('schema') === String(SCHEMA_VERSION) && meta.get('device') === incarnation;
    if (fits && hasSchema(db)) return { db, meta };
  } catch (error) {
    log.warn('rows.unreadable', { path, error: codeOf(error) });
  }
  db?.close();
  return undefined;
}

function create(disk: Disk, path: string, incarnation: string): OpenedDatabase {
  const db = disk.openDatabase(path, { cacheKiB: CACHE_KIB });
  db.exec(SCHEMA);
  const meta = new Meta(db);
  db.transaction(() => {
    meta.set('schema', String(SCHEMA_VERSION));
    meta.set('device', incarnation);
    writeFloor(meta, 0);
  });
  return { db, meta };
}
