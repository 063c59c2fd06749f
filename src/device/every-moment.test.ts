/**
 * One fixed story, ended after each of its events in turn: by a power failure that loses, tears or keeps
 * what was not synced, and by a kill. What was acknowledged before is there afterwards, whatever the
 * moment: names, bytes, rows, completeness, the unlisted mark.
 */
import { describe, expect, it } from 'vitest';
import { CONTAINER_RING } from '#base/names.ts';
import type { LogDevice } from './open.ts';
import { bytes, DeviceFixture, keyOf, pathOf, readAll } from './testing/device-fixture.ts';

/** What is lost, and every how many events (all of them would take long; the offsets differ). */
const ENDS = { lost: 2, random: 3, kept: 5, kill: 4 } as const;
type End = keyof typeof ENDS;
const LIMITS = { inlineLimit: 4000, stageMemory: 0, segmentBytes: 16_000, compactStepBytes: 8000 };
const ROW = { key: keyOf(9, CONTAINER_RING), path: '/AUTH_test/c', name: 'row' };

/** A check of the device after the end, for each step that was acknowledged before it. */
type Check = (device: LogDevice, fixture: DeviceFixture) => Promise<void>;

async function story(fixture: DeviceFixture, passed: Map<string, Check>): Promise<void> {
  await fixture.format();
  const device = await fixture.open();
  await device.completeness.mark(0, 0, 500, true);
  passed.set('marked', async (after) => {
    const sure = after.completeness.ranges(0);
    expect(after.completeness.tailUnconfirmed ? [{ from: 0, to: 500 }] : sure).toEqual([
      { from: 0, to: 500 },
    ]);
  });
  await device.versions.fence(0, [[0, 1 << 20]], 7);
  passed.set('fenced', async (after) => {
    const isFenced = after.versions.fenceOf(0, keyOf(1).hash) === 7;
    expect(isFenced || after.versions.forgetful).toBe(true);
  });
  const put = async (number: number, length: number, staged = false): Promise<void> => {
    const body = bytes(length, number + length);
    await fixture[staged ? 'putStaged' : 'put'](device, number, body);
    passed.set(`key ${number}`, async (after) => {
      const entry = after.stat(keyOf(number))!;
      // The next step for this key may have happened without an answer.
      if (entry.state.data!.kind !== 'live' || entry.state.data!.size !== length) return;
      expect(entry.unlisted, 'a row that was not acknowledged is not forgotten').toBe(true);
      expect((await readAll(after, entry)).equals(body)).toBe(true);
    });
  };
  await put(1, 3000);
  await put(2, 100_000, true);
  await Promise.all([put(3, 2000), put(4, 2000)]);
  await put(2, 90_000, true);
  await fixture.remove(device, 1);
  passed.set('key 1', async (after) =>
    expect(after.stat(keyOf(1))!.state.data!.kind).toBe('deleted'),
  );
  const state = fixture.metadata({ a: 'b' });
  await device.write({ key: keyOf(3), path: pathOf(3), state, unlisted: false, intent: 'write' });
  passed.set('post', async (after) =>
    expect(after.stat(keyOf(3))!.state.groups['user']).toBeDefined(),
  );
  await device.rowLog.append({ ...ROW, state: fixture.live(1) });
  passed.set('row', async (_, { rows }) => expect(rows.get(ROW)).toBeDefined());
  for (let round = 0; round < 8; round++) await put(5, 3900 - round);
  await device.checkpoint();
  for (let step = 0; step < 6; step++) await device.compactStep();
  await device.close();
}

/** How many events the whole story has. */
async function length(): Promise<number> {
  const fixture = new DeviceFixture('every moment', LIMITS);
  await fixture.world.run(story(fixture, new Map()));
  return fixture.world.eventCount;
}

async function endAt(moment: number, end: End): Promise<void> {
  const fixture = new DeviceFixture('every moment', LIMITS);
  const { world, machine } = fixture;
  const passed = new Map<string, Check>();
  const telling = story(fixture, passed);
  telling.catch(() => undefined); // it ends with the machine
  await world.run(() => world.eventCount >= moment);
  if (end === 'kill') machine.kill();
  else machine.crash(end);
  machine.restart();
  const checks = [...passed];
  const check = async (): Promise<void> => {
    if (checks.length === 0) return; // the device may not even be formatted
    const device = await fixture.open();
    for (const [, one] of checks) await one(device, fixture);
    await device.close();
  };
  await world.run(check());
}

describe('a device that ends after any event of its life', () => {
  for (const end of Object.keys(ENDS) as End[]) {
    it(`has all that it acknowledged (${end})`, async () => {
      const last = await length();
      for (let moment = ENDS[end]; moment < last; moment += ENDS[end]) {
        await endAt(moment, end).catch((error: unknown) => {
          throw new Error(`ended after event ${moment}`, { cause: error });
        });
      }
    });
  }
});
