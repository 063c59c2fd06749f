/**
 * The checkpoint thread. Plain JavaScript on purpose, see checkpointer.ts (messages are typed there).
 *
 * A passive checkpoint does the work: it copies and syncs while the writer goes on. It is complete
 * when everything that was committed before it began has been copied. Only a WAL that has grown large
 * is then started over, which holds the writer up for as long as copying the last few pages takes;
 * otherwise SQLite's writer starts it over by itself after a checkpoint that caught up with it.
 */
import { statSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import BetterSqlite from 'better-sqlite3';

const PAGE_BYTES = 4096;
/** Above this the WAL is started over. */
const RESTART_BYTES = 32 * 1024 * 1024;
/** Passive rounds under a busy writer, so that the last step has little left to copy. */
const MAX_ROUNDS = 3;
/** How long the last step waits for the writer and readers to leave. */
const RESTART_WAIT_MS = 1000;
const CACHE_KIB = 256;

/** By path: the connection, and the file it is connected to. */
const connections = new Map();

parentPort.on('message', (request) => {
  if (request.kind === 'release') return release(request.path);
  try {
    parentPort.postMessage({ id: request.id, complete: checkpoint(connection(request.path)) });
  } catch (error) {
    if (error.code?.startsWith('SQLITE_BUSY')) {
      parentPort.postMessage({ id: request.id, complete: false });
      return;
    }
    release(request.path);
    const code = error.code ?? 'internal';
    parentPort.postMessage({
      id: request.id,
      complete: false,
      error: { message: error.message, code },
    });
  }
});

function connection(path) {
  const file = fileAt(path);
  const open = connections.get(path);
  if (open !== undefined && open.file === file) return open.db;
  // Replaced under us: a checkpoint of the file that was deleted would claim what is not so.
  release(path);
  const db = new BetterSqlite(path, { timeout: RESTART_WAIT_MS, fileMustExist: true });
  db.pragma('synchronous = NORMAL');
  db.pragma('wal_autocheckpoint = 0');
  db.pragma(`cache_size = ${-CACHE_KIB}`);
  connections.set(path, { db, file });
  return db;
}

/** A number can't be given to another file while we have this one open. */
function fileAt(path) {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev}:${stats.ino}`;
}

function release(path) {
  connections.get(path)?.db.close();
  connections.delete(path);
}

function checkpoint(db) {
  let [result] = db.pragma('wal_checkpoint(PASSIVE)');
  const complete = result.busy === 0 && result.checkpointed === result.log;
  if (result.log * PAGE_BYTES < RESTART_BYTES) return complete;
  for (let round = 1; round < MAX_ROUNDS && result.busy === 0; round++) {
    [result] = db.pragma('wal_checkpoint(PASSIVE)');
  }
  const [restarted] = db.pragma('wal_checkpoint(TRUNCATE)');
  return complete || restarted.busy === 0;
}
