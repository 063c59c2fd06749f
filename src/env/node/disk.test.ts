import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { dropWritten, NodeFile } from './file.ts';
import { createNodeEnv } from './node-env.ts';

const folder = mkdtempSync(join(tmpdir(), 'anello-disk-'));
const env = createNodeEnv({ logLevel: 'silent' });
const { disk } = env;

afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true });
});

describe('files of node', () => {
  it('what a short write left over is written next', () => {
    const parts = ['abc', 'defg', 'h'].map((text) => Buffer.from(text));
    const rest = (count: number): string => Buffer.concat(dropWritten(parts, count)).toString();
    for (let count = 0; count <= 8; count++) expect(rest(count)).toBe('abcdefgh'.slice(count));
    expect(dropWritten(parts, 7)).toHaveLength(1);
  });

  it.skipIf(!existsSync('/dev/full'))('a full device says ENOSPC', async () => {
    const file = await disk.open('/dev/full', 'write');
    await expect(file.write(0, [Buffer.from('x')])).rejects.toMatchObject({ code: 'ENOSPC' });
    await file.close();
  });

  it('a bad descriptor rejects, and is closed only once', async () => {
    const file = new NodeFile('/nowhere', 1_000_000);
    await expect(file.sync()).rejects.toMatchObject({ code: 'EBADF' });
    const outcomes = await Promise.allSettled([file.close(), file.close()]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected']);
  });

  it('permissions of a replaced file are as asked', async () => {
    await disk.replace(join(folder, 'secret'), Buffer.from('s'), 0o600);
    expect(statSync(join(folder, 'secret')).mode & 0o777).toBe(0o600);
  });
});

describe('databases of node', () => {
  const open = (name: string) => {
    const db = disk.openDatabase(join(folder, name));
    db.exec('CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB)');
    return db;
  };

  it('a WAL that grew under a busy writer starts over at a checkpoint', async () => {
    const db = open('wal.db');
    const insert = db.prepare('INSERT OR REPLACE INTO t VALUES (?, ?)');
    const value = Buffer.alloc(4000);
    const walBytes = (): number => statSync(join(folder, 'wal.db-wal')).size;
    let most = 0;
    for (let round = 0; round < 12; round++) {
      const checkpoint = db.checkpoint();
      for (let i = 0; i < 20; i++) {
        db.transaction(() => {
          for (let k = 0; k < 50; k++) insert.run(i * 50 + k, value);
        });
        await new Promise((resolve) => setImmediate(resolve));
      }
      await checkpoint;
      most = Math.max(most, walBytes());
    }
    expect(most).toBeLessThan(60 * 1024 * 1024);
    expect(await db.checkpoint()).toBe(true);
    db.close();
  });

  it('a checkpoint that a reader holds up says so, and the next one completes', async () => {
    const db = open('held.db');
    const other = open('held.db');
    db.prepare('INSERT INTO t (v) VALUES (?)').run('a');
    const reading = other.prepare('SELECT * FROM t').iterate();
    reading.next();
    db.prepare('INSERT INTO t (v) VALUES (?)').run('b');
    expect(await db.checkpoint()).toBe(false);
    reading.return?.();
    expect(await db.checkpoint()).toBe(true);
    db.close();
    other.close();
  });

  it('a checkpoint of a database that is gone rejects; the thread goes on for the others', async () => {
    const lost = disk.openDatabase(join(folder, 'lost.db'));
    rmSync(join(folder, 'lost.db'));
    expect(await lost.checkpoint().catch(codeOf)).toMatch(/^SQLITE_CANTOPEN/);
    const db = open('other.db');
    expect(await db.checkpoint()).toBe(true);
    db.close();
    lost.close();
  });

  it('a checkpoint never speaks of a database that was replaced under it', async () => {
    const old = open('replaced.db');
    old.prepare('INSERT INTO t (v) VALUES (?)').run('old');
    expect(await old.checkpoint()).toBe(true);
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(folder, `replaced.db${suffix}`));
    const fresh = open('replaced.db');
    fresh.prepare('INSERT INTO t (v) VALUES (?)').run('new');
    expect(await fresh.checkpoint()).toBe(true);
    const copy = join(folder, 'replaced-copy.db');
    await disk.replace(copy, await disk.read(join(folder, 'replaced.db')));
    const found = disk.openDatabase(copy);
    expect(found.prepare('SELECT v FROM t').pluck().all()).toEqual(['new']);
    for (const db of [found, fresh, old]) db.close();
  });

  it('several processes write one database', async () => {
    const script = `
      import { createNodeEnv } from ${JSON.stringify(new URL('./node-env.ts', import.meta.url).href)};
      const env = createNodeEnv({ logLevel: 'silent' });
      const db = env.disk.openDatabase(process.argv[1], { durable: true });
      db.pragma('busy_timeout = 120000'); // Whose turn it is, SQLite leaves to chance.
      db.exec('CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB)');
      const insert = db.prepare('INSERT INTO t (v) VALUES (?)');
      for (let i = 0; i < 100; i++) db.transaction(() => insert.run(String(process.pid)));
      await db.checkpoint();
    `;
    const path = join(folder, 'shared.db');
    const runs = Array.from({ length: 3 }, () => {
      const child = spawn(
        process.execPath,
        ['--input-type=module-typescript', '-e', script, path],
        {
          stdio: 'inherit',
        },
      );
      return new Promise((resolve) => child.on('exit', resolve));
    });
    // Each of them also ends by itself: an idle checkpoint thread keeps no process alive.
    expect(await Promise.all(runs)).toEqual([0, 0, 0]);
    const db = disk.openDatabase(path);
    expect(db.prepare('SELECT count(*), count(DISTINCT v) FROM t').raw().get()).toEqual([300, 3]);
    db.close();
  });
});
