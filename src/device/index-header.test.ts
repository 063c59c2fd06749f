/** A flipped byte in the header of index.db: SQLite calls the file read-only, of a future format, or its statements wrong. */
import { expect, it } from 'vitest';
import { bytes, FOLDER, keyOf, readAll, withDevice } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const HEADER_BYTES = 100;

it('rebuilds the index, or harms nothing; the device was refused for ever (simulator, seed 900441)', () =>
  withDevice(async (fixture, first) => {
    const { disk } = fixture.machine;
    let device = first;
    await fixture.put(device, 1, bytes(20));
    for (let place = 0; place < HEADER_BYTES; place++) {
      for (const bits of [1, 4, 0x80]) {
        await device.close();
        disk.flipByte(`${FOLDER}/index.db`, place, bits);
        device = await fixture.open();
        expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(20));
        expect((await fixture.put(device, 2, bytes(place))).kind).toBe('stored');
      }
    }
    await device.close();
  }));
