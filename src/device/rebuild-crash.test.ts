import { describe, expect, it } from 'vitest';
import { bytes, DeviceFixture, FOLDER } from './testing/device-fixture.ts';

describe('a power failure right after an index was rebuilt (simulator, seed 9011)', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('leaves the device complete (%i)', async (seed) => {
    const fixture = new DeviceFixture(seed);
    const { world, machine } = fixture;
    const before = async (): Promise<void> => {
      await fixture.format();
      const device = await fixture.open();
      await device.completeness.mark(0, 0, 1024, true);
      await fixture.put(device, 1, bytes(100));
    };
    await world.run(before());
    machine.crash('lost');
    machine.disk.lose(`${FOLDER}/index.db`);
    for (let life = 0; life < 4; life++) {
      machine.restart();
      const device = await world.run(fixture.open());
      expect(device.completeness.ranges(0)).toEqual([{ from: 0, to: 1024 }]);
      await world.runFor(seed * 3);
      machine.crash();
    }
  });
});
