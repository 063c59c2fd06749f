/** A log with bytes that nobody can read, and what a device that is opened over it knows of that. */
import { describe, expect, it } from 'vitest';
import type { LogDevice } from './open.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  withDevice,
} from './testing/device-fixture.ts';

const SEGMENT = `${FOLDER}/log/00000001.seg`;

/** Three keys, the second of which was forgotten; the record that says so is damaged. */
async function damaged(fixture: DeviceFixture, device: LogDevice): Promise<void> {
  for (const number of [0, 1]) await fixture.put(device, number, bytes(100));
  await device.disown(device.stat(keyOf(1))!);
  await fixture.put(device, 2, bytes(100));
  await device.close();
  const segment = await fixture.env.disk.read(SEGMENT);
  fixture.machine.disk.flipByte(SEGMENT, segment.lastIndexOf(pathOf(1)));
}

describe('a hole in the log', () => {
  it('is told of where the index is made anew from it, until peers were asked what it had forgotten', () =>
    withDevice(async (fixture, device) => {
      await damaged(fixture, device);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const rebuilt = await fixture.open();
      expect(rebuilt.opened).toMatchObject({ rebuilt: true, hasHole: true });
      expect(rebuilt.stat(keyOf(1))).toBeDefined();
      await rebuilt.close();
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ rebuilt: false, hasHole: true });
      expect(await again.disown(again.stat(keyOf(1))!)).toBe(true);
      await again.fillHole();
      await again.close();
      const filled = await fixture.open();
      expect(filled.opened.hasHole).toBe(false);
      expect(filled.stat(keyOf(1))).toBeUndefined();
      expect(filled.stat(keyOf(0))).toBeDefined();
      await filled.close();
    }));

  it('is none for an index that has what came before it', () =>
    withDevice(async (fixture, device) => {
      await damaged(fixture, device);
      const opened = await fixture.open();
      expect(opened.opened).toMatchObject({ rebuilt: false, hasHole: false });
      expect(opened.stat(keyOf(1))).toBeUndefined();
      await opened.close();
    }));
});
