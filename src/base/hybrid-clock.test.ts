import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_DRIFT_LIMIT_MICROS, HybridClock, RESERVE_MICROS } from './hybrid-clock.ts';
import { makeTimestamp, microsOf, type Timestamp, workerOf } from './timestamp.ts';

const START = 1_767_225_600_000_000;

/** A wall clock that the test sets, and the durable bound. */
function machine(workerId = 5) {
  const state = { wall: START, bound: 0, reservations: 0 };
  const start = (): HybridClock =>
    new HybridClock({
      workerId,
      wallMicros: () => state.wall,
      bound: state.bound,
      reserve: (bound) => {
        expect(bound).toBeGreaterThan(state.bound);
        state.bound = bound;
        state.reservations++;
      },
    });
  return { state, start };
}

describe('hybrid clock', () => {
  it('every timestamp is above all issued and seen before, through jumps and restarts', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('now' as const) }),
      fc.record({ kind: fc.constant('restart' as const) }),
      fc.record({ kind: fc.constant('jump' as const), by: fc.integer({ min: -1e10, max: 1e9 }) }),
      fc.record({ kind: fc.constant('see' as const), ahead: fc.integer({ min: -1e9, max: 2e10 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { state, start } = machine();
        let clock = start();
        let newest = '' as Timestamp;
        for (const step of steps) {
          if (step.kind === 'restart') clock = start();
          if (step.kind === 'jump') state.wall += step.by;
          if (step.kind === 'see') {
            const seen = makeTimestamp(Math.max(0, state.wall + step.ahead), 9);
            const issued = clock.above(seen);
            expect(issued > seen && issued > newest).toBe(true);
            newest = issued;
          }
          const now = clock.now();
          expect(now > newest).toBe(true);
          expect(microsOf(now)).toBeLessThan(state.bound);
          newest = now;
        }
      }),
    );
  });

  it('shows the wall clock while that is ahead, and its own worker', () => {
    const { state, start } = machine();
    const clock = start();
    state.wall += 1000;
    const now = clock.now();
    expect([microsOf(now), workerOf(now)]).toEqual([START + 1000, 5]);
    expect(clock.peekMicros()).toBe(START + 1000);
    state.wall -= 500;
    expect(microsOf(clock.now())).toBe(START + 1001);
    expect(clock.peekMicros()).toBe(START + 1001);
  });

  it('reserves once in ten seconds, not for every timestamp', () => {
    const { state, start } = machine();
    const clock = start();
    for (let i = 0; i < 10_000; i++) {
      clock.now();
      state.wall += RESERVE_MICROS / 5000;
    }
    expect(state.reservations).toBeGreaterThanOrEqual(2);
    expect(state.reservations).toBeLessThanOrEqual(3);
  });

  it('goes on above the bound after a restart with the wall clock set back', () => {
    const { state, start } = machine();
    start().now();
    const { bound } = state;
    state.wall -= 3_600_000_000;
    expect(microsOf(start().now())).toBeGreaterThan(bound);
  });

  it('refuses what is too far ahead, and is not carried away by it', () => {
    const { state, start } = machine();
    const clock = start();
    const broken = makeTimestamp(START + DEFAULT_DRIFT_LIMIT_MICROS + 1, 9);
    expect(() => clock.observe(broken)).toThrowError(
      expect.objectContaining({ code: 'clock-drift' }),
    );
    expect(() => clock.above(broken)).toThrowError(
      expect.objectContaining({ code: 'clock-drift' }),
    );
    expect(microsOf(clock.now())).toBe(state.wall);
    clock.observe(makeTimestamp(START + DEFAULT_DRIFT_LIMIT_MICROS, 9));
    expect(microsOf(clock.now())).toBe(START + DEFAULT_DRIFT_LIMIT_MICROS + 1);
  });

  it('a bound that cannot be made durable issues nothing', () => {
    const clock = new HybridClock({
      workerId: 1,
      wallMicros: () => START,
      bound: 0,
      reserve: () => {
        throw new Error('ENOSPC');
      },
    });
    expect(() => clock.now()).toThrow('ENOSPC');
    expect(() => clock.now()).toThrow('ENOSPC');
  });
});
