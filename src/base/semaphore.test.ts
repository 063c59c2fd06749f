import { describe, expect, it } from 'vitest';
import { Semaphore } from './semaphore.ts';

/** Lets every promise settle. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('semaphore', () => {
  it('lets so many in, then the others in the order they came', async () => {
    const semaphore = new Semaphore(2);
    const order: number[] = [];
    let running = 0;
    let most = 0;
    const work = async (i: number): Promise<void> => {
      order.push(i);
      most = Math.max(most, ++running);
      await settle();
      running--;
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => semaphore.use(() => work(i))));
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect([most, semaphore.free, semaphore.waiting]).toEqual([2, 2, 0]);
  });

  it('a small request does not overtake a large one', async () => {
    const semaphore = new Semaphore(3);
    const first = await semaphore.acquire(2);
    const order: string[] = [];
    const large = semaphore.acquire(3).then((release) => {
      order.push('large');
      release();
    });
    const small = semaphore.acquire(1).then((release) => {
      order.push('small');
      release();
    });
    expect(semaphore.tryAcquire()).toBeUndefined();
    await settle();
    expect(order).toEqual([]);
    first();
    await Promise.all([large, small]);
    expect(order).toEqual(['large', 'small']);
  });

  it('who gives up leaves the queue, and lets those behind through', async () => {
    const semaphore = new Semaphore(2);
    const release = await semaphore.acquire(1);
    const controller = new AbortController();
    const large = semaphore.acquire(2, controller.signal);
    const small = semaphore.acquire(1);
    controller.abort(new Error('gone'));
    await expect(large).rejects.toThrow('gone');
    (await small)();
    release();
    expect(semaphore.free).toBe(2);
    await expect(semaphore.acquire(1, controller.signal)).rejects.toThrow('gone');
  });

  it('an abort after the grant changes nothing', async () => {
    const semaphore = new Semaphore(1);
    const release = await semaphore.acquire();
    const controller = new AbortController();
    const second = semaphore.acquire(1, controller.signal);
    release();
    controller.abort();
    (await second)();
    expect(semaphore.free).toBe(1);
  });

  it('releases once, also when the task throws', async () => {
    const semaphore = new Semaphore(1);
    const release = await semaphore.acquire();
    release();
    release();
    expect(semaphore.free).toBe(1);
    await expect(semaphore.use(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(semaphore.free).toBe(1);
  });

  it('refuses to let too many wait, or more permits than there are', async () => {
    const semaphore = new Semaphore(1, 2);
    const release = await semaphore.acquire();
    const waiting = [semaphore.acquire(), semaphore.acquire()];
    await expect(semaphore.acquire()).rejects.toMatchObject({ code: 'overloaded' });
    release();
    (await waiting[0]!)();
    (await waiting[1]!)();
    expect(() => semaphore.tryAcquire(2)).toThrow('permits');
    expect(() => new Semaphore(0)).toThrow('permits');
  });
});
