/** The auditor of a device: finds damage wherever it is, sees to it, and remembers where it was. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { ORPHAN_AGE_MS } from './audit-blobs.ts';
import { decodePlace, encodePlace, firstPlace } from './audit-place.ts';
import type { LogDevice } from './open.ts';
import type { StoredEntry } from './stored-entry.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  readAll,
  withDevice,
} from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const SEGMENT = `${FOLDER}/log/00000001.seg`;

/** A whole cycle; more steps than it could need are an error. */
async function audit(device: LogDevice, stepBytes = 64 * 1024): Promise<number> {
  for (let steps = 1; steps < 1000; steps++) {
    if ((await device.audit.step(stepBytes)).cycleDone) return steps;
  }
  throw new Error('the cycle does not end');
}

/** Rewrites suspect segments, and removes them. */
async function mend(device: LogDevice): Promise<void> {
  for (let i = 0; i < 50 && (await device.compactStep()); i++);
  for (let i = 0; i < 10; i++) await device.checkpoint();
}

async function fill(fixture: DeviceFixture, device: LogDevice, count = 20): Promise<void> {
  await device.completeness.mark(0, 0, 1 << 20, true);
  for (let n = 0; n < count; n++) await fixture.put(device, n, bytes(2000 + 100 * n, n));
  for (let n = count; n < count + 3; n++) await fixture.putStaged(device, n, bytes(300_000, n));
}

async function expectAll(device: LogDevice, count = 20): Promise<void> {
  for (let n = 0; n < count; n++) {
    expectBytes(await readAll(device, device.stat(keyOf(n))!), bytes(2000 + 100 * n, n));
  }
}

function blobPath(entry: StoredEntry): string {
  const { name } = entry.body as { name: string };
  return `${FOLDER}/blobs/${name.slice(5, 7)}/${name}`;
}

/** A byte of the head of the row record that was written just before the object. */
async function rowBefore(fixture: DeviceFixture, object: number): Promise<number> {
  const log = await fixture.env.disk.read(SEGMENT);
  const at = log.lastIndexOf('/AUTH_test/c', log.lastIndexOf(pathOf(object)) - 1);
  expect(at).toBeGreaterThan(0);
  return at + 3;
}

describe('the auditor of a device', () => {
  it('reads everything, finds nothing where there is nothing, and says since when', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      expect(device.audit.facts()).toMatchObject({ cycles: 0 });
      expect(device.audit.facts()).not.toHaveProperty('verifiedSinceMs');
      const { startedMs } = device.audit.facts();
      expect(await audit(device)).toBeGreaterThan(7);
      const facts = device.audit.facts();
      expect(facts).toMatchObject({ cycles: 1, verifiedSinceMs: startedMs, found: 0, suspects: 0 });
      expect(facts.totalBytes).toBeGreaterThan(900_000);
      expect(fixture.damage).toEqual([]);
      expect(device.facts().quarantined).toBe(0);
      await device.close();
    }));

  it('finds a flipped byte in the body of a record, and tells whose it is', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      const { start } = device.stat(keyOf(7))!.body as { start: number };
      fixture.machine.disk.flipByte(SEGMENT, start + 50);
      await audit(device);
      expect(fixture.damage).toEqual([
        `${keyOf(7).hash.toString('hex')} the auditor met a damaged body`,
      ]);
      expect(device.stat(keyOf(7))).toMatchObject({ hasBody: false });
      expect(device.audit.facts().found).toBe(1);
      // What nothing needs any more is no damage.
      await fixture.put(device, 7, bytes(100, 1));
      await audit(device);
      expect(device.audit.facts().found).toBe(1);
      await device.close();
    }));

  it.each([
    ['block', 250_000],
    ['checksum list', 300_002],
    ['trailer', 300_030],
  ])('finds a flipped byte in a blob: its %s', (_, at) =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      const entry = device.stat(keyOf(21))!;
      expectBytes(await readAll(device, entry), bytes(300_000, 21)); // its handle is open now
      fixture.machine.disk.flipByte(blobPath(entry), at);
      await audit(device, 16 * 1024);
      expect(device.stat(keyOf(21))).toMatchObject({ hasBody: false });
      expect(fixture.damage).toHaveLength(1);
      await device.close();
    }),
  );

  it('finds a blob that is gone', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      fixture.machine.disk.lose(blobPath(device.stat(keyOf(22))!));
      await audit(device);
      expect(device.stat(keyOf(22))).toMatchObject({ hasBody: false });
      await device.close();
    }));

  it('a blob that was taken away as damaged is missed by a rebuilt index too', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      fixture.machine.disk.flipByte(blobPath(device.stat(keyOf(21))!), 9);
      await audit(device);
      await fixture.env.clock.sleep(1000);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      await fixture.env.clock.sleep(1000);
      expect(rebuilt.stat(keyOf(21))).toMatchObject({ hasBody: false });
      expect(rebuilt.stat(keyOf(22))).toMatchObject({ hasBody: true });
      await rebuilt.close();
    }));

  it.each([
    ['record head', 2],
    ['path', 70],
    ['batch header', -20],
  ])(
    'rewrites a segment with a flipped byte in a %s; nothing is lost, nor the completeness',
    (_, at) =>
      withDevice(async (fixture, device) => {
        await fill(fixture, device);
        const { record } = device.stat(keyOf(5))!;
        fixture.machine.disk.flipByte(SEGMENT, record.offset + at);
        await audit(device);
        expect(device.audit.facts()).toMatchObject({ found: 1 });
        await mend(device);
        expect(device.audit.facts().suspects).toBe(0);
        expect(await fixture.env.disk.stat(SEGMENT)).toBeUndefined();
        await device.close();
        // Also from the log alone.
        fixture.machine.disk.lose(`${FOLDER}/index.db`);
        const rebuilt = await fixture.open();
        expect(rebuilt.opened).toMatchObject({ rebuilt: true, damaged: 0 });
        expect(rebuilt.completeness.isComplete(0, keyOf(5).hash)).toBe(true);
        for (let n = 0; n < 20; n++)
          expect(rebuilt.stat(keyOf(n))).toMatchObject({ path: pathOf(n) });
        expect(rebuilt.stat(keyOf(5))!.hasBody).toBe(at < 0);
        await audit(rebuilt);
        expect(rebuilt.audit.facts().found).toBe(1);
        await rebuilt.close();
      }),
  );

  it('writes rows again where a record that can not be read may have been the newest of one', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 3);
      await device.completeness.mark(CONTAINER_RING, 0, 1 << 20, true);
      const key = keyOf(100, CONTAINER_RING);
      const state = fixture.live(0);
      await device.rowLog.append({ key, path: '/AUTH_test/c', name: 'one', state });
      await fixture.put(device, 4, bytes(10));
      fixture.machine.disk.flipByte(SEGMENT, await rowBefore(fixture, 4));
      await audit(device);
      await mend(device);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/rows.db`);
      const again = await fixture.open();
      expect(fixture.rows.get({ key, name: 'one' })).toMatchObject({ data: { kind: 'live' } });
      expect(again.completeness.isComplete(CONTAINER_RING, key.hash)).toBe(true);
      await again.close();
    }));

  it('a hole in the log that rows.db is rebuilt from makes rows incomplete, not silently fewer', () =>
    withDevice(async (fixture, device) => {
      await device.completeness.mark(0, 0, 1 << 20, true);
      await device.completeness.mark(CONTAINER_RING, 0, 1 << 20, true);
      const key = keyOf(100, CONTAINER_RING);
      const state = fixture.live(0);
      await device.rowLog.append({ key, path: '/AUTH_test/c', name: 'one', state });
      await fixture.put(device, 4, bytes(10));
      const at = await rowBefore(fixture, 4);
      await device.close();
      fixture.machine.disk.flipByte(SEGMENT, at);
      fixture.machine.disk.lose(`${FOLDER}/rows.db`);
      const again = await fixture.open();
      expect(again.completeness.ranges(CONTAINER_RING)).toEqual([]);
      expect(again.completeness.ranges(0)).toHaveLength(1);
      expect(again.audit.facts().suspects).toBe(1);
      await again.close();
    }));

  it('a blob with a sector that cannot be read is damage, and no end of the cycle', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      const action = { kind: 'error', code: 'EIO' } as const;
      const path = blobPath(device.stat(keyOf(21))!);
      expectBytes(await readAll(device, device.stat(keyOf(21))!), bytes(300_000, 21)); // its handle is open now
      fixture.machine.disk.inject({ operations: ['read'], path, action });
      await audit(device);
      expect(device.stat(keyOf(21))).toMatchObject({ hasBody: false });
      expect(device.audit.facts()).toMatchObject({ cycles: 1, found: 1 });
      expect(device.status).toBe('ok');
      await device.close();
    }));

  it('a segment that cannot be read is rewritten from what else is known', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      const action = { kind: 'error', code: 'EIO' } as const;
      fixture.machine.disk.inject({ operations: ['read'], path: SEGMENT, action });
      for (let n = 0; n < 4; n++) await device.audit.step(64 * 1024);
      await mend(device);
      expect(await fixture.env.disk.stat(SEGMENT)).toBeUndefined();
      expect(device.stat(keyOf(7))).toMatchObject({ hasBody: false });
      expectBytes(await readAll(device, device.stat(keyOf(21))!), bytes(300_000, 21)); // a blob
      await audit(device);
      expect(device.audit.facts()).toMatchObject({ cycles: 1, suspects: 0 });
      expect(device.status).toBe('ok');
      await device.close();
    }));

  it('tries again to rewrite it when what stopped that is over, also where nothing is written any more', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 4);
      const key = keyOf(100, CONTAINER_RING);
      const state = fixture.live(0);
      await device.rowLog.append({ key, path: '/AUTH_test/c', name: 'one', state });
      let isUsable = false;
      const { rows } = fixture;
      const standing = rows.standing.bind(rows);
      rows.standing = (row) => (isUsable ? standing(row) : 'undecided');
      fixture.machine.disk.flipByte(SEGMENT, 20);
      await device.audit.step(1);
      await mend(device);
      expect(device.audit.facts().suspects).toBe(1);
      isUsable = true;
      await fixture.env.clock.sleep(6_000);
      await mend(device);
      expect(device.audit.facts().suspects).toBe(0);
      expect(await fixture.env.disk.stat(SEGMENT)).toBeUndefined();
      await expectAll(device, 4);
      await device.close();
    }));

  it('rewrites a damaged segment also where it was found to be too full of what is needed to gain by it', () =>
    withDevice(
      async (fixture, device) => {
        const key = keyOf(100, CONTAINER_RING);
        for (let n = 0; n < 300; n++) {
          const state = fixture.live(0);
          await device.rowLog.append({ key, path: '/AUTH_test/c', name: `row ${n}`, state });
        }
        await mend(device);
        expect(await fixture.env.disk.stat(SEGMENT)).toBeDefined();
        fixture.machine.disk.flipByte(SEGMENT, 20);
        await audit(device);
        await mend(device);
        expect(device.audit.facts().suspects).toBe(0);
        expect(await fixture.env.disk.stat(SEGMENT)).toBeUndefined();
        expect(fixture.rows.get({ key, name: 'row 0' })).toBeDefined();
        await device.close();
      },
      { limits: { segmentBytes: 32 * 1024 } },
    ));

  it('closes the open segment to rewrite it, and knows of suspects after a restart', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 4);
      fixture.machine.disk.flipByte(SEGMENT, 20); // the segment's own header
      await device.audit.step(1);
      expect(device.audit.facts().suspects).toBe(1);
      await device.close();
      const again = await fixture.open();
      expect(again.audit.facts()).toMatchObject({ suspects: 1, cycles: 0 });
      await mend(again);
      expect(await fixture.env.disk.stat(SEGMENT)).toBeUndefined();
      await expectAll(again, 4);
      await again.close();
    }));

  it('a forget record that may be lost is made up for: the dead version does not come back', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 2);
      await fixture.put(device, 50, bytes(90_000, 3)); // in segment 1
      for (let n = 60; n < 64; n++) await fixture.put(device, n, bytes(90_000, n)); // segment 2
      device.markListed(keyOf(50), device.stat(keyOf(50))!.state.data!.timestamp);
      expect(await device.forget(device.stat(keyOf(50))!)).toBe(true);
      await fixture.put(device, 65, bytes(10));
      const second = `${FOLDER}/log/00000002.seg`;
      const log = await fixture.env.disk.read(second);
      const at = log.lastIndexOf(Buffer.from(pathOf(50)));
      expect(at).toBeGreaterThan(0);
      fixture.machine.disk.flipByte(second, at);
      await audit(device);
      await mend(device);
      await audit(device);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect(rebuilt.stat(keyOf(50))).toBeUndefined();
      await rebuilt.close();
    }));

  it('nor where compaction is the first to meet what it cannot read', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 2);
      await fixture.put(device, 50, bytes(60_000, 3)); // in segment 1, most of which is needed
      for (let n = 51; n < 53; n++) await fixture.put(device, n, bytes(90_000, n));
      for (let n = 60; n < 62; n++) await fixture.put(device, n, bytes(90_000, n)); // segment 2
      device.markListed(keyOf(50), device.stat(keyOf(50))!.state.data!.timestamp);
      expect(await device.forget(device.stat(keyOf(50))!)).toBe(true);
      const second = `${FOLDER}/log/00000002.seg`;
      const at = (await fixture.env.disk.read(second)).lastIndexOf(Buffer.from(pathOf(50)));
      expect(at).toBeGreaterThan(0);
      fixture.machine.disk.flipByte(second, at);
      for (let n = 60; n < 68; n++) await fixture.put(device, n % 64, bytes(90_000, n));
      for (let n = 60; n < 64; n++) await fixture.put(device, n, bytes(90_000, n));
      await mend(device);
      expect(await fixture.env.disk.stat(second)).toBeUndefined();
      expect(await fixture.env.disk.stat(SEGMENT)).toBeDefined();
      await device.close();
      const again = await fixture.open();
      await audit(again);
      await again.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect(rebuilt.stat(keyOf(50))).toBeUndefined();
      await rebuilt.close();
    }));

  it.each([
    ['a row that is gone', 'DELETE FROM entries WHERE rowid = 5'],
    [
      'a row too many',
      'INSERT INTO entries SELECT policy, hash, 1, unlisted, delete_at, entry FROM entries LIMIT 1',
    ],
    ['a row that is damaged', 'UPDATE entries SET entry = zeroblob(80) WHERE rowid = 3'],
    ['an expiry that nobody set', 'UPDATE entries SET delete_at = 5 WHERE rowid = 4'],
    ['a mark that hides an unlisted entry', 'UPDATE entries SET unlisted = NULL WHERE rowid = 4'],
    ['statistics that would drop a segment', 'DELETE FROM segments WHERE segment = 1'],
    ['tables that are defined otherwise', 'DROP INDEX entries_delete_at'],
    ['a lost digest', 'DELETE FROM digest_changes'],
    ['digests as of another moment', 'UPDATE digest_changes SET sequence = sequence + 64'],
    ['statistics of another segment', 'UPDATE segments SET segment = 17 WHERE segment = 1'],
    ['a value without a name', "UPDATE meta SET name = 'versionr' WHERE name = 'versions'"],
    ['damaged meta', "UPDATE meta SET value = x'00' WHERE name = 'position'"],
  ])('takes a damaged index out of use, and the next start rebuilds it: %s', (_, sql) =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      await device.checkpoint();
      fixture.env.disk.openDatabase(`${FOLDER}/index.db`).exec(sql);
      expect(await audit(device).then(() => 'fine', codeOf)).toBe('device-failed');
      expect(device.status).toBe('failed');
      expect(device.statusReason).toBe('index-damaged');
      await device.close();
      const again = await fixture.open();
      expect(again.opened.rebuilt).toBe(true);
      await expectAll(again);
      await audit(again);
      expect(again.audit.facts().found).toBe(1);
      await again.close();
    }),
  );

  it('goes on where it was after a restart', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      for (let i = 0; i < 5; i++) await device.audit.step(64 * 1024);
      const { readBytes, startedMs } = device.audit.facts();
      await device.audit.setRate(12_345);
      await device.close();
      const again = await fixture.open();
      expect(again.audit.facts()).toMatchObject({ readBytes, startedMs, bytesPerSecond: 12_345 });
      await again.close();
      const place = await fixture.env.disk.read(`${FOLDER}/audit.json`);
      place[30]! ^= 1;
      await fixture.env.disk.replace(`${FOLDER}/audit.json`, place);
      const anew = await fixture.open();
      expect(anew.audit.facts()).toMatchObject({ readBytes: 0, cycles: 0 });
      await anew.close();
    }));

  it('removes a blob that nobody names once it is a day old', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 1);
      const entry = device.stat(keyOf(2))!;
      const orphan = blobPath(entry).replace(/[0-9a-f]+$/, 'abc');
      await fixture.env.disk.replace(orphan, await fixture.env.disk.read(blobPath(entry)));
      await audit(device);
      expect(device.audit.facts().orphans).toBe(1);
      await device.checkpoint();
      expect(await fixture.env.disk.stat(orphan)).toBeDefined();
      await fixture.env.clock.sleep(ORPHAN_AGE_MS + 1000);
      await audit(device);
      for (let i = 0; i < 10; i++) await device.checkpoint();
      expect(await fixture.env.disk.stat(orphan)).toBeUndefined();
      expectBytes(await readAll(device, entry), bytes(300_000, 2));
      await device.close();
    }));

  it('is not in the way of writes', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device, 5);
      let n = 200;
      const writing = (async () => {
        for (; n < 300; n++) await fixture.put(device, n, bytes(3000, n));
      })();
      for (let i = 0; i < 60; i++) await device.audit.step(8 * 1024);
      await writing;
      expect(device.status).toBe('ok');
      expect(device.audit.facts().found).toBe(0);
      await device.close();
    }));
});

describe('quarantine', () => {
  it('is listed, and cleared without a restart', () =>
    withDevice(async (fixture, device) => {
      await fill(fixture, device);
      const { start } = device.stat(keyOf(7))!.body as { start: number };
      fixture.machine.disk.flipByte(SEGMENT, start + 50);
      fixture.machine.disk.flipByte(blobPath(device.stat(keyOf(21))!), 9);
      await audit(device);
      await fixture.env.clock.sleep(1000);
      const items = await device.quarantined.list(10);
      expect(items.map(({ path }) => path).sort()).toEqual([pathOf(21), pathOf(7)].sort());
      expect(items.every(({ bytes: size, atMicros }) => size > 2000 && atMicros! > 0)).toBe(true);
      expect(device.facts().quarantined).toBe(2);
      expect(await device.quarantined.clear()).toBe(2);
      expect(device.facts().quarantined).toBe(0);
      expect(await device.quarantined.list(10)).toEqual([]);
      await device.close();
    }));
});

describe('the place of the auditor', () => {
  const place = {
    ...firstPlace('ab'.repeat(16), 5),
    phase: 'rows' as const,
    at: '17',
    suspects: [3],
  };

  it('is read as it was written', () => {
    expect(decodePlace(encodePlace(place))).toEqual(place);
  });

  it('of version 1 stays readable', () => {
    const folder = path.resolve(import.meta.dirname, '../../test/golden/audit/v1');
    expect(decodePlace(readFileSync(path.join(folder, 'audit.json')))).toMatchObject({
      phase: 'blobs',
      cycles: 3,
      verifiedSinceMs: 1_794_000_000_000,
      bytesPerSecond: 5_000_000,
      suspects: [2, 9],
      notes: { 'object.listings': '0 8f' },
    });
  });

  it('is not believed when a byte of it changed', () => {
    const good = encodePlace(place);
    for (let at = 0; at < good.length - 1; at++) {
      const bad = Buffer.from(good);
      bad[at]! ^= 4;
      expect(decodePlace(bad)).toBeUndefined();
    }
  });
});
