import { connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { NodeClock } from './clock.ts';

const clock = new NodeClock();
const PAUSE_MS = 300;

/** As when the machine gives this process no CPU. */
function pause(): void {
  const endMs = performance.now() + PAUSE_MS;
  while (performance.now() < endMs);
}

describe('a timer that is late because the process was held up', () => {
  const open: { destroy(): void }[] = [];
  afterEach(() => {
    for (const socket of open.splice(0)) socket.destroy();
  });

  it('comes after what has arrived meanwhile', async () => {
    const [near, far] = await pair();
    open.push(near, far);
    const order: string[] = [];
    const told = new Promise((resolve) => near.once('data', resolve));
    near.once('data', () => order.push('answer'));
    const ended = new Promise<void>((resolve) => {
      clock.setTimer(100, () => {
        order.push('deadline');
        resolve();
      });
    });
    far.write('answer');
    pause();
    await Promise.all([told, ended]);
    expect(order).toEqual(['answer', 'deadline']);
  });

  it('comes before those that were due after it', async () => {
    const order: number[] = [];
    const ended = new Promise<void>((resolve) => {
      for (const ms of [100, 200, 280, 290, 299, 300]) {
        clock.setTimer(ms, () => {
          order.push(ms);
          if (ms === 300) resolve();
        });
      }
    });
    pause();
    await ended;
    expect(order).toEqual([100, 200, 280, 290, 299, 300]);
  });

  it('does not come when it is cancelled by that', async () => {
    const [near, far] = await pair();
    open.push(near, far);
    let fired = false;
    const timer = clock.setTimer(100, () => {
      fired = true;
    });
    const told = new Promise<void>((resolve) => {
      near.once('data', () => {
        timer.cancel();
        resolve();
      });
    });
    far.write('answer');
    pause();
    await told;
    await clock.sleep(PAUSE_MS);
    expect(fired).toBe(false);
  });
});

function pair(): Promise<[Socket, Socket]> {
  return new Promise((resolve) => {
    const server = createServer((far) => {
      server.close();
      resolve([near, far]);
    });
    let near: Socket;
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      near = connect(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}
