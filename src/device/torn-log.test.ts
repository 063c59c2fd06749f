/** The end of a log that a crash has torn, or that went bad: what a start makes of it, and whoever ends that start. */
import { describe, expect, it } from 'vitest';
import { INDEX_VERSION, IndexFile } from './index-file.ts';
import type { LogDevice } from './open.ts';
import { bytes, DeviceFixture, FOLDER, keyOf, withDevice } from './testing/device-fixture.ts';

const SEGMENT = `${FOLDER}/log/00000001.seg`;

async function notes(fixture: DeviceFixture): Promise<string[]> {
  const names = await fixture.env.disk.list(`${FOLDER}/quarantine`);
  return names.filter((name) => name.endsWith('.json'));
}

async function markAll(device: LogDevice): Promise<void> {
  await device.completeness.mark(0, 0, 1 << 20, true);
}

/** Two bodies, and the process is killed; the last batch, of full length, is bad. */
async function tearLast(fixture: DeviceFixture, device: LogDevice): Promise<void> {
  await markAll(device);
  for (const number of [1, 2]) await fixture.put(device, number, bytes(3000, number));
  const { record } = device.stat(keyOf(2))!;
  fixture.machine.kill();
  fixture.machine.restart();
  fixture.machine.disk.flipByte(SEGMENT, record.offset + 3000);
}

/** Synced batches are gone, and only the index knows that there were any. */
async function endBeforeIndex(fixture: DeviceFixture, device: LogDevice): Promise<void> {
  await markAll(device);
  await fixture.put(device, 1, bytes(3000));
  const { offset } = device.stat(keyOf(1))!.record;
  await device.close();
  const whole = await fixture.env.disk.read(SEGMENT);
  fixture.machine.disk.plant(SEGMENT, whole.subarray(0, offset - 64));
}

/** A start on a damaged device is ended ever later, until it comes through; what the next start knows is looked at. */
async function endedStarts(
  end: 'kill' | 'crash',
  damage: (fixture: DeviceFixture, device: LogDevice) => Promise<void>,
  look: (device: LogDevice) => Promise<void>,
): Promise<void> {
  let isOpen = false;
  for (let ms = 100; !isOpen; ms += 100) {
    const fixture = new DeviceFixture();
    const { machine, world } = fixture;
    const before = async (): Promise<void> => {
      await fixture.format();
      await damage(fixture, await fixture.open());
    };
    await world.run(before());
    const action = { kind: 'delay', ms: 300 } as const;
    machine.disk.inject({ operations: ['sync', 'write'], path: SEGMENT, action });
    void fixture.open().then(() => (isOpen = true));
    await world.runFor(ms);
    machine[end]();
    machine.restart();
    const after = async (): Promise<void> => {
      const device = await fixture.open();
      await look(device);
      await device.close();
    };
    await world.run(after());
  }
}

describe('a torn end of the log', () => {
  it('is cut off, and nothing is complete until the tail is confirmed, also after a restart', () =>
    withDevice(async (fixture, device) => {
      await tearLast(fixture, device);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ tailCut: true, damaged: 0 });
      expect(again.stat(keyOf(1))).toBeDefined();
      expect(again.stat(keyOf(2))).toBeUndefined();
      expect(again.completeness.isComplete(0, keyOf(1).hash)).toBe(false);
      await again.close();
      const third = await fixture.open();
      expect(third.completeness.tailUnconfirmed).toBe(true);
      await third.completeness.confirmTail();
      expect(third.completeness.isComplete(0, keyOf(1).hash)).toBe(true);
      await third.close();
      const fourth = await fixture.open();
      expect(fourth.completeness.isComplete(0, keyOf(1).hash)).toBe(true);
      await fourth.close();
      expect(await notes(fixture)).toHaveLength(1);
    }));

  it('is no hole after an upgrade, though the new version cannot read the index', () =>
    withDevice(async (fixture, device) => {
      await tearLast(fixture, device);
      const database = fixture.env.disk.openDatabase(`${FOLDER}/index.db`);
      new IndexFile(database).setMeta('format', [INDEX_VERSION - 1, device.incarnation]);
      database.exec('ALTER TABLE segments RENAME COLUMN bytes TO live');
      database.close();
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ rebuilt: true, tailCut: true, hasHole: false });
      await again.close();
    }));

  it('that a kill left unfinished is cut off, and the device counts at once', () =>
    withDevice(async (fixture, device) => {
      await markAll(device);
      await fixture.put(device, 1, bytes(3000, 1));
      await fixture.put(device, 2, bytes(3000, 2));
      const { offset } = device.stat(keyOf(2))!.record;
      fixture.machine.kill();
      fixture.machine.restart();
      const whole = await fixture.env.disk.read(SEGMENT);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      for (const end of [offset + 2000, offset + 10, offset - 30]) {
        fixture.machine.disk.plant(SEGMENT, whole.subarray(0, end));
        const again = await fixture.open();
        expect(again.opened).toMatchObject({ tailCut: false, damaged: 0 });
        expect(again.stat(keyOf(1))).toBeDefined();
        expect(again.stat(keyOf(2))).toBeUndefined();
        expect(again.completeness.isComplete(0, keyOf(1).hash)).toBe(true);
        await again.close();
        fixture.machine.disk.lose(`${FOLDER}/index.db`);
      }
      expect(await notes(fixture)).toEqual([]);
    }));

  it('is not believed complete for any ring, whenever the start that finds it is killed', () =>
    endedStarts(
      'kill',
      async (fixture, device) => {
        for (const policy of [0, 1, 2]) await device.completeness.mark(policy, 0, 1 << 20, true);
        await fixture.put(device, 1, bytes(3000));
        await fixture.put(device, 2, bytes(10));
        const { record } = device.stat(keyOf(1))!;
        await device.close();
        fixture.machine.disk.flipByte(SEGMENT, record.offset + 70);
        fixture.machine.disk.lose(`${FOLDER}/index.db`);
      },
      async ({ completeness }) => {
        for (const policy of [0, 1, 2]) expect(completeness.ranges(policy)).toEqual([]);
      },
    ));

  it.each([
    ['kill', 'the index'],
    ['crash', 'the index'],
    ['kill', 'the index lost'],
    ['crash', 'the index lost'],
  ] as const)(
    'is a tail to be confirmed whenever the start that cuts it ends by a %s, with %s',
    (end, what) =>
      endedStarts(
        end,
        async (fixture, device) => {
          await tearLast(fixture, device);
          if (what === 'the index lost') fixture.machine.disk.lose(`${FOLDER}/index.db`);
        },
        async ({ completeness, versions }) => {
          expect(completeness.tailUnconfirmed).toBe(true);
          expect(versions.forgetful).toBe(true);
          expect(completeness.ranges(0)).toEqual([]);
          await completeness.confirmTail();
          expect(completeness.isComplete(0, keyOf(1).hash)).toBe(true);
        },
      ),
  );

  it('behind a clean shutdown is damage, not a torn write', () =>
    withDevice(async (fixture, device) => {
      await markAll(device);
      await fixture.put(device, 1, bytes(3000));
      const { record } = device.stat(keyOf(1))!;
      await device.close();
      fixture.machine.disk.flipByte(SEGMENT, record.offset + 3000);
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ tailCut: false, damaged: 1 });
      expect(again.stat(keyOf(1))).toMatchObject({ hasBody: false });
      expect(again.completeness.isComplete(0, keyOf(1).hash)).toBe(true);
      await again.close();
    }));

  it('a log that ends before the index does is not believed to be complete', () =>
    withDevice(async (fixture, device) => {
      await endBeforeIndex(fixture, device);
      const again = await fixture.open();
      expect(again.opened).toMatchObject({ rebuilt: true, tailCut: true });
      expect(again.completeness.ranges(0)).toEqual([]);
      await again.close();
    }));

  it.each(['kill', 'crash'] as const)(
    'a log that ends before the index does is a tail to be confirmed whenever the start that finds it ends by a %s',
    (end) =>
      endedStarts(end, endBeforeIndex, async ({ completeness, versions }) => {
        expect(completeness.tailUnconfirmed).toBe(true);
        expect(versions.forgetful).toBe(true);
        expect(completeness.ranges(0)).toEqual([]);
      }),
  );
});
