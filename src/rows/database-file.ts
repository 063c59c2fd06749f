/**
 * Opens rows.db, or begins a new one: when the file is missing, is no database, was made by another
 * version of the schema or for another incarnation of the device, or was found damaged by the last
 * run. A new one has no applied position, so the device replays its log into it. What was there is
 * kept beside it for a person to look at, one generation.
 */
import { codeOf } from '#base/errors.ts';
import type { Database, Disk, Log } from '#env/env.ts';
import { Meta, SCHEMA, SCHEMA_VERSION } from './schema.ts';

const SUFFIXES = ['', '-wal', '-shm'];
const MARK = '.damaged';
/** Hot pages of the trees; a page of a listing is read once and needs no cache. */
const CACHE_KIB = 8192;

export interface OpenedDatabase {
  readonly db: Database;
  readonly meta: Meta;
}

export async function openRowsDatabase(
  disk: Disk,
  path: string,
  incarnation: string,
  log: Log,
): Promise<OpenedDatabase> {
  const marked = (await disk.stat(path + MARK)) !== undefined;
  const opened = marked ? undefined : tryOpen(disk, path, incarnation, log);
  if (opened !== undefined) return opened;
  log.warn('rows.rebuild', { path, marked });
  await setAside(disk, path);
  return create(disk, path, incarnation);
}

/** The next start begins a new database. Synchronous: it happens where damage is met. */
export function markDamaged(disk: Disk, path: string, why: string): void {
  disk.replaceSync(path + MARK, Buffer.from(why));
}

function tryOpen(
  disk: Disk,
  path: string,
  incarnation: string,
  log: Log,
): OpenedDatabase | undefined {
  if (disk.statSync(path) === undefined) return create(disk, path, incarnation);
  let db: Database | undefined;
  try {
    db = disk.openDatabase(path, { cacheKiB: CACHE_KIB });
    const meta = new Meta(db);
    const fits = meta.get('schema') === SCHEMA_VERSION && meta.get('device') === incarnation;
    if (fits) return { db, meta };
    db.close();
  } catch (error) {
    log.warn('rows.unreadable', { path, error: codeOf(error) });
    db?.close();
  }
  return undefined;
}

function create(disk: Disk, path: string, incarnation: string): OpenedDatabase {
  const db = disk.openDatabase(path, { cacheKiB: CACHE_KIB });
  db.exec(SCHEMA);
  const meta = new Meta(db);
  db.transaction(() => {
    meta.set('schema', SCHEMA_VERSION);
    meta.set('device', incarnation);
  });
  return { db, meta };
}

async function setAside(disk: Disk, path: string): Promise<void> {
  for (const suffix of SUFFIXES) {
    const name = path + suffix;
    if ((await disk.stat(name)) !== undefined) await disk.rename(name, `${name}.old`);
  }
  if ((await disk.stat(path + MARK)) !== undefined) await disk.unlink(path + MARK);
}
