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
  for (const name of (await fixture.env.disk.list(`${FOLDER}/log`)).reverse()) {
    const file = `${FOLDER}/log/${name}`;
    const at = (await fixture.env.disk.read(file)).lastIndexOf(pathOf(1));
    if (at >= 0) return fixture.machine.disk.flipByte(file, at);
  }
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

  it('is not taken for filled by who was closed, and opened anew, meanwhile', () =>
    withDevice(async (fixture, device) => {
      await damaged(fixture, device);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const first = await fixture.open();
      await first.close();
      const second = await fixture.open();
      await expect(first.fillHole()).rejects.toThrow('closed');
      await second.close();
      const third = await fixture.open();
      expect(third.opened.hasHole).toBe(true);
      await third.close();
    }));

  it('is one for an index that was put back from before it', () =>
    withDevice(async (fixture, device) => {
      for (const number of [0, 1]) await fixture.put(device, number, bytes(100));
      await device.checkpoint();
      const before = await fixture.env.disk.read(`${FOLDER}/index.db`);
      await damaged(fixture, device);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      fixture.machine.disk.plant(`${FOLDER}/index.db`, before);
      const opened = await fixture.open();
      expect(opened.opened).toMatchObject({ rebuilt: false, hasHole: true });
      expect(opened.stat(keyOf(1))).toBeDefined();
      await opened.close();
    }));

  it.each([true, false])(
    'is also a last batch that is bad, if the index is lost (%s): it may have forgotten something',
    (isLost) =>
      withDevice(async (fixture, device) => {
        for (const number of [0, 1]) await fixture.put(device, number, bytes(100));
        await device.disown(device.stat(keyOf(1))!);
        fixture.machine.kill();
        fixture.machine.restart();
        const segment = await fixture.env.disk.read(SEGMENT);
        fixture.machine.disk.flipByte(SEGMENT, segment.lastIndexOf(pathOf(1)));
        if (isLost) fixture.machine.disk.lose(`${FOLDER}/index.db`);
        const opened = await fixture.open();
        expect(opened.opened).toMatchObject({ tailCut: true, hasHole: isLost });
        await opened.close();
        const again = await fixture.open();
        expect(again.opened).toMatchObject({ tailCut: false, hasHole: isLost });
        await again.close();
      }),
  );

  it('is also an end of the log that is gone, and that the index had', () =>
    withDevice(async (fixture, device) => {
      for (const number of [0, 1]) await fixture.put(device, number, bytes(100));
      const { size } = (await fixture.env.disk.stat(SEGMENT))!;
      await device.disown(device.stat(keyOf(1))!);
      await device.close();
      const segment = await fixture.env.disk.read(SEGMENT);
      fixture.machine.disk.plant(SEGMENT, segment.subarray(0, size));
      const opened = await fixture.open();
      expect(opened.opened).toMatchObject({ tailCut: true, rebuilt: true, hasHole: true });
      expect(opened.stat(keyOf(1))).toBeDefined();
      await opened.close();
    }));

  it('is remembered while older segments may hold what it had forgotten, though its segment is gone', () =>
    withDevice(
      async (fixture, device) => {
        await fixture.put(device, 1, bytes(100));
        for (const number of [5, 6, 7]) await fixture.put(device, number, bytes(8000));
        await damaged(fixture, device);
        const mended = await fixture.open();
        expect(mended.opened.hasHole).toBe(false);
        while (mended.audit.facts().found === 0) await mended.audit.step(100_000);
        for (let step = 0; step < 5; step++) await mended.compactStep();
        expect(mended.audit.facts().suspects).toBe(0);
        await mended.checkpoint();
        await mended.close();
        fixture.machine.disk.lose(`${FOLDER}/index.db`);
        const rebuilt = await fixture.open();
        expect(rebuilt.opened).toMatchObject({ rebuilt: true, damaged: 0, hasHole: true });
        expect(rebuilt.stat(keyOf(1))).toBeDefined();
        await rebuilt.close();
      },
      { limits: { segmentBytes: 16_000 } },
    ));

  it('is none for an index that has what came before it', () =>
    withDevice(async (fixture, device) => {
      await damaged(fixture, device);
      const opened = await fixture.open();
      expect(opened.opened).toMatchObject({ rebuilt: false, hasHole: false });
      expect(opened.stat(keyOf(1))).toBeUndefined();
      await opened.close();
    }));
});
