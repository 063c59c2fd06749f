import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BoundedQueue } from './bounded-queue.ts';

describe('bounded queue', () => {
  it('behaves as a list with a limit, whatever is pushed and taken', () => {
    const step = fc.oneof(fc.nat(), fc.constant('shift'), fc.constant('clear'));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.array(step, { maxLength: 300 }),
        (limit, steps) => {
          const queue = new BoundedQueue<number>(limit);
          let list: number[] = [];
          for (const step of steps) {
            if (typeof step === 'number') {
              const fits = list.length < limit;
              expect(queue.push(step)).toBe(fits);
              if (fits) list.push(step);
            } else if (step === 'shift') {
              expect(queue.shift()).toBe(list.shift());
            } else {
              queue.clear();
              list = [];
            }
            expect([queue.length, queue.isFull, queue.peek()]).toEqual([
              list.length,
              list.length === limit,
              list[0],
            ]);
          }
          expect([...queue]).toEqual(list);
        },
      ),
    );
  });

  it('grows to its limit and empties again', () => {
    const queue = new BoundedQueue<number>(10_000);
    for (let i = 0; i < 10_000; i++) expect(queue.push(i)).toBe(true);
    expect(queue.push(-1)).toBe(false);
    for (let i = 0; i < 10_000; i++) expect(queue.shift()).toBe(i);
    expect(queue.shift()).toBeUndefined();
  });

  it('refuses a limit that is none', () => {
    for (const limit of [0, -1, 1.5]) expect(() => new BoundedQueue(limit)).toThrow('limit');
  });
});
