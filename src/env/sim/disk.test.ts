import { describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import type { DiskFile, Env } from '../env.ts';
import type { Machine } from './machine.ts';
import { SimWorld } from './world.ts';

type Body = (machine: Machine, env: Env, world: SimWorld) => Promise<void>;

async function simulate(body: Body, seed = 1): Promise<void> {
  const world = new SimWorld({ seed });
  const machine = world.machine('n1');
  const whole = async (): Promise<void> => {
    await machine.env.disk.mkdir('/d');
    await body(machine, machine.env, world);
  };
  await world.run(whole());
}

async function create(env: Env, path: string, text: string): Promise<DiskFile> {
  const file = await env.disk.open(path, 'create');
  await file.write(0, [Buffer.from(text)]);
  return file;
}

/** The outcomes of one scenario over many seeds. */
async function outcomes(scenario: (seed: number) => Promise<string>): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) seen.add(await scenario(seed));
  return seen;
}

describe('simulated disk: a power failure', () => {
  it('keeps what was synced, in a folder that was synced', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', 'synced');
      await file.sync();
      await env.disk.syncDirectory('/d');
      await file.write(0, [Buffer.from('UNSYNCED AND LONGER')]);
      machine.crash('lost');
      const { disk } = machine.restart();
      expect((await disk.read('/d/a')).toString()).toBe('synced');
    }));

  it('loses a name whose folder was not synced, though the file was', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', 'x');
      await file.sync();
      machine.crash('lost');
      expect(await machine.restart().disk.list('/d')).toEqual([]);
    }));

  it('takes a rename back, both halves of it, unless a folder was synced', () =>
    simulate(async (machine, env) => {
      await env.disk.mkdir('/d/sub');
      await env.disk.replace('/d/a', Buffer.from('a'));
      await env.disk.rename('/d/a', '/d/sub/b');
      machine.crash('lost');
      const { disk } = machine.restart();
      expect(await disk.list('/d')).toEqual(['a', 'sub']);
      await disk.rename('/d/a', '/d/sub/b');
      await disk.syncDirectory('/d/sub');
      machine.crash('lost');
      const again = machine.restart().disk;
      expect(await again.list('/d')).toEqual(['sub']);
      expect((await again.read('/d/sub/b')).toString()).toBe('a');
    }));

  it('never brings an unlinked and synced name back', async () => {
    const seen = await outcomes(async (seed) => {
      let names: string[] = [];
      await simulate(async (machine, env) => {
        const file = await create(env, '/d/a', 'a');
        await env.disk.rename('/d/a', '/d/b');
        await env.disk.unlink('/d/b');
        await env.disk.syncDirectory('/d');
        await file.close();
        machine.crash();
        names = await machine.restart().disk.list('/d');
      }, seed);
      return names.join();
    });
    expect([...seen]).toEqual(['']);
  });

  it('leaves a replaced file old or new, never torn', async () => {
    const seen = await outcomes(async (seed) => {
      let text = '';
      await simulate(async (machine, env, world) => {
        await env.disk.replace('/d/a', Buffer.from('old'.repeat(3000)));
        void env.disk.replace('/d/a', Buffer.from('new'.repeat(3000)));
        world.schedule(0.5, 'power failure', () => machine.crash());
        await new Promise<void>((resolve) => world.schedule(1, 'wait', resolve));
        text = (await machine.restart().disk.read('/d/a')).toString();
      }, seed);
      expect(['old'.repeat(3000), 'new'.repeat(3000)]).toContain(text);
      return text.slice(0, 3);
    });
    expect([...seen].sort()).toEqual(['new', 'old']);
  });

  it('tears unsynced writes at sectors, in many ways, and never touches synced bytes', async () => {
    const seen = await outcomes(async (seed) => {
      let shape = '';
      await simulate(async (machine, env) => {
        const file = await create(env, '/d/a', 's'.repeat(5000));
        await file.sync();
        await env.disk.syncDirectory('/d');
        await file.write(5000, [Buffer.alloc(20_000, 'u')]);
        machine.crash();
        const text = (await machine.restart().disk.read('/d/a')).toString();
        expect(text.slice(0, 5000)).toBe('s'.repeat(5000));
        expect(text.slice(5000)).toMatch(/^[u\0]*$/);
        expect(text.length).toBeLessThanOrEqual(25_000);
        shape = text
          .slice(5000)
          .replace(/(.)\1*/g, (run) => `${run[0] === 'u' ? 'u' : '0'}${run.length} `);
      }, seed);
      return shape;
    });
    expect(seen.has('')).toBe(true);
    expect(seen.size).toBeGreaterThan(10);
  });

  it('a sync covers what was written before it began, not what came while it ran', async () => {
    const seen = await outcomes(async (seed) => {
      let text = '';
      await simulate(async (machine, env) => {
        machine.disk.settings = { ...machine.disk.settings, syncMs: 50 };
        const file = await create(env, '/d/a', 'before');
        await env.disk.syncDirectory('/d');
        const synced = file.sync();
        await file.write(0, [Buffer.from('during')]);
        await synced;
        machine.crash();
        text = (await machine.restart().disk.read('/d/a')).toString();
      }, seed);
      return text;
    });
    expect([...seen].sort()).toEqual(['before', 'during']);
  });

  it('a truncation that was not synced may be taken back', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', 'whole text');
      await file.sync();
      await env.disk.syncDirectory('/d');
      await file.truncate(3);
      expect(await file.size()).toBe(3);
      machine.crash('lost');
      expect((await machine.restart().disk.read('/d/a')).toString()).toBe('whole text');
    }));

  it('kill -9 loses nothing that was written', () =>
    simulate(async (machine, env) => {
      await create(env, '/d/a', 'written');
      machine.kill();
      expect((await machine.restart().disk.read('/d/a')).toString()).toBe('written');
    }));

  it('after a failed sync, a later good one does not make the lost pages durable', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', 'a');
      await env.disk.syncDirectory('/d');
      machine.disk.inject({
        operations: ['sync'],
        action: { kind: 'error', code: 'EIO' },
        times: 1,
      });
      expect(await rejectedCode(file.sync())).toBe('EIO');
      await file.sync();
      await file.write(4096, [Buffer.from('later')]);
      await file.sync();
      machine.crash('lost');
      const bytes = await machine.restart().disk.read('/d/a');
      expect(bytes.length).toBe(4101);
      expect(bytes[0]).toBe(0);
      expect(bytes.subarray(4096).toString()).toBe('later');
    }));
});

describe('simulated disk: faults', () => {
  it('errors by operation, path and number', () =>
    simulate(async (machine, env) => {
      await env.disk.replace('/d/a', Buffer.from('a'));
      const heal = machine.disk.inject({ path: '/d', action: { kind: 'error', code: 'EROFS' } });
      expect(await rejectedCode(env.disk.replace('/d/b', Buffer.from('b')))).toBe('EROFS');
      expect(() => env.disk.replaceSync('/d/b', Buffer.from('b'))).toThrow('EROFS');
      await env.disk.mkdir('/elsewhere');
      heal();
      machine.disk.inject({
        operations: ['read'],
        path: /a$/,
        action: { kind: 'error', code: 'EIO' },
        times: 2,
      });
      expect(await rejectedCode(env.disk.read('/d/a'))).toBe('EIO');
      expect(await rejectedCode(env.disk.read('/d/a'))).toBe('EIO');
      expect((await env.disk.read('/d/a')).toString()).toBe('a');
    }));

  it('a full disk takes what fits, then ENOSPC; freed space can be used again', () =>
    simulate(async (machine, env) => {
      machine.disk.settings = { ...machine.disk.settings, capacityBytes: 10_000 };
      const file = await env.disk.open('/d/a', 'create');
      await file.write(0, [Buffer.alloc(9000)]);
      expect(await rejectedCode(file.write(9000, [Buffer.alloc(5000)]))).toBe('ENOSPC');
      expect(await file.size()).toBe(10_000);
      expect((await env.disk.space('/d')).freeBytes).toBe(0);
      expect(await rejectedCode(env.disk.open('/d/b', 'create'))).toBe('ENOSPC');
      await env.disk.unlink('/d/a');
      await env.disk.replace('/d/b', Buffer.alloc(10_000));
    }));

  it('a flipped bit at rest stays; one on the way is gone at the next read', () =>
    simulate(async (machine, env) => {
      await env.disk.replace('/d/a', Buffer.alloc(100));
      machine.disk.inject({ operations: ['read'], action: { kind: 'flip' }, times: 1 });
      const file = await env.disk.open('/d/a', 'read');
      expect(file.readSync(0, 100).equals(Buffer.alloc(100))).toBe(false);
      expect(file.readSync(0, 100).equals(Buffer.alloc(100))).toBe(true);
      machine.disk.flipByte('/d/a', 50, 1);
      expect(file.readSync(50, 1)[0]).toBe(1);
      machine.crash('lost');
      expect((await machine.restart().disk.read('/d/a'))[50]).toBe(1);
    }));

  it('writes that land elsewhere, or nowhere, are reported done', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', '..........');
      const hit = { operations: ['write'], times: 1 } as const;
      machine.disk.inject({ ...hit, action: { kind: 'misdirect', shiftBytes: 4 } });
      await file.write(0, [Buffer.from('xx')]);
      machine.disk.inject({ ...hit, action: { kind: 'lose' } });
      await file.write(0, [Buffer.from('yy')]);
      expect((await file.read(0, 10)).toString()).toBe('....xx....');
    }));

  it('a slow disk is slow', () =>
    simulate(async (machine, env) => {
      machine.disk.inject({ action: { kind: 'delay', ms: 500 } });
      const start = env.clock.monotonicMs();
      await env.disk.list('/d');
      expect(env.clock.monotonicMs() - start).toBeGreaterThan(500);
    }));

  it('a wiped folder is another one, and open files write into deleted ones', () =>
    simulate(async (machine, env) => {
      const file = await create(env, '/d/a', 'a');
      const before = env.disk.statSync('/d')!;
      machine.disk.wipe('/d');
      await file.write(0, [Buffer.from('b')]);
      await file.sync();
      expect(env.disk.statSync('/d/a')).toBeUndefined();
      expect(env.disk.statSync('/d')!.identity).not.toBe(before.identity);
    }));

  it('an unmounted folder shows the empty one below, of another file system', () =>
    simulate(async (machine, env) => {
      await env.disk.mkdir('/srv/disk1');
      machine.disk.mount('/srv/disk1');
      await env.disk.replace('/srv/disk1/a', Buffer.from('a'));
      const mounted = env.disk.statSync('/srv/disk1')!;
      expect(env.disk.statSync('/srv/disk1/a')!.fileSystem).toBe(mounted.fileSystem);
      expect(mounted.fileSystem).not.toBe(env.disk.statSync('/srv')!.fileSystem);
      machine.disk.unmount('/srv/disk1');
      expect(await env.disk.list('/srv/disk1')).toEqual([]);
      expect(env.disk.statSync('/srv/disk1')!.fileSystem).not.toBe(mounted.fileSystem);
      machine.crash();
      machine.disk.mount('/srv/disk1');
      expect((await machine.restart().disk.read('/srv/disk1/a')).toString()).toBe('a');
    }));
});

describe('simulated databases', () => {
  const count = (env: Env): number => {
    const db = env.disk.openDatabase('/d/a.db');
    return db.prepare<number>('SELECT count(*) FROM t').pluck().get()!;
  };

  const fill = (env: Env, durable: boolean) => {
    const db = env.disk.openDatabase('/d/a.db', { durable });
    db.exec('CREATE TABLE IF NOT EXISTS t (k INTEGER PRIMARY KEY, v BLOB)');
    const insert = db.prepare('INSERT INTO t (v) VALUES (?)');
    const commit = (): void =>
      db.transaction(() => {
        insert.run(Buffer.from('one'));
        insert.run(Buffer.from('two'));
      });
    return { db, commit };
  };

  const checkpointed = async (machine: Machine, env: Env) => {
    machine.disk.settings = { ...machine.disk.settings, checkpointBusyProbability: 0 };
    const filled = fill(env, false);
    filled.commit();
    expect(await filled.db.checkpoint()).toBe(true);
    return filled;
  };

  it('a power failure goes back to the checkpoint or a commit since, never into one', async () => {
    const seen = await outcomes(async (seed) => {
      let rows = 0;
      await simulate(async (machine, env) => {
        const { commit } = await checkpointed(machine, env);
        for (let i = 0; i < 5; i++) commit();
        machine.crash();
        rows = count(machine.restart());
      }, seed);
      return String(rows);
    });
    expect([...seen].sort()).toEqual(['10', '12', '2', '4', '6', '8']);
  });

  it('a durable database loses no commit', async () => {
    const seen = await outcomes(async (seed) => {
      let rows = 0;
      await simulate(async (machine, env) => {
        const { commit } = fill(env, true);
        for (let i = 0; i < 5; i++) commit();
        machine.crash('lost');
        rows = count(machine.restart());
      }, seed);
      return String(rows);
    });
    expect([...seen]).toEqual(['10']);
  });

  it('kill -9 keeps every commit and rolls an open transaction back', () =>
    simulate(async (machine, env) => {
      const { db, commit } = fill(env, false);
      commit();
      db.exec('BEGIN');
      db.exec('DELETE FROM t');
      const reading = db.prepare('SELECT * FROM t UNION SELECT 9, 9').iterate();
      reading.next();
      machine.kill();
      expect(count(machine.restart())).toBe(2);
    }));

  it('what failed or was rolled back is not replayed', () =>
    simulate(async (machine, env) => {
      const { db, commit } = await checkpointed(machine, env);
      commit();
      expect(() =>
        db.transaction(() => {
          db.exec('DELETE FROM t');
          throw new Error('no');
        }),
      ).toThrow('no');
      db.transaction(() => {
        expect(() =>
          db.transaction(() => db.exec('DELETE FROM t; SELECT * FROM nowhere')),
        ).toThrow();
        db.prepare('INSERT INTO t (v) VALUES (?) RETURNING k').get('three');
      });
      expect(() => db.exec('DELETE FROM t WHERE k = 1; SELECT * FROM nowhere')).toThrow('nowhere');
      commit();
      machine.disk.revertDatabase('/d/a.db', 1);
      expect(count(env)).toBe(4);
    }));

  it('a very long history is cut by an image, and replay still ends at the same state', () =>
    simulate(async (machine, env) => {
      const { db, commit } = await checkpointed(machine, env);
      for (let i = 0; i < 12_000; i++) commit();
      const sum = 'SELECT sum(k) FROM t';
      const before = db.prepare(sum).pluck().get();
      commit();
      machine.disk.revertDatabase('/d/a.db', 1);
      expect(env.disk.openDatabase('/d/a.db').prepare(sum).pluck().get()).toBe(before);
    }));

  it('can be lost, damaged and reverted', () =>
    simulate(async (machine, env) => {
      const { db, commit } = fill(env, true);
      commit();
      commit();
      machine.disk.revertDatabase('/d/a.db', 1);
      expect(count(env)).toBe(2);
      machine.disk.flipByte('/d/a.db', 3);
      expect(() => env.disk.openDatabase('/d/a.db')).toThrow('not a database');
      machine.disk.lose('/d/a.db');
      expect(env.disk.statSync('/d/a.db')).toBeUndefined();
      db.exec('DELETE FROM t');
      expect(await rejectedCode(db.checkpoint())).toBe('SQLITE_CANTOPEN');
      expect(() => count(env)).toThrow('no such table');
    }));

  it('a full disk, an I/O error and a read-only one show as SQLite shows them', () =>
    simulate(async (machine, env) => {
      const { db, commit } = fill(env, false);
      for (const [code, shown] of [
        ['ENOSPC', 'SQLITE_FULL'],
        ['EIO', 'SQLITE_IOERR'],
        ['EROFS', 'SQLITE_READONLY'],
      ]) {
        const heal = machine.disk.inject({
          operations: ['database', 'checkpoint'],
          action: { kind: 'error', code: code! },
        });
        expect(() => commit()).toThrow(shown!);
        expect(await rejectedCode(db.checkpoint())).toBe(shown);
        heal();
      }
      commit();
      expect(count(env)).toBe(2);
    }));
});
