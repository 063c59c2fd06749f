import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { EventQueue } from './event-queue.ts';
import { Prng } from './prng.ts';
import { SimStuckError, SimWorld } from './world.ts';

/** Timers, disk, database and network of two machines, with a crash in the middle. */
async function busyRun(seed: number): Promise<SimWorld> {
  const world = new SimWorld({ seed });
  const [a, b] = [world.machine('a'), world.machine('b', { skewMs: 500 })];
  const serve = async (): Promise<void> => {
    await b.env.disk.mkdir('/d');
    const file = await b.env.disk.open(`/d/${b.incarnation.number}`, 'create');
    let at = 0;
    await b.env.network.listen({ host: 'b', port: 7400 }, (socket) => {
      socket.onData = (bytes) => {
        void file.write(at, [bytes]).then(() => file.sync());
        at += bytes.length;
        socket.write(bytes);
      };
    });
  };
  const send = async (): Promise<void> => {
    const { env } = a;
    for (let i = 0; i < 40; i++) {
      try {
        const socket = await env.network.connect({ host: 'b', port: 7400 }, { timeoutMs: 50 });
        socket.write(env.random.bytes(1 + env.random.integer(5000)));
        await env.clock.sleep(env.random.integer(5));
        socket.destroy();
      } catch (error) {
        env.log.warn('send.failed', { code: codeOf(error) });
      }
    }
  };
  void serve();
  const sent = send();
  await world.runFor(30);
  b.crash();
  await world.runFor(20);
  b.restart();
  void serve();
  await world.run(sent);
  return world;
}

describe('simulated world', () => {
  it('repeats itself exactly for a seed, and differs for another', async () => {
    const first = await busyRun(7);
    const second = await busyRun(7);
    const other = await busyRun(8);
    expect(first.eventCount).toBeGreaterThan(300);
    expect(second.traceHash()).toBe(first.traceHash());
    expect(second.describe()).toBe(first.describe());
    expect(other.traceHash()).not.toBe(first.traceHash());
  });

  it('lets every promise settle before the next event', async () => {
    const world = new SimWorld({ seed: 1 });
    const { clock } = world.machine('a').env;
    const order: string[] = [];
    const chain = async (): Promise<void> => {
      await clock.sleep(1);
      for (let i = 0; i < 500; i++) await Promise.resolve();
      await new Promise<void>((resolve) => process.nextTick(resolve));
      queueMicrotask(() => order.push('chain'));
    };
    void chain();
    clock.setTimer(2, () => order.push('timer'));
    await world.runFor(5);
    expect(order).toEqual(['chain', 'timer']);
  });

  it('runs to a time, a predicate, a promise; an hour takes no time', async () => {
    const world = new SimWorld({ seed: 1 });
    const { clock } = world.machine('a').env;
    await world.run(3_600_000);
    expect(world.nowMs).toBe(3_600_000);
    let fired = false;
    clock.setTimer(50, () => {
      fired = true;
    });
    await world.run(() => fired);
    expect(world.nowMs).toBeLessThan(3_600_052);
    const value = await world.run(clock.sleep(10).then(() => 'slept'));
    expect(value).toBe('slept');
    await expect(world.run(Promise.reject(new Error('as it is')))).rejects.toThrow('as it is');
  });

  it('says so when nothing is left to happen, or too much', async () => {
    const world = new SimWorld({ seed: 1, maxEvents: 100 });
    const { clock } = world.machine('a').env;
    await expect(world.run(new Promise(() => undefined))).rejects.toThrow(SimStuckError);
    const loop = (): void => clock.defer(loop);
    loop();
    await expect(world.run(new Promise(() => undefined))).rejects.toThrow(
      /seed 1,.*too many|too many/s,
    );
  });

  it('an exception in a callback ends the run: it would end the process', async () => {
    const world = new SimWorld({ seed: 1 });
    world.machine('a').env.clock.setTimer(1, () => {
      throw new Error('a bug');
    });
    await expect(world.runFor(5)).rejects.toThrow('a bug');
  });

  it('a dead process hears nothing any more; the new one draws other randomness', async () => {
    const world = new SimWorld({ seed: 1 });
    const machine = world.machine('a');
    const old = machine.env;
    let fired = false;
    const happened = (): void => {
      fired = true;
    };
    old.clock.setTimer(5, happened);
    old.clock.defer(happened);
    void old.disk.mkdir('/x').then(happened, happened);
    const first = old.random.bytes(8).toString('hex');
    machine.kill();
    const fresh = machine.restart();
    await world.runFor(100);
    expect(fired).toBe(false);
    expect(fresh.random.bytes(8).toString('hex')).not.toBe(first);
    await expect(old.disk.mkdir('/y')).rejects.toMatchObject({ code: 'EPROCESSENDED' });
    expect(() => old.disk.statSync('/y')).toThrow('process has ended');
  });

  it('a stalled process is late with everything, in order, and notices nothing', async () => {
    const world = new SimWorld({ seed: 1 });
    const [a, b] = [world.machine('a'), world.machine('b')];
    const order: string[] = [];
    const whole = async (): Promise<void> => {
      await b.env.network.listen({ host: 'b', port: 1 }, (socket) => {
        socket.onData = (bytes) => order.push(bytes.toString());
      });
      const socket = await a.env.network.connect({ host: 'b', port: 1 });
      await a.env.clock.sleep(5);
      b.stall(100);
      const late = b.env.clock.setTimer(50, () => order.push('cancelled'));
      b.env.clock.setTimer(10, () => {
        order.push('first');
        late.cancel();
      });
      await a.env.clock.sleep(20);
      socket.write(Buffer.from('second'));
      await a.env.clock.sleep(70);
      expect(order).toEqual([]);
      await a.env.clock.sleep(20);
      expect(order.join(' ')).toMatch(/^first s ?e ?c ?o ?n ?d$/);
    };
    await world.run(whole());
  });

  it('wall clocks are skewed and jump; monotonic ones do not', async () => {
    const world = new SimWorld({ seed: 1 });
    const [a, b] = [world.machine('a'), world.machine('b', { skewMs: -3_600_000 })];
    expect(a.env.clock.wallMicros() - b.env.clock.wallMicros()).toBe(3_600_000_000);
    const before = b.env.clock.monotonicMs();
    b.jumpWallClock(3_600_000);
    expect(a.env.clock.wallMicros()).toBe(b.env.clock.wallMicros());
    expect(b.env.clock.monotonicMs()).toBe(before);
  });

  it('keeps the log of all machines, with the facts of each', async () => {
    const world = new SimWorld({ seed: 1 });
    const log = world.machine('a').env.log.with({ device: 'd1' });
    log.warn('device.slow', { ms: 5 });
    world.machine('b').env.log.error('device.gone', { error: new Error('EIO') });
    expect(world.log.lines()).toMatchObject([
      { machine: 'a', level: 'warn', event: 'device.slow', facts: { device: 'd1', ms: 5 } },
      { machine: 'b', level: 'error', event: 'device.gone' },
    ]);
    expect(world.log.format()).toContain('b error device.gone {"error":"Error: EIO"}');
  });
});

describe('event queue', () => {
  it('hands events out by time, then by the order they came in', () => {
    const random = new Prng(3, 'queue');
    const queue = new EventQueue();
    const events = Array.from({ length: 2000 }, (_, sequence) => {
      return { timeMs: random.integer(200), sequence, label: '', task: () => undefined };
    });
    for (const event of events) queue.push(event);
    events.sort((a, b) => a.timeMs - b.timeMs || a.sequence - b.sequence);
    expect(Array.from(events, () => queue.pop())).toEqual(events);
    expect(queue.pop()).toBeUndefined();
  });
});

describe('seeded randomness', () => {
  it('streams of one seed are independent and repeatable', () => {
    const draw = (stream: string): string => new Prng(5, stream).bytes(16).toString('hex');
    expect(draw('a')).toBe(draw('a'));
    expect(draw('a')).not.toBe(draw('b'));
  });
});
