/**
 * What every implementation of the effects promises, as tests: env/node and env/sim run the same ones,
 * so that what holds in the simulator holds on a real machine.
 */
import { describe, expect, it } from 'vitest';
import { rejectedCode, thrownCode } from '#base/testing/thrown.ts';
import type { Env, Socket } from './env.ts';

export interface EnvUnderTest {
  /** Runs a test with a fresh environment and an empty folder. */
  run(test: (env: Env, folder: string) => Promise<void>): Promise<void>;
  /** What `listen` and `connect` use. */
  readonly host: string;
}

export function testEnv(under: EnvUnderTest): void {
  describe('clock', () => testClock(under));
  describe('random', () => testRandom(under));
  describe('files', () => testFiles(under));
  describe('names', () => testNames(under));
  describe('databases', () => testDatabases(under));
  describe('network', () => testNetwork(under));
}

function testClock({ run }: EnvUnderTest): void {
  it('a timer fires once, not early, and not inside the call', () =>
    run(async ({ clock }) => {
      const start = clock.monotonicMs();
      let fired = 0;
      await new Promise<void>((resolve) => {
        clock.setTimer(5, () => {
          fired++;
          resolve();
        });
        expect(fired).toBe(0);
      });
      expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(5);
      await clock.sleep(10);
      expect(fired).toBe(1);
    }));

  it('a cancelled timer never fires', () =>
    run(async ({ clock }) => {
      let fired = false;
      clock
        .setTimer(2, () => {
          fired = true;
        })
        .cancel();
      await clock.sleep(10);
      expect(fired).toBe(false);
    }));

  it('a timer of more than 2^31 ms does not fire at once', () =>
    run(async ({ clock }) => {
      let fired = false;
      const timer = clock.setTimer(2 ** 32, () => {
        fired = true;
      });
      await clock.sleep(5);
      timer.cancel();
      expect(fired).toBe(false);
    }));

  it('a sleep rejects with the reason of its signal', () =>
    run(async ({ clock }) => {
      const controller = new AbortController();
      clock.setTimer(1, () => controller.abort(new Error('enough')));
      await expect(clock.sleep(60_000, controller.signal)).rejects.toThrow('enough');
      await expect(clock.sleep(1, controller.signal)).rejects.toThrow('enough');
    }));

  it('deferred tasks run later, in order', () =>
    run(async ({ clock }) => {
      const order: number[] = [];
      await new Promise<void>((resolve) => {
        clock.defer(() => order.push(1));
        clock.defer(() => order.push(2));
        clock.defer(resolve);
        order.push(0);
      });
      expect(order).toEqual([0, 1, 2]);
    }));

  it('wall time is in microseconds and moves with monotonic time', () =>
    run(async ({ clock }) => {
      const wall = clock.wallMicros();
      expect(Number.isSafeInteger(wall)).toBe(true);
      expect(wall).toBeGreaterThan(1_600_000_000_000_000);
      // A process may lose the processor between two readings: the best of several counts.
      const between = (): number => clock.wallMicros() - clock.monotonicMs() * 1000;
      let apart = Number.POSITIVE_INFINITY;
      for (let tries = 0; tries < 50 && apart >= 10_000; tries++) {
        const start = between();
        await clock.sleep(20);
        apart = Math.abs(between() - start);
      }
      expect(apart).toBeLessThan(10_000);
    }));
}

function testRandom({ run }: EnvUnderTest): void {
  it('draws bytes of any length, all different', () =>
    run(async ({ random }) => {
      const seen = new Set<string>();
      for (let i = 0; i < 1000; i++) seen.add(random.bytes(8).toString('hex'));
      expect(seen.size).toBe(1000);
      for (const length of [0, 1, 3, 5, 1024, 5000]) {
        expect(random.bytes(length).length).toBe(length);
      }
    }));

  it('draws integers and floats evenly within their bounds', () =>
    run(async ({ random }) => {
      const counts = [0, 0, 0, 0, 0];
      let sum = 0;
      for (let i = 0; i < 5000; i++) {
        counts[random.integer(5)]!++;
        const value = random.float();
        expect(value >= 0 && value < 1).toBe(true);
        sum += value;
      }
      for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(200);
      expect(Math.abs(sum / 5000 - 0.5)).toBeLessThan(0.03);
      expect(random.integer(1)).toBe(0);
      expect(random.integer(2 ** 32)).toBeLessThan(2 ** 32);
    }));
}

function testFiles({ run }: EnvUnderTest): void {
  it('writes gathered parts at a position and reads them back', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      await file.write(3, [Buffer.from('one'), Buffer.alloc(0), Buffer.from('two')]);
      await file.sync();
      expect(await file.size()).toBe(9);
      expect(await file.read(0, 9)).toEqual(Buffer.from('\0\0\0onetwo'));
      expect(file.readSync(6, 3).toString()).toBe('two');
      await file.close();
      expect((await disk.read(`${folder}/a`)).length).toBe(9);
    }));

  it('reads fewer bytes than asked only at the end of the file', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      await file.write(0, [Buffer.alloc(300_000, 7)]);
      expect((await file.read(299_990, 100)).length).toBe(10);
      expect((await file.read(300_000, 1)).length).toBe(0);
      expect(file.readSync(400_000, 5).length).toBe(0);
      await file.close();
    }));

  it('writes more parts than one system call takes', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      const parts = Array.from({ length: 3000 }, (_, i) => Buffer.from([i & 0xff, i >> 8]));
      await file.write(0, parts);
      expect(await file.read(0, 6000)).toEqual(Buffer.concat(parts));
      await file.close();
    }));

  it.each([1, 4096, 4097, 100_000, 3_000_001])('writes a stream of %i bytes in pieces', (length) =>
    run(async ({ disk }, folder) => {
      const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >> 11)) & 0xff));
      const file = await disk.createStream(`${folder}/s`);
      let at = 0;
      for (let step = 1; at < length; step = step * 3 + 1) {
        const end = Math.min(length, at + step);
        const middle = Math.floor((at + end) / 2);
        await file.append([bytes.subarray(at, middle), bytes.subarray(middle, end)]);
        at = end;
      }
      await file.flush();
      await file.sync();
      await file.close();
      expect((await disk.read(`${folder}/s`)).equals(bytes)).toBe(true);
      expect(await rejectedCode(disk.createStream(`${folder}/s`))).toBe('EEXIST');
    }),
  );

  it('scans any range of a file, to its end and no further', () =>
    run(async ({ disk }, folder) => {
      const bytes = Buffer.from(
        Array.from({ length: 2_500_001 }, (_, i) => (i * 13 + (i >> 9)) & 0xff),
      );
      const written = await disk.open(`${folder}/a`, 'create');
      await written.write(0, [bytes]);
      await written.close();
      const file = await disk.openScan(`${folder}/a`);
      for (const [position, length] of [
        [0, 1],
        [4095, 2],
        [4096, 8192],
        [100, 2_400_000],
        [2_499_000, 5000],
        [2_500_001, 10],
        [9_000_000, 1],
      ] as const) {
        const found = await file.read(position, length);
        expect(found.equals(bytes.subarray(position, position + length))).toBe(true);
      }
      await file.close();
      expect(await rejectedCode(disk.openScan(`${folder}/none`))).toBe('ENOENT');
    }));

  it('writes many streams at once with a bounded number of buffers', () =>
    run(async ({ disk }, folder) => {
      const bodies = Array.from({ length: 30 }, (_, i) => Buffer.alloc(50_000 + i, i));
      await Promise.all(
        bodies.map(async (body, i) => {
          const file = await disk.createStream(`${folder}/s${i}`);
          for (let at = 0; at < body.length; at += 7000)
            await file.append([body.subarray(at, at + 7000)]);
          await file.flush();
          await file.sync();
          await file.close();
        }),
      );
      for (const [i, body] of bodies.entries())
        expect((await disk.read(`${folder}/s${i}`)).equals(body)).toBe(true);
    }));

  it('truncates, and what is extended again is zero', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      await file.write(0, [Buffer.from('abcdef')]);
      await file.truncate(2);
      await file.truncate(4);
      expect(await file.read(0, 10)).toEqual(Buffer.from('ab\0\0'));
      await file.close();
    }));

  it('opens what exists, creates only what does not', () =>
    run(async ({ disk }, folder) => {
      const path = `${folder}/a`;
      expect(await rejectedCode(disk.open(path, 'read'))).toBe('ENOENT');
      expect(await rejectedCode(disk.open(path, 'write'))).toBe('ENOENT');
      await (await disk.open(path, 'create')).close();
      expect(await rejectedCode(disk.open(path, 'create'))).toBe('EEXIST');
      const file = await disk.open(path, 'read');
      expect(await rejectedCode(file.write(0, [Buffer.from('x')]))).toBe('EBADF');
      await file.close();
    }));

  it('a closed file refuses everything', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      await file.close();
      expect(await rejectedCode(file.write(0, [Buffer.from('x')]))).toBe('EBADF');
      expect(await rejectedCode(file.read(0, 1))).toBe('EBADF');
      expect(await rejectedCode(file.sync())).toBe('EBADF');
      expect(thrownCode(() => file.readSync(0, 1))).toBe('EBADF');
      await file.close();
    }));

  it('operations under way when a file is closed still finish', () =>
    run(async ({ disk }, folder) => {
      const file = await disk.open(`${folder}/a`, 'create');
      const writes = Array.from({ length: 20 }, (_, i) => file.write(i * 4, [Buffer.alloc(4, i)]));
      const closed = file.close();
      await Promise.all([...writes, closed]);
      expect((await disk.read(`${folder}/a`)).length).toBe(80);
    }));
}

function testNames({ run }: EnvUnderTest): void {
  it('lists sorted names, makes missing folders, removes trees', () =>
    run(async ({ disk }, folder) => {
      await disk.mkdir(`${folder}/x/y/z`);
      await disk.mkdir(`${folder}/x/y/z`);
      await disk.replace(`${folder}/x/b`, Buffer.from('b'));
      await disk.replace(`${folder}/x/a`, Buffer.from('a'));
      expect(await disk.list(`${folder}/x`)).toEqual(['a', 'b', 'y']);
      expect(await rejectedCode(disk.list(`${folder}/none`))).toBe('ENOENT');
      await disk.removeTree(`${folder}/x`);
      await disk.removeTree(`${folder}/x`);
      expect(await disk.list(folder)).toEqual([]);
    }));

  it('replaces a file as a whole and leaves no temporary one', () =>
    run(async ({ disk }, folder) => {
      const path = `${folder}/a`;
      await disk.replace(path, Buffer.from('first'));
      const before = disk.statSync(path)!;
      disk.replaceSync(path, Buffer.from('second'), 0o600);
      expect((await disk.read(path)).toString()).toBe('second');
      expect(disk.statSync(path)!.identity).not.toBe(before.identity);
      expect(await disk.list(folder)).toEqual(['a']);
      expect(await rejectedCode(disk.replace(`${folder}/no/a`, Buffer.from('x')))).toBe('ENOENT');
    }));

  it('renames over another file, unlinks, and says what is missing', () =>
    run(async ({ disk }, folder) => {
      await disk.replace(`${folder}/a`, Buffer.from('a'));
      await disk.replace(`${folder}/b`, Buffer.from('b'));
      await disk.rename(`${folder}/a`, `${folder}/b`);
      await disk.syncDirectory(folder);
      expect((await disk.read(`${folder}/b`)).toString()).toBe('a');
      await disk.unlink(`${folder}/b`);
      expect(await rejectedCode(disk.unlink(`${folder}/b`))).toBe('ENOENT');
      expect(await rejectedCode(disk.read(`${folder}/b`))).toBe('ENOENT');
      expect(await rejectedCode(disk.rename(`${folder}/b`, `${folder}/c`))).toBe('ENOENT');
    }));

  it('stat tells what is there; a recreated file is another one', () =>
    run(async ({ disk }, folder) => {
      const path = `${folder}/a`;
      expect(await disk.stat(path)).toBeUndefined();
      expect(disk.statSync(`${path}/below`)).toBeUndefined();
      await disk.replace(path, Buffer.from('abc'));
      expect(disk.statSync(`${path}/below-a-file`)).toBeUndefined();
      const first = await disk.stat(path);
      expect(first).toMatchObject({ kind: 'file', size: 3 });
      expect(first!.fileSystem).toBe(disk.statSync(folder)!.fileSystem);
      const file = await disk.open(path, 'read');
      expect(await file.stat()).toMatchObject({ identity: first!.identity, size: 3 });
      await disk.unlink(path);
      await disk.replace(path, Buffer.from('abc'));
      expect((await disk.stat(path))!.identity).not.toBe(first!.identity);
      expect((await file.read(0, 3)).toString()).toBe('abc');
      await file.close();
      expect(disk.statSync(folder)!.kind).toBe('directory');
    }));

  it('tells the space', () =>
    run(async ({ disk }, folder) => {
      const { totalBytes, freeBytes } = await disk.space(folder);
      expect(totalBytes).toBeGreaterThan(0);
      expect(freeBytes).toBeGreaterThan(0);
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    }));
}

function testDatabases({ run }: EnvUnderTest): void {
  it('keeps what was committed, across a close', () =>
    run(async ({ disk }, folder) => {
      const first = disk.openDatabase(`${folder}/a.db`);
      first.exec('CREATE TABLE t (k TEXT PRIMARY KEY, v BLOB)');
      first.prepare('INSERT INTO t VALUES (?, ?)').run('a', Buffer.from([1, 2]));
      first.pragma('user_version = 7');
      first.close();
      const second = disk.openDatabase(`${folder}/a.db`);
      expect(second.prepare('SELECT * FROM t').all()).toEqual([{ k: 'a', v: Buffer.from([1, 2]) }]);
      expect(second.pragma('user_version')).toEqual([{ user_version: 7 }]);
      second.close();
      expect(thrownCode(() => second.prepare('SELECT 1').get())).not.toBe('none');
    }));

  it('rolls a transaction back when its body throws, a nested one alone', () =>
    run(async ({ disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`);
      db.exec('CREATE TABLE t (k INTEGER PRIMARY KEY)');
      const insert = db.prepare('INSERT INTO t VALUES (?)');
      const fail = (k: number): never => {
        insert.run(k);
        throw new Error('no');
      };
      expect(() => db.transaction(() => fail(1))).toThrow('no');
      const result = db.transaction(() => {
        insert.run(2);
        expect(() => db.transaction(() => fail(3))).toThrow('no');
        db.transaction(() => insert.run(4));
        return 'done';
      });
      expect(result).toBe('done');
      expect(db.prepare<number>('SELECT k FROM t').pluck().all()).toEqual([2, 4]);
      db.close();
    }));

  it('statements of one text do not disturb each other', () =>
    run(async ({ disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`);
      db.exec('CREATE TABLE t (k INTEGER); INSERT INTO t VALUES (1), (2), (3)');
      const sql = 'SELECT k FROM t ORDER BY k';
      const rows = db.prepare<{ k: number }>(sql);
      const keys = db.prepare<number>(sql).pluck();
      expect(db.prepare<number[]>(sql).raw().get()).toEqual([1]);
      const seen: number[] = [];
      for (const row of rows.iterate()) seen.push(row.k, ...keys.all(), rows.get()!.k);
      expect(seen).toEqual([1, 1, 2, 3, 1, 2, 1, 2, 3, 1, 3, 1, 2, 3, 1]);
      expect(rows.all()).toHaveLength(3);
      db.close();
    }));

  it('a checkpoint completes, and the database goes on', () =>
    run(async ({ clock, disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`, { durable: true, cacheKiB: 512 });
      db.exec('CREATE TABLE t (k INTEGER)');
      const insert = db.prepare('INSERT INTO t VALUES (?)');
      db.transaction(() => {
        for (let i = 0; i < 1000; i++) insert.run(i);
      });
      let complete = false;
      for (let i = 0; i < 20 && !complete; i++) {
        complete = await db.checkpoint();
        if (!complete) await clock.sleep(5);
      }
      expect(complete).toBe(true);
      insert.run(1000);
      expect(db.prepare<number>('SELECT count(*) FROM t').pluck().get()).toBe(1001);
      db.close();
    }));

  it('a second look reads what was committed, and can change nothing', () =>
    run(async ({ disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`);
      db.exec('CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT); CREATE INDEX t_v ON t (v)');
      db.exec("INSERT INTO t VALUES (1, 'one')");
      const look = disk.openDatabase(`${folder}/a.db`, { readOnly: true });
      expect(look.prepare<string>('SELECT v FROM t').pluck().all()).toEqual(['one']);
      look.close();
      expect(await db.verify()).toBeUndefined();
      db.exec("INSERT INTO t VALUES (2, 'two')");
      expect(db.prepare<number>('SELECT count(*) FROM t').pluck().get()).toBe(2);
      db.close();
    }));

  it('verify tells of a damaged page, whatever the writing connection remembers', () =>
    run(async ({ disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`);
      db.exec('CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)');
      db.transaction(() => {
        const insert = db.prepare('INSERT INTO t VALUES (?, ?)');
        for (let i = 0; i < 500; i++) insert.run(i, 'v'.repeat(50));
      });
      db.close();
      const bytes = await disk.read(`${folder}/a.db`);
      bytes.fill(0xff, 8192, 8292);
      await disk.replace(`${folder}/a.db`, bytes);
      const damaged = disk.openDatabase(`${folder}/a.db`);
      expect(await damaged.verify()).toEqual(expect.any(String));
      damaged.close();
    }));

  it('refuses a file that is no database', () =>
    run(async ({ disk }, folder) => {
      await disk.replace(`${folder}/a.db`, Buffer.alloc(8192, 'x'));
      expect(thrownCode(() => disk.openDatabase(`${folder}/a.db`))).toBe('SQLITE_NOTADB');
      expect(thrownCode(() => disk.openDatabase(`${folder}/none/a.db`))).not.toBe('none');
    }));

  it('reports a constraint by SQLite code', () =>
    run(async ({ disk }, folder) => {
      const db = disk.openDatabase(`${folder}/a.db`);
      db.exec('CREATE TABLE t (k INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)');
      const again = db.prepare('INSERT INTO t VALUES (1)');
      expect(thrownCode(() => again.run())).toBe('SQLITE_CONSTRAINT_PRIMARYKEY');
      db.close();
    }));
}

/** A listener, and the two ends of a connection to it. */
async function connectedPair(env: Env, host: string, delayMs?: number) {
  const accepted = Promise.withResolvers<Socket>();
  const listener = await env.network.listen({ host, port: 0 }, accepted.resolve);
  const client = await env.network.connect(listener.address, { delayMs });
  return { listener, client, server: await accepted.promise };
}

function closed(socket: Socket): Promise<Error | undefined> {
  return new Promise((resolve) => {
    socket.onClose = resolve;
  });
}

/** Resolves with the first `length` bytes. */
function received(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let total = 0;
    socket.onData = (bytes) => {
      chunks.push(bytes);
      total += bytes.length;
      if (total >= length) resolve(Buffer.concat(chunks));
    };
  });
}

function testNetwork({ run, host }: EnvUnderTest): void {
  for (const delayMs of [undefined, 10]) {
    it(`bytes arrive whole and in order, both ways (delay ${delayMs})`, () =>
      run(async (env) => {
        const { client, server, listener } = await connectedPair(env, host, delayMs);
        const sent = env.random.bytes(1_000_000);
        const got = received(server, sent.length);
        for (let at = 0; at < sent.length; at += 9999) client.write(sent.subarray(at, at + 9999));
        expect((await got).equals(sent)).toBe(true);
        const start = env.clock.monotonicMs();
        const reply = received(client, 5);
        server.cork();
        server.write(Buffer.from('he'));
        server.write(Buffer.from('llo'));
        server.uncork();
        expect((await reply).toString()).toBe('hello');
        if (delayMs) expect(env.clock.monotonicMs() - start).toBeGreaterThanOrEqual(delayMs - 1);
        const ends = Promise.all([closed(client), closed(server)]);
        client.end();
        expect(await ends).toEqual([undefined, undefined]);
        await listener.close();
      }));

    it(`what was written before end() arrives (delay ${delayMs})`, () =>
      run(async (env) => {
        const { client, server, listener } = await connectedPair(env, host, delayMs);
        const got = received(server, 3_000_000);
        client.write(Buffer.alloc(3_000_000, 1));
        client.end();
        expect((await got).length).toBe(3_000_000);
        await closed(server);
        await listener.close();
      }));

    it(`a reader that pauses stops the writer, who is told when to go on (delay ${delayMs})`, () =>
      run(async (env) => {
        const { client, server, listener } = await connectedPair(env, host, delayMs);
        let got = 0;
        server.onData = (bytes) => {
          got += bytes.length;
        };
        server.pause();
        const chunk = Buffer.alloc(256 * 1024);
        let sent = 0;
        while (client.write(chunk) && sent < 500) {
          sent++;
          await env.clock.sleep(delayMs ? 1 : 0);
        }
        sent++;
        expect(sent).toBeLessThan(500);
        await env.clock.sleep(50);
        expect(client.bufferedBytes).toBeGreaterThan(0);
        const drained = new Promise<void>((resolve) => {
          client.onDrain = resolve;
        });
        server.resume();
        await drained;
        while (got < sent * chunk.length) await env.clock.sleep(5);
        expect(got).toBe(sent * chunk.length);
        expect(client.bufferedBytes).toBe(0);
        client.destroy();
        await closed(server);
        await listener.close();
      }));

    it(`both ends learn of a destroyed connection, once (delay ${delayMs})`, () =>
      run(async (env) => {
        const { client, server, listener } = await connectedPair(env, host, delayMs);
        let calls = 0;
        client.onClose = () => {
          calls++;
        };
        server.onData = () => undefined;
        const gone = closed(server);
        client.destroy();
        client.destroy();
        expect(calls).toBe(0);
        await gone;
        await env.clock.sleep(30);
        expect(calls).toBe(1);
        expect(client.write(Buffer.from('x'))).toBe(false);
        await listener.close();
      }));
  }

  it('nothing is lost before onData is set', () =>
    run(async (env) => {
      const { client, server, listener } = await connectedPair(env, host);
      client.write(Buffer.from('early'));
      await env.clock.sleep(20);
      expect((await received(server, 5)).toString()).toBe('early');
      client.destroy();
      await listener.close();
    }));

  it('a port where nobody listens refuses; a taken one cannot be taken', () =>
    run(async (env) => {
      const { client, listener } = await connectedPair(env, host);
      const again = env.network.listen(listener.address, () => undefined);
      expect(await rejectedCode(again)).toBe('EADDRINUSE');
      await listener.close();
      expect(await rejectedCode(env.network.connect(listener.address))).toBe('ECONNREFUSED');
      client.destroy();
      const reopened = await env.network.listen(listener.address, () => undefined);
      expect(reopened.address).toEqual(listener.address);
      await reopened.close();
    }));
}
