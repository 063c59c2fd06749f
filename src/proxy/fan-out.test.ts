import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { type Channel, FanOut } from './fan-out.ts';

const KIB = 1024;
const CHUNK = Buffer.alloc(64 * KIB, 1);
const BUFFER = 256 * KIB;

function setUp(mayDrop: (channel: Channel) => boolean = () => true) {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('proxy');
  const dropped: number[] = [];
  const fanOut = new FanOut({
    env,
    bufferBytes: BUFFER,
    stallMs: 1_000,
    mayDrop,
    onDrop: (channel) => dropped.push(channel.device),
  });
  /** Reads a channel, a chunk every `everyMs`, and counts the bytes. */
  const reader = (channel: Channel, everyMs: number, limit = Number.POSITIVE_INFINITY) => {
    const seen = { bytes: 0, error: undefined as unknown };
    const work = async (): Promise<void> => {
      try {
        for await (const chunk of channel) {
          seen.bytes += chunk.length;
          if (seen.bytes >= limit) await new Promise(() => undefined);
          await env.clock.sleep(everyMs);
        }
      } catch (error) {
        seen.error = error;
      }
    };
    return { seen, done: work() };
  };
  return { world, env, fanOut, dropped, reader };
}

describe('the fan-out of an upload', () => {
  it('gives every replica every byte, whatever their speeds', async () => {
    const { world, fanOut, reader } = setUp();
    const readers = [1, 3, 7].map((ms, device) => reader(fanOut.open(device), ms));
    const send = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) await fanOut.push(CHUNK);
      fanOut.end();
      await Promise.all(readers.map(({ done }) => done));
    };
    await world.run(send());
    for (const { seen } of readers) expect(seen.bytes).toBe(100 * CHUNK.length);
  });

  it('keeps no more than its buffer and one chunk, however slow a replica is', async () => {
    const { world, fanOut, reader } = setUp(() => false);
    const readers = [0, 50].map((ms, device) => reader(fanOut.open(device), ms));
    let most = 0;
    const send = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) {
        await fanOut.push(CHUNK);
        most = Math.max(most, fanOut.bufferedBytes);
      }
      fanOut.end();
      await Promise.all(readers.map(({ done }) => done));
    };
    await world.run(send());
    expect(most).toBeLessThanOrEqual(BUFFER + CHUNK.length + KIB);
  });

  it('drops a replica that takes nothing, and the others get all', async () => {
    const { world, fanOut, dropped, reader } = setUp((channel) => channel.device === 2);
    const good = [0, 1].map((device) => reader(fanOut.open(device), 1));
    reader(fanOut.open(2), 1, CHUNK.length);
    const send = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) await fanOut.push(CHUNK);
      fanOut.end();
      await Promise.all(good.map(({ done }) => done));
    };
    await world.run(send());
    expect(dropped).toEqual([2]);
    for (const { seen } of good) expect(seen.bytes).toBe(50 * CHUNK.length);
    expect(world.nowMs).toBeLessThan(3_000);
  });

  it('drops a replica that creeps, once it has cost more than half of the time', async () => {
    const { world, fanOut, dropped, reader } = setUp((channel) => channel.device === 2);
    const good = [0, 1].map((device) => reader(fanOut.open(device), 1));
    reader(fanOut.open(2), 500);
    const send = async (): Promise<void> => {
      for (let i = 0; i < 400; i++) await fanOut.push(CHUNK);
      fanOut.end();
      await Promise.all(good.map(({ done }) => done));
    };
    await world.run(send());
    expect(dropped).toEqual([2]);
    expect(world.nowMs).toBeLessThan(10_000);
  });

  it('waits for a slow replica that the majority needs', async () => {
    const { world, fanOut, dropped, reader } = setUp(() => false);
    const readers = [1, 400].map((ms, device) => reader(fanOut.open(device), ms));
    const send = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await fanOut.push(CHUNK);
      fanOut.end();
      await Promise.all(readers.map(({ done }) => done));
    };
    await world.run(send());
    expect(dropped).toEqual([]);
    for (const { seen } of readers) expect(seen.bytes).toBe(20 * CHUNK.length);
  });

  it('breaks every body off when the upload is aborted', async () => {
    const { world, fanOut, reader } = setUp();
    const { seen, done } = reader(fanOut.open(0), 1);
    const send = async (): Promise<void> => {
      await fanOut.push(CHUNK);
      fanOut.abort(new Error('the client went away'));
      await done;
    };
    await world.run(send());
    expect(String(seen.error)).toContain('the client went away');
  });
});
