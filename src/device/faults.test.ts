/** Damage at rest, full and failing disks, folders that are taken away. */
import { describe, expect, it } from 'vitest';
import { newestTimestamp } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { rejectedCode } from '#base/testing/thrown.ts';
import { Health } from './health.ts';
import { formatDevice, type LogDevice } from './open.ts';
import type { StoredEntry } from './stored-entry.ts';
import {
  bytes,
  DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  readAll,
  withDevice,
} from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const SEGMENT = `${FOLDER}/log/00000001.seg`;

function blobPath(entry: StoredEntry): string {
  const { name } = entry.body as { name: string };
  return `${FOLDER}/blobs/${name.slice(5, 7)}/${name}`;
}

async function notes(fixture: DeviceFixture): Promise<string[]> {
  const names = await fixture.env.disk.list(`${FOLDER}/quarantine`);
  return names.filter((name) => name.endsWith('.json'));
}

async function markAll(device: LogDevice): Promise<void> {
  await device.completeness.mark(0, 0, 1 << 20, true);
}

describe('a flipped byte', () => {
  it('in the body of a record is never returned; the entry is known without a body', () =>
    withDevice(async (fixture, device) => {
      await markAll(device);
      await fixture.put(device, 1, bytes(5000));
      await fixture.put(device, 2, bytes(80_000));
      for (const [number, at] of [
        [1, 100],
        [2, 70_000],
      ] as const) {
        const entry = device.stat(keyOf(number))!;
        const { start } = entry.body as { start: number };
        fixture.machine.disk.flipByte(SEGMENT, start + at);
        expect(await rejectedCode(readAll(device, entry))).toBe('damaged');
        expect(device.stat(keyOf(number))).toMatchObject({ hasBody: false });
        expect(device.completeness.isComplete(0, keyOf(number).hash)).toBe(true);
      }
      expect(fixture.damage).toHaveLength(2);
      expect(device.digests.summarise(0, 0, 1 << 20, 1)[0]).toMatchObject({ live: 2, bodiless: 2 });
      await device.close();
      expect(await notes(fixture)).toHaveLength(2);
      const again = await fixture.open();
      expect(again.stat(keyOf(1))!.hasBody).toBe(false);
      expect(again.facts().quarantined).toBe(2);
      await again.close();
    }));

  it('in a small body is found by the read that waits for nothing, too', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(5000));
      const entry = device.stat(keyOf(1))!;
      fixture.machine.disk.flipByte(SEGMENT, (entry.body as { start: number }).start);
      expect(() => device.readSmall(entry)).toThrow('damaged');
      expect(() => device.readSmall(device.stat(keyOf(1))!)).toThrow('no body');
      await device.close();
    }));

  it('leaves the other blocks of a body readable', () =>
    withDevice(async (fixture, device) => {
      const body = bytes(1_000_000);
      await fixture.putStaged(device, 1, body);
      const entry = device.stat(keyOf(1))!;
      fixture.machine.disk.flipByte(blobPath(entry), 600_000);
      expectBytes(
        await readAll(device, entry, { start: 0, end: 400_000 }),
        body.subarray(0, 400_000),
      );
      expect(device.stat(keyOf(1))!.hasBody).toBe(true);
      expect(await rejectedCode(readAll(device, entry, { start: 599_999, end: 600_001 }))).toBe(
        'damaged',
      );
      expect(device.stat(keyOf(1))!.hasBody).toBe(false);
      await device.close();
    }));

  it('in the checksums of a blob, and a blob that is gone, are damage', () =>
    withDevice(async (fixture, device) => {
      for (const number of [1, 2]) await fixture.putStaged(device, number, bytes(300_000));
      const [one, two] = [device.stat(keyOf(1))!, device.stat(keyOf(2))!];
      fixture.machine.disk.flipByte(blobPath(one), 300_001);
      fixture.machine.disk.lose(blobPath(two));
      expect(await rejectedCode(readAll(device, one))).toBe('damaged');
      expect(await rejectedCode(readAll(device, two))).toBe('damaged');
      // The body comes again from another replica, and is good.
      const { state } = one;
      const repair = {
        key: keyOf(1),
        path: pathOf(1),
        state,
        unlisted: false,
        intent: 'join',
      } as const;
      const stage = await device.stage(keyOf(1));
      await stage.write(bytes(300_000));
      await stage.finish();
      await device.write({ ...repair, body: stage });
      expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(300_000));
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expectBytes(await readAll(rebuilt, rebuilt.stat(keyOf(1))!), bytes(300_000));
      await rebuilt.close();
    }));

  it('in a record head with good records behind it loses that record only, and completeness', () =>
    withDevice(async (fixture, device) => {
      await markAll(device);
      const writes = [1, 2, 3].map((number) => fixture.put(device, number, bytes(3000, number)));
      await Promise.all(writes); // one batch
      await fixture.put(device, 4, bytes(10));
      const { record } = device.stat(keyOf(2))!;
      await device.close();
      fixture.machine.disk.flipByte(SEGMENT, record.offset + 70);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect(rebuilt.opened).toMatchObject({ rebuilt: true, tailCut: false, damaged: 1 });
      expect(rebuilt.stat(keyOf(2))).toBeUndefined();
      for (const number of [1, 3]) {
        expectBytes(await readAll(rebuilt, rebuilt.stat(keyOf(number))!), bytes(3000, number));
      }
      expect(rebuilt.completeness.isComplete(0, keyOf(1).hash)).toBe(false);
      await rebuilt.close();
      const again = await fixture.open();
      expect(again.completeness.isComplete(0, keyOf(1).hash)).toBe(false);
      await again.close();
    }));

  it('in a batch header loses nothing: its records are checked each on its own', () =>
    withDevice(async (fixture, device) => {
      await markAll(device);
      for (const number of [1, 2, 3]) await fixture.put(device, number, bytes(3000, number));
      const { record } = device.stat(keyOf(2))!;
      await device.close();
      fixture.machine.disk.flipByte(SEGMENT, record.offset - 20);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect([1, 2, 3].map((number) => rebuilt.stat(keyOf(number)) !== undefined)).toEqual([
        true,
        true,
        true,
      ]);
      expect(rebuilt.opened).toMatchObject({ tailCut: false, damaged: 0 });
      expect(rebuilt.completeness.isComplete(0, keyOf(2).hash)).toBe(true);
      expect(rebuilt.audit.facts().suspects).toBe(1);
      await rebuilt.close();
    }));

  it('in the index does not stop the replay after a crash (simulator, seed 8)', async () => {
    for (let seed = 0; seed < 25; seed++) {
      const fixture = new DeviceFixture(`replay ${seed}`, { cacheEntries: 2 });
      const scenario = async (): Promise<void> => {
        await fixture.format();
        const first = await fixture.open();
        for (let number = 0; number < 40; number++) await fixture.put(first, number, bytes(20, 1));
        await first.close();
        const second = await fixture.open();
        for (let number = 0; number < 40; number++) await fixture.put(second, number, bytes(20, 2));
        fixture.machine.crash();
        fixture.machine.restart();
        // A crash may also take the whole file.
        const found = (await fixture.env.disk.stat(`${FOLDER}/index.db`)) !== undefined;
        if (found) fixture.machine.disk.flipByte(`${FOLDER}/index.db`);
        const device = await fixture.open();
        for (let number = 0; number < 40; number++)
          expectBytes(await readAll(device, device.stat(keyOf(number))!), bytes(20, 2));
        await device.close();
      };
      await fixture.world.run(scenario());
    }
  });

  it("in the index's schema rebuilds it; the device was refused for ever (simulator, seed 500083)", () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(20));
      await device.close();
      const file = `${FOLDER}/index.db`;
      const found = fixture.machine.disk.find(file);
      const image = (found as { database: { image(): Buffer } }).database.image();
      const place = image.indexOf('entry BLOB NOT NULL');
      expect(place).toBeGreaterThan(0);
      fixture.machine.disk.flipByte(file, place, 1);
      const again = await fixture.open();
      expect(again.opened.rebuilt).toBe(true);
      expectBytes(await readAll(again, again.stat(keyOf(1))!), bytes(20));
      await again.close();
    }));

  it('anywhere in the index is noticed; nothing wrong is answered, and a rebuild brings all back', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const fixture = new DeviceFixture(`index ${seed}`, { cacheEntries: 2 });
      const scenario = async (): Promise<void> => {
        await fixture.format();
        const first = await fixture.open();
        const states = new Map<number, string>();
        for (let number = 0; number < 40; number++) {
          await fixture.put(first, number, bytes(20, number));
          states.set(number, newestTimestamp(first.stat(keyOf(number))!.state));
        }
        await first.close();
        fixture.machine.disk.flipByte(`${FOLDER}/index.db`);
        for (let start = 0; start < 3; start++) {
          const device = await fixture.open();
          for (const [number, newest] of states) {
            try {
              const entry = device.stat(keyOf(number));
              expect(entry === undefined ? 'nothing' : newestTimestamp(entry.state)).toBe(newest);
              expectBytes(await readAll(device, entry!), bytes(20, number));
            } catch (error) {
              if (codeOf(error) !== 'device-failed') throw error;
            }
          }
          const { status } = device;
          await device.close();
          if (status === 'ok') return;
        }
        throw new Error('the index was not rebuilt');
      };
      await fixture.world.run(scenario());
    }
  });

  it('in device.json refuses the device', () =>
    withDevice(async (fixture, device) => {
      await device.close();
      fixture.machine.disk.flipByte(`${FOLDER}/device.json`, 40, 1);
      expect(await rejectedCode(fixture.open())).toBe('damaged');
    }));
});

describe('a disk that fails', () => {
  it('full: writes are refused, deletions and reads go on, and it recovers by itself', () =>
    withDevice(
      async (fixture, device) => {
        const { disk } = fixture.machine;
        await fixture.put(device, 1, bytes(3000));
        disk.settings = { ...disk.settings, capacityBytes: disk.usedBytes + 50_000 };
        while (device.status === 'ok') {
          await fixture.put(device, 2, bytes(9000)).catch(() => undefined); // one of them finds it full
          await fixture.env.clock.sleep(300);
        }
        expect(device.status).toBe('full');
        expect(await rejectedCode(fixture.put(device, 3, bytes(10)))).toBe('device-full');
        expect(await rejectedCode(device.stage(keyOf(3)))).toBe('device-full');
        expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(3000));
        expect((await fixture.remove(device, 2)).kind).toBe('stored');
        disk.settings = { ...disk.settings, capacityBytes: disk.usedBytes + 10_000_000 };
        await fixture.env.clock.sleep(3000);
        expect(device.status).toBe('ok');
        expect((await fixture.put(device, 3, bytes(10))).kind).toBe('stored');
        await device.close();
      },
      { limits: { reserveBytes: 20_000 } },
    ));

  it('full in the middle of a write: what was begun is taken back', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      await fixture.put(device, 1, bytes(3000, 1));
      disk.inject({
        operations: ['write'],
        path: SEGMENT,
        action: { kind: 'error', code: 'ENOSPC' },
        times: 1,
      });
      expect(await rejectedCode(fixture.put(device, 2, bytes(3000)))).toBe('device-full');
      expect(device.stat(keyOf(2))).toBeUndefined();
      await fixture.env.clock.sleep(3000);
      expect((await fixture.put(device, 3, bytes(3000, 3))).kind).toBe('stored');
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ tailCut: false, damaged: 0 });
      expectBytes(await readAll(again, again.stat(keyOf(3))!), bytes(3000, 3));
      await again.close();
    }));

  it('full where rows are kept: what is synced is answered, and keeps its body', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      await fixture.putStaged(device, 1, bytes(300_000, 1));
      const stage = await device.stage(keyOf(1));
      await stage.write(bytes(300_000, 2));
      await stage.finish();
      const action = { kind: 'error', code: 'ENOSPC' } as const;
      disk.inject({ operations: ['database'], path: `${FOLDER}/rows.db`, action, times: 1 });
      const row = { key: keyOf(1, CONTAINER_RING), path: '/AUTH_test/c', state: fixture.live(3) };
      const rows = Array.from({ length: 256 }, (_, i) =>
        device.rowLog.append({ ...row, name: `${i}` }),
      );
      const state = fixture.live(300_000);
      const request = { key: keyOf(1), path: pathOf(1), state, unlisted: true } as const;
      const written = device.write({ ...request, body: stage, intent: 'write' });
      await Promise.all(rows);
      expect((await written).kind).toBe('stored');
      expect(device.status).toBe('full');
      await stage.abandon(); // as who was not answered does
      expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(300_000, 2));
      await fixture.env.clock.sleep(3000);
      device.rowLog.apply();
      expect(fixture.rows.rowCount).toBe(256);
      await device.close();
    }));

  it('out of descriptors: it goes out of service until it is opened again, and loses nothing', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(10));
      const action = { kind: 'error', code: 'EMFILE' } as const;
      const inject = (): unknown =>
        fixture.machine.disk.inject({ operations: ['open'], path: FOLDER, action, times: 1 });
      inject();
      expect(await rejectedCode(fixture.putStaged(device, 2, bytes(300_000)))).toBe(
        'device-failed',
      );
      expect(device).toMatchObject({ status: 'failed', statusReason: 'exhausted', curable: true });
      await device.close();
      const again = await fixture.open();
      expectBytes(await readAll(again, again.stat(keyOf(1))!), bytes(10));
      await fixture.putStaged(again, 2, bytes(300_000));
      await again.close();
    }));

  it('out of descriptors, and then of a disk that can not sync: only a new process opens it', () =>
    withDevice(async (fixture, device) => {
      const health = new Health(fixture.env.log, () => undefined);
      health.take(Object.assign(new Error('none left'), { code: 'EMFILE' }));
      expect(health.curable).toBe(true);
      health.take(Object.assign(new Error('bad disk'), { code: 'EIO' }));
      expect(health.curable).toBe(false);
      health.take(Object.assign(new Error('none left'), { code: 'EMFILE' }));
      expect(health.curable).toBe(false);
      await device.close();
    }));

  it('out of descriptors: a body that cannot be opened is not taken for damaged', () =>
    withDevice(async (fixture, device) => {
      await fixture.putStaged(device, 1, bytes(300_000));
      const entry = device.stat(keyOf(1))!;
      const action = { kind: 'error', code: 'EMFILE' } as const;
      const inject = (): unknown =>
        fixture.machine.disk.inject({
          operations: ['open'],
          path: `${FOLDER}/blobs`,
          action,
          times: 1,
        });
      inject();
      expect(await rejectedCode(readAll(device, entry))).toBe('EMFILE');
      expectBytes(await readAll(device, entry), bytes(300_000));
      inject(); // the second reading opens it once more, for the page cache
      expect(await rejectedCode(readAll(device, entry))).toBe('overloaded');
      expectBytes(await readAll(device, entry), bytes(300_000));
      await device.close();
      const again = await fixture.open();
      inject();
      let isDone = false;
      const audit = async (): Promise<void> => {
        while (!isDone) isDone = (await again.audit.step(1_000_000)).cycleDone;
      };
      expect(await rejectedCode(audit())).toBe('EMFILE');
      await audit();
      expect(again.stat(keyOf(1))!.hasBody).toBe(true);
      expect(fixture.damage).toEqual([]);
      await again.close();
    }));

  it('an error of a sync takes it out of service for good, and nothing is acknowledged', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(3000));
      fixture.machine.disk.inject({
        operations: ['sync'],
        path: SEGMENT,
        action: { kind: 'error', code: 'EIO' },
        times: 1,
      });
      expect(await rejectedCode(fixture.put(device, 2, bytes(10)))).toBe('device-failed');
      expect(device.status).toBe('failed');
      expect(await rejectedCode(fixture.put(device, 3, bytes(10)))).toBe('device-failed');
      await fixture.env.clock.sleep(5000);
      expect(device.status).toBe('failed');
      expect(fixture.statuses).toHaveLength(1);
      expect(() => device.stat(keyOf(1))).toThrow('out of service');
      await device.close();
    }));

  it('what a failed sync left is written again before a start believes it (simulator, seed 3038)', () =>
    withDevice(async (fixture, device) => {
      const { machine } = fixture;
      await fixture.put(device, 1, bytes(3000, 1));
      // The sync of a batch fails, then that of the next start: the third one has nothing left to write.
      const action = { kind: 'error', code: 'EIO' } as const;
      machine.disk.inject({ operations: ['sync'], path: SEGMENT, action, times: 2 });
      expect(await rejectedCode(fixture.put(device, 2, bytes(3000, 2)))).toBe('device-failed');
      await device.close();
      expect(await rejectedCode(fixture.open())).toBe('EIO');
      const second = await fixture.open();
      expectBytes(await readAll(second, second.stat(keyOf(2))!), bytes(3000, 2));
      await second.checkpoint();
      machine.crash('lost');
      machine.restart();
      const third = await fixture.open();
      expect(third.opened).toMatchObject({ tailCut: false, damaged: 0 });
      expectBytes(await readAll(third, third.stat(keyOf(2))!), bytes(3000, 2));
      await third.close();
    }));

  it('a staged body whose sync failed is never committed', () =>
    withDevice(async (fixture, device) => {
      fixture.machine.disk.inject({
        operations: ['sync'],
        path: `${FOLDER}/blobs`,
        action: { kind: 'error', code: 'EIO' },
      });
      expect(await rejectedCode(fixture.putStaged(device, 1, bytes(300_000)))).toBe(
        'device-failed',
      );
      expect(device.status).toBe('failed');
      await device.close();
    }));

  it('read-only: reads go on', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(3000));
      fixture.machine.disk.inject({
        operations: ['write', 'sync', 'replace'],
        action: { kind: 'error', code: 'EROFS' },
      });
      expect(await rejectedCode(fixture.put(device, 2, bytes(10)))).toBe('device-read-only');
      expect(device.status).toBe('read-only');
      expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(3000));
      await device.close();
    }));

  it('reads that fail quarantine the body, and many of them the device', () =>
    withDevice(async (fixture, device) => {
      for (let number = 0; number < 10; number++) await fixture.put(device, number, bytes(3000));
      fixture.machine.disk.inject({
        operations: ['read'],
        path: SEGMENT,
        action: { kind: 'error', code: 'EIO' },
      });
      expect(await rejectedCode(readAll(device, device.stat(keyOf(0))!))).toBe('damaged');
      expect(device.status).toBe('ok');
      for (let number = 1; number < 8; number++)
        await rejectedCode(readAll(device, device.stat(keyOf(number))!));
      expect(device.status).toBe('failed');
      await device.close();
    }));
});

describe('a folder that is taken away', () => {
  it('wiped under the running process: nothing is acknowledged into deleted files', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(3000));
      fixture.machine.disk.wipe(FOLDER);
      expect(await rejectedCode(fixture.put(device, 2, bytes(10)))).toBe('device-missing');
      expect(device.status).toBe('missing');
      await device.close();
      expect(await rejectedCode(fixture.open())).toBe('device-blank');
      await formatDevice(fixture.env, FOLDER, {
        clusterId: 'test',
        deviceId: 7,
        name: 'd7',
        genesis: false,
      });
      const again = await fixture.open();
      expect(again.incarnation).not.toBe(device.incarnation);
      expect(again.genesis).toBe(false);
      expect(again.stat(keyOf(1))).toBeUndefined();
      await again.close();
    }));

  it('wiped while a large body arrives: what is left behind is still a blank folder (simulator, seed 2159)', () =>
    withDevice(async (fixture, device) => {
      fixture.machine.disk.wipe(FOLDER);
      const stored = (async () => {
        const stage = await device.stage(keyOf(3));
        await stage.write(bytes(3_000_000));
        await stage.finish();
      })();
      expect(await rejectedCode(stored)).toBe('device-missing');
      await device.close();
      expect(await rejectedCode(fixture.open())).toBe('device-blank');
    }));

  it('only the log is removed: noticed as well', () =>
    withDevice(async (fixture, device) => {
      fixture.machine.disk.lose(SEGMENT);
      expect(await rejectedCode(fixture.put(device, 2, bytes(10)))).toBe('device-missing');
      await device.close();
    }));

  it('is noticed by an idle device within two seconds', () =>
    withDevice(async (fixture, device) => {
      fixture.machine.disk.wipe(FOLDER);
      await fixture.env.clock.sleep(2500);
      expect(device.status).toBe('missing');
      expect(() => device.stat(keyOf(1))).toThrow('not the one that was opened');
      await device.close();
    }));

  it('wiped when it notes that its index is damaged: still a blank folder (simulator, seed 52)', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      disk.wipe(FOLDER);
      await device.close();
      for (const note of ['index.rebuild', 'log.hole', 'rows.db.damaged'])
        disk.plant(`${FOLDER}/${note}`, Buffer.from('damaged'));
      expect(await rejectedCode(fixture.open())).toBe('device-blank');
    }));

  it('wiped at any moment of its start: still a blank folder (simulator, brief seed 1360)', async () => {
    for (let afterMs = 0; afterMs < 25; afterMs += 0.5) {
      await withDevice(
        async (fixture, device) => {
          const { disk } = fixture.machine;
          await device.close();
          fixture.world.schedule(afterMs, 'wipe', () => disk.wipe(FOLDER));
          const opened = await fixture.open().catch(() => undefined);
          await fixture.env.clock.sleep(30);
          await opened?.close();
          expect(await rejectedCode(fixture.open()), `wiped after ${afterMs} ms`).toBe(
            'device-blank',
          );
        },
        { seed: afterMs },
      );
    }
  });

  it('caches and unfinished replacements alone are a blank folder, which can be formatted', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      await device.close();
      const caches = ['index.db', 'rows.db'];
      const old = await Promise.all(
        caches.map((name) => fixture.env.disk.read(`${FOLDER}/${name}`)),
      );
      disk.wipe(FOLDER);
      for (const [at, name] of caches.entries()) disk.plant(`${FOLDER}/${name}`, old[at]!);
      for (const name of ['rows.db-wal', 'rows.db-shm', 'device.json.4711-1.tmp'])
        disk.plant(`${FOLDER}/${name}`, bytes(100));
      expect(await rejectedCode(fixture.open())).toBe('device-blank');
      await fixture.format();
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ damaged: 0, tailCut: false });
      expect((await fixture.put(again, 1, bytes(3000))).kind).toBe('stored');
      await again.close();
    }));

  it('a mount point that is not mounted is no blank device', async () => {
    const fixture = new DeviceFixture();
    const scenario = async (): Promise<void> => {
      await fixture.env.disk.mkdir(FOLDER);
      fixture.machine.disk.mount(FOLDER);
      await fixture.format();
      const device = await fixture.open({ mountPoint: true });
      await fixture.put(device, 1, bytes(10));
      fixture.machine.disk.unmount(FOLDER);
      expect(await rejectedCode(fixture.put(device, 2, bytes(10)))).toBe('device-missing');
      await device.close();
      expect(await rejectedCode(fixture.open({ mountPoint: true }))).toBe('device-unmounted');
      fixture.machine.disk.mount(FOLDER);
      const again = await fixture.open({ mountPoint: true });
      expect(again.stat(keyOf(1))).toBeDefined();
      await again.close();
    };
    await fixture.world.run(scenario());
  });

  it("another cluster's, another device's and a newer device are refused by name", () =>
    withDevice(async (fixture, device) => {
      await device.close();
      expect(await rejectedCode(fixture.open({ clusterId: 'other' }))).toBe('device-other-cluster');
      expect(await rejectedCode(fixture.open({ deviceId: 8 }))).toBe('device-other-id');
      expect(await rejectedCode(fixture.format())).toBe('device-in-use');
      const text = (await fixture.env.disk.read(`${FOLDER}/device.json`)).toString();
      const newer = text.replace('"formatVersion": 1', '"formatVersion": 2');
      await fixture.env.disk.replace(`${FOLDER}/device.json`, Buffer.from(newer));
      expect(await rejectedCode(fixture.open())).toBe('newer-format');
      fixture.machine.disk.lose(`${FOLDER}/device.json`);
      expect(await rejectedCode(fixture.open())).toBe('damaged');
    }));
});
