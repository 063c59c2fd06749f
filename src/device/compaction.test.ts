/** Compaction, the removal of what is not needed, and reading what is being replaced. */
import { describe, expect, it } from 'vitest';
import { EMPTY_STATE, newestTimestamp } from '#base/entry.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { LogDevice } from './open.ts';
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

const LIMITS = { segmentBytes: 64 * 1024, compactStepBytes: 16 * 1024 };

/** Until nothing is left to do; a checkpoint may find the database busy now and then. */
async function compactAll(device: LogDevice): Promise<void> {
  for (let idle = 0; idle < 5; ) idle = (await device.compactStep()) ? 0 : idle + 1;
}

async function segments(fixture: DeviceFixture): Promise<string[]> {
  return fixture.env.disk.list(`${FOLDER}/log`);
}

/** Fills segments with versions of a few keys, so that most of the log is dead. */
async function churn(fixture: DeviceFixture, device: LogDevice, rounds = 20): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const puts = [0, 1, 2].map((number) =>
      fixture.put(device, number, bytes(9000, round + number)),
    );
    await Promise.all(puts);
  }
}

async function rebuilt(fixture: DeviceFixture, device: LogDevice): Promise<LogDevice> {
  await device.close();
  fixture.machine.disk.lose(`${FOLDER}/index.db`);
  return fixture.open();
}

describe('compaction', () => {
  it('frees what is dead and keeps what is needed, also for a rebuild', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 9, bytes(5000, 9)); // in the first segment, among dead ones
        await churn(fixture, device);
        const before = device.facts().logBytes;
        await compactAll(device);
        expect(device.facts().logBytes).toBeLessThan(before / 3);
        expect(await segments(fixture)).not.toContain('00000001.seg');
        const again = await rebuilt(fixture, device);
        for (const number of [0, 1, 2]) {
          expectBytes(await readAll(again, again.stat(keyOf(number))!), bytes(9000, 19 + number));
        }
        expectBytes(await readAll(again, again.stat(keyOf(9))!), bytes(5000, 9));
        expect(again.stat(keyOf(9))!.unlisted).toBe(true);
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('moves a body whose metadata was changed later, and a blob reference', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 7, bytes(3000, 7));
        await fixture.putStaged(device, 8, bytes(150_000, 8));
        await churn(fixture, device, 6);
        for (const number of [7, 8]) {
          const state = fixture.metadata({ n: String(number) });
          const request = {
            key: keyOf(number),
            path: pathOf(number),
            state,
            unlisted: false,
          } as const;
          await device.write({ ...request, intent: 'write' });
        }
        await churn(fixture, device, 14);
        await compactAll(device);
        const again = await rebuilt(fixture, device);
        const [inline, blob] = [again.stat(keyOf(7))!, again.stat(keyOf(8))!];
        expectBytes(await readAll(again, inline), bytes(3000, 7));
        expectBytes(await readAll(again, blob), bytes(150_000, 8));
        expect(blob.state.groups['user']!.values).toEqual({ n: '8' });
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('goes on while others write, and never brings an older version back', () =>
    withDevice(
      async (fixture, device) => {
        await churn(fixture, device, 10);
        const newest = new Map<number, number>();
        const writers = [0, 1, 2, 3].map(async (number) => {
          for (let round = 0; round < 30; round++) {
            await fixture.put(device, number, bytes(4000, 1000 * number + round));
            newest.set(number, 1000 * number + round);
          }
        });
        let writing = true;
        const compacting = (async () => {
          while (writing) await device.compactStep();
        })();
        await Promise.all(writers);
        writing = false;
        await compacting;
        await compactAll(device);
        const again = await rebuilt(fixture, device);
        for (const [number, seed] of newest) {
          expectBytes(await readAll(again, again.stat(keyOf(number))!), bytes(4000, seed));
        }
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('keeps rows that are current, promises, and what is complete', () =>
    withDevice(
      async (fixture, device) => {
        await device.completeness.mark(0, 100, 200, true);
        await device.completeness.mark(1, 5, 10, true);
        await device.versions.fence(0, [[100, 150]], 4);
        await device.versions.learnt(1, [[5, 10]], 6);
        const ballot = fixture.clock.now();
        await device.promise(keyOf(50), pathOf(50), ballot);
        const row = {
          key: keyOf(1, CONTAINER_RING),
          path: '/AUTH_test/c',
          name: 'a',
          state: fixture.live(3),
        };
        await device.rowLog.append({ ...row, state: fixture.live(2) });
        await device.rowLog.append({ ...row, state: fixture.live(9) });
        const newest = { ...row, state: fixture.live(4) };
        await device.rowLog.append(newest);
        await churn(fixture, device);
        await compactAll(device);
        expect(await segments(fixture)).not.toContain('00000001.seg');
        await device.close();
        for (const name of ['index.db', 'rows.db']) fixture.machine.disk.lose(`${FOLDER}/${name}`);
        const again = await fixture.open();
        expect(fixture.rows.get(row)).toEqual(newest.state);
        expect(again.completeness.ranges(0)).toEqual([{ from: 100, to: 200 }]);
        expect(again.completeness.ranges(1)).toEqual([{ from: 5, to: 10 }]);
        expect(again.versions.fenceOf(0, Buffer.from('0007'.padEnd(32, '0'), 'hex'))).toBe(4);
        expect(again.versions.learntOf(1, 5, 10)).toBe(6);
        expect(await again.promise(keyOf(50), pathOf(50), ballot)).toMatchObject({
          kind: 'refused',
        });
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('keeps a tombstone until it is forgotten, and then brings nothing older back', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 5, bytes(9000));
        await churn(fixture, device, 3); // the tombstone comes into a later segment
        await fixture.remove(device, 5);
        device.markListed(keyOf(5), newestTimestamp(device.stat(keyOf(5))!.state));
        await churn(fixture, device);
        await compactAll(device);
        expect(device.stat(keyOf(5))!.state.data!.kind).toBe('deleted');
        expect(await device.forget(device.stat(keyOf(5))!)).toBe(true);
        await churn(fixture, device);
        await compactAll(device);
        expect(device.stat(keyOf(5))).toBeUndefined();
        const again = await rebuilt(fixture, device);
        expect(again.stat(keyOf(5))).toBeUndefined();
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('keeps in mind that a tombstone was forgotten while the segment of what it deletes is still there', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 5, bytes(3000));
        // Mostly live: this segment is not rewritten, so the dead version stays in the log.
        for (let number = 20; number < 26; number++) await fixture.put(device, number, bytes(9000));
        await churn(fixture, device, 3);
        await fixture.remove(device, 5);
        device.markListed(keyOf(5), newestTimestamp(device.stat(keyOf(5))!.state));
        expect(await device.forget(device.stat(keyOf(5))!)).toBe(true);
        await churn(fixture, device);
        await compactAll(device);
        expect(await segments(fixture)).toContain('00000001.seg');
        const again = await rebuilt(fixture, device);
        expect(again.stat(keyOf(5))).toBeUndefined();
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('brings no forgotten row back, and forgets the forgetting in the end', () =>
    withDevice(
      async (fixture, device) => {
        const row = {
          key: keyOf(3, CONTAINER_RING),
          path: '/a/c',
          name: 'a row',
          state: fixture.live(1),
        };
        await device.rowLog.append(row);
        for (let number = 20; number < 26; number++) await fixture.put(device, number, bytes(9000));
        await churn(fixture, device, 3);
        await device.rowLog.append({ ...row, state: EMPTY_STATE, since: 1, forgets: 0 });
        for (let round = 0; round < 3; round++) {
          await churn(fixture, device);
          await compactAll(device);
          expect(await segments(fixture)).toContain('00000001.seg');
          expect([fixture.rows.marks, fixture.rows.get(row)]).toEqual([1, undefined]);
        }
        let again = await rebuilt(fixture, device);
        expect([fixture.rows.marks, fixture.rows.get(row)]).toEqual([1, undefined]);
        for (let number = 20; number < 26; number++) await fixture.put(again, number, bytes(9000));
        await churn(fixture, again);
        await compactAll(again);
        await again.checkpoint();
        expect(await segments(fixture)).not.toContain('00000001.seg');
        expect(fixture.rows.marks).toBe(0);
        again = await rebuilt(fixture, again);
        expect([fixture.rows.marks, fixture.rows.get(row)]).toEqual([0, undefined]);
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('comes to an end where many forget records must stay', () =>
    withDevice(
      async (fixture, device) => {
        // Segments that are mostly live stay; what they say of these keys is dead, and must not come back.
        const small = (segment: number): number[] =>
          Array.from({ length: 60 }, (_, i) => 1000 + segment * 100 + i);
        for (let segment = 0; segment < 24; segment++) {
          for (const number of small(segment)) await fixture.put(device, number, bytes(10));
          for (let i = 0; i < 4; i++)
            await fixture.put(device, 20 + segment * 4 + i, bytes(11_000));
        }
        for (let segment = 0; segment < 24; segment++) {
          for (const number of small(segment)) {
            device.markListed(keyOf(number), newestTimestamp(device.stat(keyOf(number))!.state));
            expect(await device.forget(device.stat(keyOf(number))!)).toBe(true);
          }
        }
        let steps = 0;
        while (await device.compactStep()) expect(++steps).toBeLessThan(500);
        const again = await rebuilt(fixture, device);
        expect(again.stat(keyOf(1050))).toBeUndefined();
        await again.close();
      },
      { limits: LIMITS },
    ));

  it('salvages the state of an entry whose record cannot be read any more', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 6, bytes(5000));
        const { record } = device.stat(keyOf(6))!;
        await churn(fixture, device);
        fixture.machine.disk.flipByte(`${FOLDER}/log/00000001.seg`, record.offset + 70);
        await compactAll(device);
        expect(await segments(fixture)).not.toContain('00000001.seg');
        const again = await rebuilt(fixture, device);
        expect(again.stat(keyOf(6))).toMatchObject({ hasBody: false, unlisted: true });
        await again.close();
      },
      { limits: LIMITS },
    ));
});

describe('a version that is overwritten while it is read', () => {
  it('is read to its end, from a blob and from the log, and freed afterwards', () =>
    withDevice(
      async (fixture, device) => {
        const large = bytes(2_000_000, 1);
        await fixture.putStaged(device, 1, large);
        const entry = device.stat(keyOf(1))!;
        const reading = device.read(entry, { start: 0, end: large.length });
        const parts = [(await reading.next()).value as Buffer];
        await fixture.putStaged(device, 1, bytes(200_000, 2));
        for (let i = 0; i < 3; i++) await device.checkpoint();
        for await (const part of reading) parts.push(part);
        expectBytes(Buffer.concat(parts), large);
        const folder = `${FOLDER}/blobs/${keyOf(1).hash.toString('hex', 0, 1)}`;
        while ((await fixture.env.disk.list(folder)).length > 1) await device.checkpoint();
        expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(200_000, 2));
        await device.close();
      },
      { limits: LIMITS },
    ));

  it('answers gone, not damaged, where it was freed before the reader came', () =>
    withDevice(async (fixture, device) => {
      await fixture.putStaged(device, 1, bytes(200_000, 1));
      const entry = device.stat(keyOf(1))!;
      await fixture.remove(device, 1);
      const folder = `${FOLDER}/blobs/${keyOf(1).hash.toString('hex', 0, 1)}`;
      while ((await fixture.env.disk.list(folder)).length > 0) await device.checkpoint();
      await expect(readAll(device, entry)).rejects.toMatchObject({ code: 'gone' });
      expect(fixture.damage).toEqual([]);
      await device.close();
    }));

  it('a segment stays while somebody reads from it', () =>
    withDevice(
      async (fixture, device) => {
        const body = bytes(90_000, 1);
        await fixture.put(device, 4, body);
        const reading = device.read(device.stat(keyOf(4))!, { start: 0, end: body.length });
        const first = (await reading.next()).value as Buffer;
        await fixture.put(device, 4, bytes(10));
        await churn(fixture, device);
        await compactAll(device);
        expect(await segments(fixture)).toContain('00000001.seg');
        const rest: Buffer[] = [];
        for await (const part of reading) rest.push(part);
        expectBytes(Buffer.concat([first, ...rest]), body);
        await compactAll(device);
        expect(await segments(fixture)).not.toContain('00000001.seg');
        await device.close();
      },
      { limits: LIMITS },
    ));
});

describe('what a crash leaves behind', () => {
  it('blobs that no record names are swept by the next start, and no others', () =>
    withDevice(async (fixture, device) => {
      await fixture.putStaged(device, 1, bytes(200_000, 1));
      const stage = await device.stage(keyOf(1));
      await stage.write(bytes(300_000));
      await stage.finish();
      fixture.machine.kill();
      fixture.machine.restart();
      const again = await fixture.open();
      const folder = `${FOLDER}/blobs/${keyOf(1).hash.toString('hex', 0, 1)}`;
      expect(await fixture.env.disk.list(folder)).toHaveLength(2);
      const open = await again.stage(keyOf(1));
      await open.write(bytes(1_200_000));
      await fixture.env.clock.sleep(30_000);
      for (let i = 0; i < 5; i++) await again.checkpoint();
      expect(await fixture.env.disk.list(folder)).toHaveLength(2);
      await open.abandon();
      expectBytes(await readAll(again, again.stat(keyOf(1))!), bytes(200_000, 1));
      await again.close();
    }));

  it('nothing is unlinked before a complete checkpoint has made the index durable', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      disk.settings = { ...disk.settings, checkpointBusyProbability: 1 };
      await fixture.putStaged(device, 1, bytes(200_000, 1));
      await fixture.remove(device, 1);
      for (let i = 0; i < 5; i++) await device.checkpoint();
      const folder = `${FOLDER}/blobs/${keyOf(1).hash.toString('hex', 0, 1)}`;
      expect(await fixture.env.disk.list(folder)).toHaveLength(1);
      disk.settings = { ...disk.settings, checkpointBusyProbability: 0 };
      await device.checkpoint();
      expect(await fixture.env.disk.list(folder)).toHaveLength(0);
      await device.close();
    }));

  it('a batch that a kill left unsynced is synced before it is believed', async () => {
    let believed = 0;
    for (let seed = 0; seed < 12; seed++) {
      const fixture = new DeviceFixture(`unsynced ${seed}`);
      const { world, machine } = fixture;
      await world.run(fixture.format());
      const device = await world.run(fixture.open());
      const state = fixture.live(10);
      machine.disk.inject({ operations: ['sync'], action: { kind: 'delay', ms: 500 } });
      fixture.put(device, 1, bytes(10), state).catch(() => undefined); // never answered
      await world.runFor(100);
      machine.disk.faults.clear();
      machine.kill();
      machine.restart();
      let found = false;
      const retry = async (): Promise<void> => {
        const again = await fixture.open();
        found = again.stat(keyOf(1)) !== undefined;
        if (!found) return;
        believed++;
        // The writer's retry is answered from what is here, without a record of its own.
        expect((await fixture.put(again, 1, bytes(10), state)).kind).toBe('stored');
      };
      await world.run(retry());
      machine.crash('lost');
      machine.restart();
      const check = async (): Promise<void> => {
        const last = await fixture.open();
        if (found) expectBytes(await readAll(last, last.stat(keyOf(1))!), bytes(10));
        await last.close();
      };
      await world.run(check());
    }
    expect(believed).toBeGreaterThan(0);
  });

  it('rows of a group that could not be written are never applied', () =>
    withDevice(async (fixture, device) => {
      const { disk } = fixture.machine;
      const row = {
        key: keyOf(1, CONTAINER_RING),
        path: '/AUTH_test/c',
        name: 'a',
        state: fixture.live(3),
      };
      const action = { kind: 'error', code: 'ENOSPC' } as const;
      disk.inject({ operations: ['write'], path: `${FOLDER}/log`, action, times: 1 });
      await expect(device.rowLog.append(row)).rejects.toMatchObject({ code: 'device-full' });
      await fixture.env.clock.sleep(3000);
      const other = { ...row, name: 'b' };
      await device.rowLog.append(other);
      device.rowLog.apply();
      expect(fixture.rows.get(row)).toBeUndefined();
      expect(fixture.rows.get(other)).toEqual(row.state);
      await device.close();
    }));
});
