/**
 * One integrity check of one database, then the thread ends. Plain JavaScript for the reason that
 * checkpointer.ts gives.
 */
import { parentPort, workerData } from 'node:worker_threads';
import BetterSqlite from 'better-sqlite3';

const CACHE_KIB = 1024;

function problemOf(path) {
  const db = new BetterSqlite(path, { readonly: true, fileMustExist: true, timeout: 5000 });
  try {
    db.pragma(`cache_size = ${-CACHE_KIB}`);
    const found = db.pragma('integrity_check(1)', { simple: true });
    return found === 'ok' ? undefined : String(found);
  } finally {
    db.close();
  }
}

try {
  parentPort.postMessage({ problem: problemOf(workerData.path) });
} catch (error) {
  const code = String(error.code ?? 'internal');
  const isDamage = code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT');
  parentPort.postMessage(isDamage ? { problem: error.message } : { error: error.message, code });
}
