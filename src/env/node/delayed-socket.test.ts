import { expect, it } from 'vitest';
import type { Socket } from '../env.ts';
import { SimWorld } from '../sim/world.ts';
import { DelayedSocket } from './delayed-socket.ts';

const DELAY_MS = 20;
const TOTAL_BYTES = 32 * 1024 * 1024;

/** Takes everything at once. */
function sink(written: (bytes: number) => void): Socket {
  return {
    remote: { host: 'far', port: 1 },
    bufferedBytes: 0,
    onData: () => undefined,
    onDrain: () => undefined,
    onClose: () => undefined,
    write: ({ length }) => {
      written(length);
      return true;
    },
    cork: () => undefined,
    uncork: () => undefined,
    pause: () => undefined,
    resume: () => undefined,
    end: () => undefined,
    destroy: () => undefined,
  };
}

it('a long link keeps its bandwidth: 32 MB pass one of 20 ms in two round trips', async () => {
  const world = new SimWorld({ seed: 1 });
  let arrived = 0;
  const far = sink((bytes) => {
    arrived += bytes;
  });
  const socket = new DelayedSocket(far, world.machine('near').env.clock, DELAY_MS);
  const chunk = Buffer.alloc(64 * 1024);
  let sent = 0;
  const pump = (): void => {
    while (sent < TOTAL_BYTES) {
      sent += chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.onDrain = pump;
  pump();
  await world.run(() => arrived === TOTAL_BYTES);
  expect(world.nowMs).toBeLessThanOrEqual(4 * DELAY_MS);
});
