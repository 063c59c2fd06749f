import { describe, expect, it } from 'vitest';
import { bytes, keyOf, pathOf, readAll, withDevice } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const BODY_BYTES = 500_000;

describe('a body among many', () => {
  // Chunks smaller and larger than a tray, and those that fill it to the byte.
  for (const chunkBytes of [5_000, 32 * 1024, 100_000, 200_000]) {
    it(`is stored as it came, in chunks of ${chunkBytes}`, () =>
      withDevice(async (fixture, device) => {
        const numbers = Array.from({ length: 12 }, (_, i) => i + 1);
        const bodies = numbers.map((number) => bytes(BODY_BYTES + number));
        const stages = await Promise.all(numbers.map((number) => device.stage(keyOf(number))));
        for (let at = 0; at <= BODY_BYTES + 12; at += chunkBytes) {
          await Promise.all(
            stages.map((stage, i) => stage.write(bodies[i]!.subarray(at, at + chunkBytes))),
          );
        }
        for (const [i, stage] of stages.entries()) {
          await stage.finish();
          const [key, path] = [keyOf(numbers[i]!), pathOf(numbers[i]!)];
          const state = fixture.live(bodies[i]!.length);
          await device.write({ key, path, state, body: stage, unlisted: false, intent: 'write' });
          expectBytes(await readAll(device, device.stat(key)!), bodies[i]!);
        }
      }));
  }

  it('goes on by larger pieces when the others have ended', () =>
    withDevice(async (fixture, device) => {
      const others = await Promise.all(
        Array.from({ length: 20 }, (_, i) => device.stage(keyOf(i + 2))),
      );
      const body = bytes(3_000_000);
      const stage = await device.stage(keyOf(1));
      for (let at = 0; at < body.length; at += 70_000) {
        if (at === 700_000) for (const other of others) await other.abandon();
        await stage.write(body.subarray(at, at + 70_000));
      }
      await stage.finish();
      const write = { key: keyOf(1), path: pathOf(1), unlisted: false, intent: 'write' as const };
      const state = fixture.live(body.length);
      expect((await device.write({ ...write, state, body: stage })).kind).toBe('stored');
      expectBytes(await readAll(device, device.stat(keyOf(1))!), body);
    }));
});
