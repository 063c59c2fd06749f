/** The updater: which unlisted entries it sends the rows of, in what order. */
import { describe, expect, it } from 'vitest';
import { bytes, keyOf, pathOf, withDevice } from '#device/testing/device-fixture.ts';
import type { Relister } from './relister.ts';
import type { Retirer } from './retirer.ts';
import { createUpdater } from './updater.ts';

const RETIRER = {} as Retirer;
/** More than it takes in one step. */
const STUCK = 300;

describe('the updater', () => {
  it('rows that no replica takes hold up no other', () =>
    withDevice(async (fixture, device) => {
      for (let n = 0; n < STUCK; n++) await fixture.put(device, n, bytes(10));
      await fixture.env.clock.sleep(1_000);
      await fixture.put(device, STUCK, bytes(10));
      await fixture.env.clock.sleep(20_000);
      const listed: string[] = [];
      const relister = {
        relist: async (_: unknown, { path }: { path: string }) => {
          if (path !== pathOf(STUCK)) return 'failed';
          listed.push(path);
          device.markListed(keyOf(STUCK), device.stat(keyOf(STUCK))!.state.data!.timestamp);
          return 'listed';
        },
      } as unknown as Relister;
      const updater = createUpdater(() => new Map([[device.id, device]]), relister, RETIRER);
      for (let step = 0; step < 3; step++) await updater.step(new AbortController().signal);
      expect(listed).toEqual([pathOf(STUCK)]);
      await device.close();
    }));

  it('comes back to what it could not list', () =>
    withDevice(async (fixture, device) => {
      for (let n = 0; n < STUCK; n++) await fixture.put(device, n, bytes(10));
      await fixture.env.clock.sleep(20_000);
      const tries = new Map<string, number>();
      const relister = {
        relist: async (_: unknown, { path }: { path: string }) => {
          tries.set(path, (tries.get(path) ?? 0) + 1);
          return 'failed';
        },
      } as unknown as Relister;
      const updater = createUpdater(() => new Map([[device.id, device]]), relister, RETIRER);
      for (let step = 0; step < 6; step++) await updater.step(new AbortController().signal);
      expect(tries.size).toBe(STUCK);
      expect(Math.min(...tries.values())).toBe(3);
      await device.close();
    }));
});
