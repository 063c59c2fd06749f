/**
 * A device whose index, or rows, are made anew from a long log with a hole in its middle, ended at every moment of that: what
 * the next start knows of the hole, though the part of the log that it reads may have none.
 */
import { describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
import type { LogDevice } from './open.ts';
import { bytes, DeviceFixture, FOLDER, keyOf, pathOf } from './testing/device-fixture.ts';

const HALF = 1 << 19;
const ALL = 1 << 20;
/** Records that a start takes between two flushes, and some. */
const MANY = 600;

/** Complete for all rings; the second of three keys was forgotten, and the record that says so is damaged. */
async function damaged(fixture: DeviceFixture, device: LogDevice): Promise<void> {
  const rings = [0, CONTAINER_RING];
  for (const ring of rings) await device.completeness.mark(ring, 0, HALF, true);
  const put = (number: number): Promise<unknown> => fixture.put(device, number, bytes(10));
  const many = (first: number): Promise<unknown> =>
    Promise.all(Array.from({ length: MANY }, (_, i) => put(first + i)));
  await put(1);
  await many(1000);
  await many(1600);
  await device.disown(device.stat(keyOf(1))!);
  await many(2200);
  await many(3000);
  for (const ring of rings) await device.completeness.mark(ring, HALF, ALL, true);
  await put(2);
  await device.close();
  const { disk } = fixture.machine;
  for (const name of [...(await fixture.env.disk.list(`${FOLDER}/log`))].reverse()) {
    const file = `${FOLDER}/log/${name}`;
    const at = (await fixture.env.disk.read(file)).lastIndexOf(`${pathOf(1)}`.concat('ANL'));
    if (at >= 0) return disk.flipByte(file, at);
  }
  throw new Error('the record is not there');
}

async function endedStarts(lost: string, look: (device: LogDevice) => void): Promise<number> {
  let starts = 0;
  for (let isOpen = false; !isOpen; starts++) {
    const fixture = new DeviceFixture(1, { segmentBytes: 32_000 });
    const { machine, world } = fixture;
    const before = async (): Promise<void> => {
      await fixture.format();
      await damaged(fixture, await fixture.open());
    };
    await world.run(before());
    machine.disk.lose(`${FOLDER}/${lost}`);
    const action = { kind: 'delay', ms: 100 } as const;
    machine.disk.inject({ operations: ['open', 'sync', 'write'], path: `${FOLDER}/log`, action });
    void fixture.open().then(() => (isOpen = true));
    await world.runFor(100 * (starts + 1));
    machine.kill();
    machine.restart();
    const after = async (): Promise<void> => {
      const device = await fixture.open();
      look(device);
      await device.close();
    };
    await world.run(after());
  }
  return starts;
}

describe('a start that is killed while it reads a log with a hole', () => {
  it('leaves the next one to ask what the hole had forgotten, and complete for nothing', async () => {
    const starts = await endedStarts('index.db', (device) => {
      expect(device.opened.hasHole).toBe(true);
      for (const ring of [0, CONTAINER_RING]) expect(device.completeness.ranges(ring)).toEqual([]);
    });
    expect(starts).toBeGreaterThan(10);
  });

  it('so with the rows alone, which are not complete', async () => {
    const starts = await endedStarts('rows.db', (device) => {
      expect(device.opened.hasHole).toBe(true);
      expect(device.completeness.ranges(CONTAINER_RING)).toEqual([]);
    });
    expect(starts).toBeGreaterThan(10);
  });
});
