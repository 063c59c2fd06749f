import { describe, expect, it } from 'vitest';
import { newestTimestamp } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { rejectedCode } from '#base/testing/thrown.ts';
import { makeTimestamp, microsOf } from '#base/timestamp.ts';
import { bytes, FOLDER, keyOf, pathOf, readAll, withDevice } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

describe('a device', () => {
  it('returns what was written, small and large, after a restart too', () =>
    withDevice(async (fixture, first) => {
      const small = bytes(5000, 1);
      const large = bytes(400_000, 2);
      expect((await fixture.put(first, 1, small)).kind).toBe('stored');
      expect((await fixture.putStaged(first, 2, large)).kind).toBe('stored');
      await first.close();
      const second = await fixture.open();
      for (const device of [second]) {
        const one = device.stat(keyOf(1))!;
        expect(one.path).toBe(pathOf(1));
        expect(one.hasBody && one.unlisted).toBe(true);
        expectBytes(await readAll(device, one), small);
        expect(device.readSmall(one)).toEqual(small);
        const two = device.stat(keyOf(2))!;
        expectBytes(await readAll(device, two), large);
        expectBytes(
          await readAll(device, two, { start: 70_001, end: 200_003 }),
          large.subarray(70_001, 200_003),
        );
        expect(device.readSmall(two)).toBeUndefined();
      }
      expect(second.stat(keyOf(3))).toBeUndefined();
      await second.close();
    }));

  it('reads any range of a body in the log and of a blob', () =>
    withDevice(async (fixture, device) => {
      const inline = bytes(99_000, 3);
      const blob = bytes(1_300_000, 4);
      await fixture.put(device, 1, inline);
      await fixture.putStaged(device, 2, blob);
      const ranges = [
        [0, 1],
        [65_535, 65_537],
        [65_536, 131_072],
        [98_999, 99_000],
        [0, 0],
        [5, 5],
      ] as const;
      for (const [start, end] of ranges) {
        expectBytes(
          await readAll(device, device.stat(keyOf(1))!, { start, end }),
          inline.subarray(start, end),
        );
        expectBytes(
          await readAll(device, device.stat(keyOf(2))!, { start, end }),
          blob.subarray(start, end),
        );
      }
      const tail = { start: 1_250_000, end: 9_999_999 };
      expectBytes(await readAll(device, device.stat(keyOf(2))!, tail), blob.subarray(1_250_000));
      await device.close();
    }));

  it('answers superseded for an older write and stores nothing of it', () =>
    withDevice(async (fixture, device) => {
      const older = fixture.clock.now();
      const body = bytes(100);
      const newer = fixture.live(body.length);
      await fixture.put(device, 1, body, newer);
      const outcome = await fixture.put(device, 1, bytes(50, 9), fixture.live(50, { at: older }));
      expect(outcome).toEqual({ kind: 'superseded', newest: newer.data!.timestamp });
      expectBytes(await readAll(device, device.stat(keyOf(1))!), body);
      await device.close();
    }));

  it('takes what only newer metadata are above, once a round was held, and what nothing is left of not', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(100));
      const between = fixture.clock.now();
      const post = fixture.metadata({ color: 'blue' });
      const write = { key: keyOf(1), path: pathOf(1), unlisted: true, intent: 'write' } as const;
      await device.write({ ...write, state: post });
      const body = bytes(50, 9);
      const request = { ...write, state: fixture.live(body.length, { at: between }), body };
      expect((await device.write(request)).kind).toBe('superseded');
      expect((await device.write({ ...request, afterRound: true })).kind).toBe('stored');
      const entry = device.stat(keyOf(1))!;
      expectBytes(await readAll(device, entry), body);
      expect(entry.state.groups).toEqual(post.groups);

      const older = fixture.live(10, { at: between });
      await fixture.put(device, 1, bytes(20));
      const late = { ...write, state: older, body: bytes(10), afterRound: true };
      expect((await device.write(late)).kind).toBe('superseded');
      await device.close();
    }));

  it('answers stored for the retry of a write, and does not write it twice', () =>
    withDevice(async (fixture, device) => {
      const body = bytes(300_000);
      const state = fixture.live(body.length);
      await fixture.putStaged(device, 1, body, state);
      const { logBytes } = device.facts();
      expect((await fixture.putStaged(device, 1, body, state)).kind).toBe('stored');
      expect(device.facts().logBytes).toBe(logBytes);
      expectBytes(await readAll(device, device.stat(keyOf(1))!), body);
      await device.close();
    }));

  it('keeps the body of a version when its metadata changes, and frees it when it is deleted', () =>
    withDevice(async (fixture, device) => {
      const body = bytes(300_000);
      await fixture.putStaged(device, 1, body);
      const post = fixture.metadata({ color: 'blue' });
      await device.write({
        key: keyOf(1),
        path: pathOf(1),
        state: post,
        unlisted: false,
        intent: 'write',
      });
      const entry = device.stat(keyOf(1))!;
      expect(entry.state.groups['user']!.values).toEqual({ color: 'blue' });
      expectBytes(await readAll(device, entry), body);
      expect(device.facts().blobBytes).toBe(0); // the index is behind
      await fixture.remove(device, 1);
      expect(device.stat(keyOf(1))!.state.data!.kind).toBe('deleted');
      const files = () =>
        fixture.env.disk.list(`${FOLDER}/blobs/${keyOf(1).hash.toString('hex', 0, 1)}`);
      expect(await files()).toHaveLength(1);
      while ((await files()).length > 0) await device.checkpoint(); // a checkpoint may find the database busy
      await device.close();
    }));

  it('joins what replication brings, whatever is there, and keeps the unlisted mark', () =>
    withDevice(async (fixture, device) => {
      const older = fixture.live(4);
      const newer = fixture.live(6);
      const join = { key: keyOf(1), path: pathOf(1), intent: 'join' } as const;
      await device.write({ ...join, state: newer, body: bytes(6), unlisted: true });
      const late = await device.write({ ...join, state: older, body: bytes(4), unlisted: false });
      expect(late).toEqual({ kind: 'superseded', newest: newer.data!.timestamp });
      expect(device.stat(keyOf(1))).toMatchObject({ unlisted: true, hasBody: true });
      device.markListed(keyOf(1), older.data!.timestamp);
      expect(device.stat(keyOf(1))!.unlisted).toBe(true);
      device.markListed(keyOf(1), newer.data!.timestamp);
      expect(device.stat(keyOf(1))!.unlisted).toBe(false);
      await device.close();
    }));

  it('knows a state without its body, and takes the body when it comes', () =>
    withDevice(async (fixture, device) => {
      const body = bytes(2000);
      const state = fixture.live(body.length);
      const join = {
        key: keyOf(1),
        path: pathOf(1),
        state,
        unlisted: false,
        intent: 'join',
      } as const;
      await device.write(join);
      expect(device.stat(keyOf(1))!.hasBody).toBe(false);
      expect(device.digests.summarise(0, 0, 1 << 20, 1)[0]).toMatchObject({
        live: 1,
        total: 1,
        bodiless: 1,
      });
      expect(await rejectedCode(readAll(device, device.stat(keyOf(1))!))).toBe('gone');
      await device.write({ ...join, body });
      expectBytes(await readAll(device, device.stat(keyOf(1))!), body);
      expect(device.digests.summarise(0, 0, 1 << 20, 1)[0]).toMatchObject({
        live: 1,
        total: 1,
        bodiless: 0,
      });
      await device.close();
    }));

  it('refuses a plain write where a conditional one came before, or was promised', () =>
    withDevice(async (fixture, device) => {
      const base = fixture.clock.now();
      await fixture.put(device, 1, bytes(5), fixture.live(5, { base }));
      const refused = await fixture.put(device, 1, bytes(5));
      expect(refused.kind).toBe('use-rounds');
      expect((await fixture.remove(device, 1)).kind).toBe('use-rounds');
      const ballot = fixture.clock.now();
      expect(await device.promise(keyOf(2), pathOf(2), ballot)).toMatchObject({ kind: 'promised' });
      expect(await fixture.put(device, 2, bytes(5))).toEqual({
        kind: 'use-rounds',
        newest: ballot,
      });
      await device.close();
      const again = await fixture.open();
      expect(await again.promise(keyOf(2), pathOf(2), ballot)).toMatchObject({
        kind: 'refused',
        newest: ballot,
      });
      await again.close();
    }));

  it('refuses a timestamp too far ahead of its clock', () =>
    withDevice(async (fixture, device) => {
      const ahead = makeTimestamp(microsOf(fixture.clock.now()) + 7 * 3600 * 1e6, 9);
      const write = fixture.put(device, 1, bytes(5), fixture.live(5, { at: ahead }));
      expect(await rejectedCode(write)).toBe('clock-drift');
      expect(device.stat(keyOf(1))).toBeUndefined();
      await device.close();
    }));

  it('refuses a body that is not what its state says, and a stage of another key', () =>
    withDevice(async (fixture, device) => {
      expect(await rejectedCode(fixture.put(device, 1, bytes(5), fixture.live(6)))).toBe(
        'bad-body',
      );
      const stage = await device.stage(keyOf(2));
      await stage.write(bytes(5));
      const request = {
        key: keyOf(1),
        path: pathOf(1),
        state: fixture.live(5),
        body: stage,
        unlisted: true,
        intent: 'write',
      } as const;
      expect(await rejectedCode(device.write(request))).toBe('bad-stage');
      await stage.finish();
      expect(await rejectedCode(device.write(request))).toBe('bad-stage');
      expect((await device.write({ ...request, key: keyOf(2) })).kind).toBe('stored');
      await device.close();
    }));

  it('bounds the stages that are open at once', () =>
    withDevice(
      async (_fixture, device) => {
        const stages = [await device.stage(keyOf(1)), await device.stage(keyOf(1))];
        expect(await rejectedCode(device.stage(keyOf(1)))).toBe('overloaded');
        await stages[0]!.abandon();
        await (await device.stage(keyOf(3))).abandon();
        await device.close();
      },
      { limits: { maxStages: 2 } },
    ));

  it('leaves no file of an abandoned stage', () =>
    withDevice(async (fixture, device) => {
      const stage = await device.stage(keyOf(1));
      await stage.write(bytes(300_000));
      await stage.write(bytes(300_000));
      await stage.abandon();
      for (const folder of await fixture.env.disk.list(`${FOLDER}/blobs`)) {
        expect(await fixture.env.disk.list(`${FOLDER}/blobs/${folder}`)).toEqual([]);
      }
      expect(await rejectedCode(stage.write(bytes(1)))).toBe('abandoned');
      await device.close();
    }));

  it('may be closed while the last bytes of a stage are written', async () => {
    for (const turns of [0, 1, 5, 10, 20, 40, 80]) {
      await withDevice(async (fixture, device) => {
        const stage = await device.stage(keyOf(1));
        await stage.write(bytes(300_000));
        const ended = stage.finish().catch((error: unknown) => codeOf(error));
        for (let turn = 0; turn < turns; turn++) await undefined;
        await device.close();
        expect([undefined, 'abandoned']).toContain(await ended);
        expect(device.status).toBe('ok');
        for (const folder of await fixture.env.disk.list(`${FOLDER}/blobs`)) {
          expect(await fixture.env.disk.list(`${FOLDER}/blobs/${folder}`)).toEqual([]);
        }
      });
    }
  });

  it('lists entries by hash, unlisted ones by age, expiring ones by their time', () =>
    withDevice(async (fixture, device) => {
      for (let n = 0; n < 20; n++) {
        const deleteAt = n % 2 === 0 ? 1000 + n : undefined;
        await fixture.put(device, n, bytes(3), fixture.live(3, { deleteAt }));
        if (n < 5) device.markListed(keyOf(n), newestTimestamp(device.stat(keyOf(n))!.state));
      }
      const all = device.entries(0, Buffer.alloc(16), undefined, 100);
      const hashes = all.map((entry) => entry.key.hash.toString('hex'));
      expect(hashes).toEqual([...hashes].sort());
      expect(all).toHaveLength(20);
      expect(device.entries(0, all[5]!.key.hash, all[9]!.key.hash, 100)).toHaveLength(4);
      expect(device.entries(0, all[5]!.key.hash, undefined, 3)).toHaveLength(3);
      expect(device.unlisted(100, 0)).toHaveLength(15);
      expect(device.unlisted(100, 3_600_000)).toHaveLength(0);
      expect(device.expiring(1004, 100).map((entry) => entry.state.data!.deleteAt)).toEqual([
        1000, 1002, 1004,
      ]);
      expect(device.facts()).toMatchObject({ entries: 20, unlisted: 15 });
      await device.close();
    }));

  it('what is unlisted stays due when the wall clock was set back (simulator, seed 4)', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(3), fixture.live(3));
      fixture.machine.jumpWallClock(-3_600_000);
      await fixture.env.clock.sleep(20_000);
      expect(device.unlisted(100, 10_000)).toHaveLength(1);
      await device.close();
    }));

  it('commits rows with the objects, and replays those that the row store lacks', () =>
    withDevice(async (fixture, device) => {
      const row = {
        key: keyOf(1, CONTAINER_RING),
        path: '/AUTH_test/c',
        name: 'a',
        state: fixture.live(3),
      };
      await Promise.all([device.rowLog.append(row), fixture.put(device, 1, bytes(3))]);
      expect(device.facts().commits).toBe(1);
      device.rowLog.apply();
      expect(fixture.rows.get(row)).toEqual(row.state);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/rows.db`);
      const again = await fixture.open();
      expect(fixture.rows.get(row)).toEqual(row.state);
      await again.close();
    }));

  it('gives rows to the row store a moment after their commit, many at once', () =>
    withDevice(async (fixture, device) => {
      const row = { key: keyOf(1, CONTAINER_RING), path: '/AUTH_test/c', state: fixture.live(3) };
      await device.rowLog.append({ ...row, name: 'a' });
      await device.rowLog.append({ ...row, name: 'b' });
      expect(fixture.rows.rowCount).toBe(0);
      await fixture.env.clock.sleep(100);
      expect(fixture.rows.rowCount).toBe(2);
      await device.close();
    }));

  it('keeps rows that the row store can not take, and tells who looks', () =>
    withDevice(async (fixture, device) => {
      const row = { key: keyOf(1, CONTAINER_RING), path: '/AUTH_test/c', state: fixture.live(3) };
      await device.rowLog.append({ ...row, name: 'a' });
      const action = { kind: 'error', code: 'ENOSPC' } as const;
      const { disk } = fixture.machine;
      disk.inject({ operations: ['database'], path: `${FOLDER}/rows.db`, action, times: 1 });
      expect(() => device.rowLog.apply()).toThrow(expect.objectContaining({ code: 'device-full' }));
      await fixture.env.clock.sleep(3000);
      device.rowLog.apply();
      expect(fixture.rows.rowCount).toBe(1);
      await device.close();
    }));

  it('forgets a copy only while it is in the state that was confirmed', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(3));
      const before = device.stat(keyOf(1))!;
      expect(await device.forget(before)).toBe(false); // its row is not acknowledged
      device.markListed(keyOf(1), newestTimestamp(before.state));
      const listed = device.stat(keyOf(1))!;
      await fixture.put(device, 1, bytes(4));
      device.markListed(keyOf(1), newestTimestamp(device.stat(keyOf(1))!.state));
      expect(await device.forget(listed)).toBe(false);
      expect(await device.forget(device.stat(keyOf(1))!)).toBe(true);
      expect(device.stat(keyOf(1))).toBeUndefined();
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect(rebuilt.opened.rebuilt).toBe(true);
      expect(rebuilt.stat(keyOf(1))).toBeUndefined();
      await rebuilt.close();
    }));

  it('is complete where it was marked, with one record for many marks', () =>
    withDevice(async (fixture, device) => {
      const { commits } = device.facts();
      const marks = Array.from({ length: 200 }, (_, i) =>
        device.completeness.mark(0, 3 * i, 3 * i + 2, true),
      );
      expect(device.completeness.ranges(0)).toEqual([]); // nothing counts before it is synced
      const loss = device.completeness.mark(0, 1, 2, false);
      await Promise.all([...marks, loss]);
      expect(device.facts().commits - commits).toBeLessThanOrEqual(2);
      expect(device.completeness.ranges(0)).toHaveLength(200);
      expect(device.completeness.ranges(0)[0]).toEqual({ from: 0, to: 1 });
      const lost = device.completeness.mark(0, 0, 300, false);
      expect(device.completeness.ranges(0)[0]).toEqual({ from: 300, to: 302 }); // losses count at once
      await lost;
      const before = device.completeness.ranges(0);
      await device.close();
      const again = await fixture.open();
      expect(again.completeness.ranges(0)).toEqual(before);
      expect(again.completeness.isComplete(0, Buffer.alloc(16))).toBe(false);
      await again.close();
    }));
});
