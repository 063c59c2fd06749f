/**
 * A flipped byte in a header of index.db: of the file (SQLite calls it read-only, of a future format, or its statements
 * wrong), or of one of its pages, also those that a start looks at first.
 */
import { expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { bytes, FOLDER, keyOf, readAll, withDevice } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const INDEX = `${FOLDER}/index.db`;
const HEADER_BYTES = 100;

it('rebuilds the index, or harms nothing; the device was refused for ever (simulator, seed 900441)', () =>
  withDevice(async (fixture, first) => {
    const { disk } = fixture.machine;
    let device = first;
    await fixture.put(device, 1, bytes(20));
    for (let place = 0; place < HEADER_BYTES; place++) {
      for (const bits of [1, 4, 0x80]) {
        await device.close();
        disk.flipByte(INDEX, place, bits);
        device = await fixture.open();
        expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(20));
        expect((await fixture.put(device, 2, bytes(place))).kind).toBe('stored');
      }
    }
    await device.close();
  }));

it('in a page has the index rebuilt, at once or at the next start, or harms nothing', () =>
  withDevice(async (fixture, first) => {
    let device = first;
    const use = async (): Promise<void> => {
      expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(20));
      expect((await fixture.put(device, 2, bytes(30))).kind).toBe('stored');
      expect(device.digests.summarise(0, 0, 1 << 20, 1)[0]!.total).toBe(2);
      expect(device.entries(0, Buffer.alloc(32), undefined, 9)).toHaveLength(2);
      device.expiring(2 ** 40, 9);
      device.unlisted(9, 0);
    };
    await fixture.put(device, 1, bytes(20));
    await device.completeness.mark(0, 0, 1 << 20, true);
    await device.close();
    const image = await fixture.env.disk.read(INDEX);
    const pageBytes = image.readUInt16BE(16);
    let wasDamaged = false;
    for (let page = pageBytes; page < image.length; page += pageBytes) {
      for (const place of [0, 3, 6]) {
        fixture.machine.disk.flipByte(INDEX, page + place, 4);
        device = await fixture.open();
        const told = await use().catch(codeOf);
        await device.close();
        if (told === undefined) continue;
        expect(told).toBe('device-failed');
        wasDamaged = true;
        device = await fixture.open();
        await use();
        await device.close();
      }
    }
    expect(wasDamaged).toBe(true);
  }));

it('that leads to another value, which is whole, has the index rebuilt (simulator, brief seed 1038)', () =>
  withDevice(async (fixture, device) => {
    await fixture.put(device, 1, bytes(20));
    await device.close();
    const database = fixture.env.disk.openDatabase(INDEX, { cacheKiB: 256 });
    database.exec(
      "UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'completeness') WHERE name = 'versions'",
    );
    database.close();
    const again = await fixture.open();
    expect(again.opened.rebuilt).toBe(true);
    expect(again.stat(keyOf(1))).toBeDefined();
    await again.close();
  }));
