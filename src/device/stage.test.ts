import { describe, expect, it } from 'vitest';
import type { StagedBody } from './contract.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  readAll,
  withDevice,
} from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const BODY_BYTES = 500_000;

describe('a finished stage', () => {
  it('gives its bytes, from memory or from the file, and can be committed after', () =>
    withDevice(async (fixture, device) => {
      for (const [i, length] of [0, 40_000, 100_001, 1_500_000].entries()) {
        const [key, path] = [keyOf(i + 1), pathOf(i + 1)];
        const body = bytes(length);
        const stage = await device.stage(key);
        await stage.write(body);
        await expect(collect(stage)).rejects.toMatchObject({ code: 'bad-stage' });
        await stage.finish();
        expectBytes(await collect(stage), body);
        expectBytes(await collect(stage), body);
        const state = fixture.live(length);
        await device.write({ key, path, state, body: stage, unlisted: false, intent: 'write' });
        expectBytes(await readAll(device, device.stat(key)!), body);
        await expect(collect(stage)).rejects.toMatchObject({ code: 'bad-stage' });
      }
    }));

  it('never gives damaged bytes', () =>
    withDevice(async (fixture, device) => {
      const stage = await device.stage(keyOf(1));
      await stage.write(bytes(1_500_000));
      await stage.finish();
      const [file] = await blobs(fixture);
      fixture.machine.disk.flipByte(file!, 1_000_000);
      await expect(collect(stage)).rejects.toMatchObject({ code: 'damaged' });
      await stage.abandon();
      expect(await blobs(fixture)).toEqual([]);
    }));
});

async function blobs({ env }: DeviceFixture): Promise<string[]> {
  const folder = `${FOLDER}/blobs`;
  const files = await Promise.all(
    (await env.disk.list(folder)).map(async (name) =>
      (await env.disk.list(`${folder}/${name}`)).map((file) => `${folder}/${name}/${file}`),
    ),
  );
  return files.flat();
}

async function collect(stage: StagedBody): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stage.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

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
