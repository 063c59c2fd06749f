/** Turns and rates: one tenant's load is its own. */
import { describe, expect, it } from 'vitest';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { Clock } from '#env/env.ts';
import { SimWorld } from '#env/sim/world.ts';
import { FairQueue, type Place } from './fair-queue.ts';
import { BYTE_RATE_HEADER, Fairness, REQUEST_RATE_HEADER, type Turn } from './fairness.ts';
import { TokenBucket } from './token-bucket.ts';

const NEVER = new AbortController().signal;

function simulated(test: (clock: Clock) => Promise<void>) {
  return async (): Promise<void> => {
    const world = new SimWorld({ seed: 1 });
    await world.run(test(world.machine('proxy').env.clock));
  };
}

async function failure(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', codeOf);
}

describe('a token bucket', () => {
  it(
    'gives its rate, and no more than a second of it in advance',
    simulated(async (clock) => {
      const bucket = new TokenBucket(clock, 10);
      for (let i = 0; i < 10; i++) expect(bucket.takeIfThere(1)).toBe(0);
      expect(bucket.takeIfThere(1)).toBeGreaterThan(90);
      await clock.sleep(60_000);
      for (let i = 0; i < 10; i++) expect(bucket.takeIfThere(1)).toBe(0);
      expect(bucket.takeIfThere(1)).toBeGreaterThan(0);
      expect(bucket.take(20)).toBeGreaterThan(1_900);
      await clock.sleep(2_100);
      expect(bucket.takeIfThere(1)).toBe(0);
    }),
  );
});

describe('the fair queue', () => {
  const limits = { starts: 4, holdMs: 1_000, open: 1_000, line: 100, waitMs: 10_000 };

  it(
    'lets a tenant with little to do pass one with much',
    simulated(async (clock) => {
      const queue = new FairQueue(clock, limits);
      const working: Place[] = [];
      for (let i = 0; i < 4; i++) working.push(queue.enter('greedy')!);
      const served: string[] = [];
      const want = (tenant: string): void => {
        expect(queue.enter(tenant)).toBeUndefined();
        void queue.wait(tenant, NEVER).then((place) => {
          served.push(tenant);
          working.push(place);
        });
      };
      for (let i = 0; i < 50; i++) want('greedy');
      want('modest');
      for (let i = 0; i < 3; i++) {
        queue.leave(working.shift()!);
        await clock.sleep(1);
      }
      expect(served).toContain('modest');
      expect(queue.waiting).toBe(48);
    }),
  );

  it(
    'counts what takes long for a moment only, so slow clients hold nobody up',
    simulated(async (clock) => {
      const queue = new FairQueue(clock, limits);
      for (let i = 0; i < 4; i++) expect(queue.enter('slow')).toBeDefined();
      const startMs = clock.monotonicMs();
      await queue.wait('quick', NEVER);
      const waitedMs = clock.monotonicMs() - startMs;
      expect(waitedMs).toBeGreaterThan(900);
      expect(waitedMs).toBeLessThan(1_600);
    }),
  );

  it(
    'keeps room for one more: a tenant may have as many open as are free',
    simulated(async (clock) => {
      const queue = new FairQueue(clock, { ...limits, starts: 1_000, open: 12 });
      const all = (tenant: string): Place[] => {
        const places: Place[] = [];
        for (let place = queue.enter(tenant); place; place = queue.enter(tenant)) {
          places.push(place);
        }
        return places;
      };
      const first = all('a');
      expect(first).toHaveLength(6);
      expect(all('b')).toHaveLength(3);
      expect(all('c').length).toBeGreaterThan(0);
      for (const place of first) queue.leave(place);
      expect(all('d').length).toBeGreaterThan(2);
    }),
  );

  it(
    'tells who waits too long, or in too long a line, to slow down; who leaves is forgotten',
    simulated(async (clock) => {
      const queue = new FairQueue(clock, { ...limits, open: 2, line: 3 });
      const place = queue.enter('a')!;
      const waits = [queue.wait('a', NEVER), queue.wait('a', NEVER)];
      const leaving = new AbortController();
      const gone = queue.wait('a', leaving.signal);
      expect(await failure(queue.wait('a', NEVER))).toBe('slow-down');
      leaving.abort(new OperatingError('client-gone', 'gone'));
      expect(await failure(gone)).toBe('client-gone');
      expect(queue.waiting).toBe(2);
      expect(await Promise.all(waits.map(failure))).toEqual(['slow-down', 'slow-down']);
      expect(queue.waiting).toBe(0);
      queue.leave(place);
      expect(queue.enter('a')).toBeDefined();
    }),
  );
});

describe('rates of an account', () => {
  const headers: Record<string, Record<string, string>> = {
    busy: { [REQUEST_RATE_HEADER]: '5' },
    wide: { [BYTE_RATE_HEADER]: '100000' },
    odd: { [REQUEST_RATE_HEADER]: 'much', [BYTE_RATE_HEADER]: '-1' },
  };

  function started(clock: Clock): Fairness {
    return new Fairness({ clock, headersOf: (account) => headers[account] });
  }

  const enter = (fairness: Fairness, account: string): Turn =>
    fairness.enter({ account, of: account }, () => NEVER) as Turn;

  function refusalOf(fairness: Fairness, account: string): OperatingError | undefined {
    try {
      enter(fairness, account).leave(0);
      return undefined;
    } catch (error) {
      return error as OperatingError;
    }
  }

  it(
    'refuse requests above it, say when to come again, and touch no other account',
    simulated(async (clock) => {
      const fairness = started(clock);
      for (let i = 0; i < 5; i++) expect(refusalOf(fairness, 'busy')).toBeUndefined();
      const refused = refusalOf(fairness, 'busy');
      expect(refused?.code).toBe('slow-down');
      expect(refused?.facts['retryAfterSeconds']).toBe(1);
      for (const other of ['wide', 'odd', 'free']) {
        for (let i = 0; i < 50; i++) expect(refusalOf(fairness, other)).toBeUndefined();
      }
      await clock.sleep(250);
      expect(refusalOf(fairness, 'busy')).toBeUndefined();
    }),
  );

  it(
    'hold bodies back to their byte rate, all transfers together',
    simulated(async (clock) => {
      const fairness = started(clock);
      expect(enter(fairness, 'free').pace).toBeUndefined();
      const startMs = clock.monotonicMs();
      const transfer = async (): Promise<void> => {
        const turn = enter(fairness, 'wide');
        for (let i = 0; i < 25; i++) await turn.pace!(10_000);
        turn.leave(250_000);
      };
      await Promise.all([transfer(), transfer()]);
      // 500,000 bytes, the first 100,000 of them in advance.
      const tookMs = clock.monotonicMs() - startMs;
      expect(tookMs).toBeGreaterThan(3_900);
      expect(tookMs).toBeLessThan(4_300);
    }),
  );

  it(
    'let small bodies be owed, and refuse who owes too much',
    simulated(async (clock) => {
      const fairness = started(clock);
      enter(fairness, 'wide').leave(400_000);
      expect(refusalOf(fairness, 'wide')?.facts['retryAfterSeconds']).toBe(3);
      await clock.sleep(3_000);
      expect(refusalOf(fairness, 'wide')).toBeUndefined();
    }),
  );

  it(
    'change with the header',
    simulated(async (clock) => {
      const fairness = started(clock);
      headers['changed'] = { [REQUEST_RATE_HEADER]: '1' };
      enter(fairness, 'changed').leave(0);
      expect(refusalOf(fairness, 'changed')?.code).toBe('slow-down');
      headers['changed'] = {};
      expect(refusalOf(fairness, 'changed')).toBeUndefined();
    }),
  );
});
