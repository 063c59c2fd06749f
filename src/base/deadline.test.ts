import { describe, expect, it } from 'vitest';
import { Deadline } from './deadline.ts';

/** A clock that the test moves. */
function manualClock() {
  let now = 1000;
  const timers = new Set<{ at: number; task: () => void }>();
  return {
    monotonicMs: () => now,
    setTimer(ms: number, task: () => void) {
      const timer = { at: now + ms, task };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    advance(ms: number) {
      now += ms;
      for (const timer of timers) if (timer.at <= now && timers.delete(timer)) timer.task();
    },
    get timerCount() {
      return timers.size;
    },
  };
}

describe('deadline', () => {
  it('tells what remains, never less than nothing', () => {
    const clock = manualClock();
    const deadline = Deadline.after(clock, 100);
    expect([deadline.remainingMs(), deadline.hasPassed]).toEqual([100, false]);
    deadline.check('a call');
    clock.advance(150);
    expect([deadline.remainingMs(), deadline.hasPassed]).toEqual([0, true]);
    expect(() => deadline.check('a call')).toThrowError(
      expect.objectContaining({ code: 'deadline', message: 'a call: the deadline has passed' }),
    );
  });

  it("a step's limit never exceeds the whole", () => {
    const clock = manualClock();
    const whole = Deadline.after(clock, 100);
    expect(whole.within(30).remainingMs()).toBe(30);
    expect(whole.within(300).remainingMs()).toBe(100);
    expect(Deadline.never(clock).within(5).remainingMs()).toBe(5);
  });

  it('its signal aborts in time, and its timer is freed when the work is over', () => {
    const clock = manualClock();
    const { signal } = Deadline.after(clock, 100).signal('a call');
    const done = Deadline.after(clock, 100).signal('another');
    done.cancel();
    expect(clock.timerCount).toBe(1);
    clock.advance(100);
    expect(signal.reason).toMatchObject({ code: 'deadline' });
    expect(done.signal.aborted).toBe(false);
  });

  it("its signal follows the caller's", () => {
    const clock = manualClock();
    const parent = new AbortController();
    const { signal } = Deadline.after(clock, 100).signal('a call', parent.signal);
    parent.abort(new Error('the client left'));
    expect(signal.reason).toMatchObject({ message: 'the client left' });
    expect(clock.timerCount).toBe(0);
    const late = Deadline.never(clock).signal('a call', parent.signal);
    expect([late.signal.aborted, clock.timerCount]).toEqual([true, 0]);
  });
});
