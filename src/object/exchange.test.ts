/** Pages of states, which are read over several turns, tell what one reading would. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EMPTY_STATE } from '#base/entry.ts';
import { HASH_BYTES } from '#base/hash.ts';
import type { Device, Entry } from '#device/contract.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { StatesReply } from './calls.ts';
import { BUCKETS, bucketHash, statesCall } from './exchange.ts';
import type { Guard } from './guard.ts';

const ENTRIES = 700;
const ALL = Array.from({ length: ENTRIES }, (_, i) => entryAt(Math.floor((i * BUCKETS) / ENTRIES)));

function entryAt(bucket: number): Entry {
  const key = { policy: 0, hash: bucketHash(bucket)! };
  return {
    key,
    path: `/a/c/${bucket}`,
    state: EMPTY_STATE,
    hasBody: true,
    unlisted: false,
  } as Entry;
}

/** All that a device and a guard are asked for here. */
function setUp(mostAtOnce: (entries: number) => void) {
  const entries: Device['entries'] = (_policy, from, to, limit) => {
    const isWanted = ({ key: { hash } }: Entry): boolean =>
      Buffer.compare(hash, from) >= 0 && (to === undefined || Buffer.compare(hash, to) < 0);
    const found = ALL.filter(isWanted).slice(0, limit);
    mostAtOnce(found.length);
    return found;
  };
  const guard = { device: () => ({ entries }) as unknown as Device } as unknown as Guard;
  const world = new SimWorld({ seed: 1 });
  const { clock } = world.machine('node').env;
  const page = async (
    from: Buffer,
    ranges: readonly (readonly [number, number])[],
    limit: number,
  ) => {
    const args = { device: 1, policy: 0, ringVersion: 1, from, to: null, ranges, limit };
    return (await world.run(statesCall(guard, clock, args))).result as StatesReply;
  };
  return { page };
}

describe('pages of states', () => {
  it('hold each entry of the ranges once, in order, and so many as was asked for', async () => {
    const bounds = fc.uniqueArray(fc.integer({ min: 0, max: BUCKETS }), {
      minLength: 2,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(bounds, fc.integer({ min: 1, max: 400 }), async (some, limit) => {
        const { page } = setUp(() => undefined);
        const sorted = some.slice(0, some.length & ~1).sort((a, b) => a - b);
        const ranges = sorted.flatMap((from, i) =>
          i % 2 === 0 ? [[from, sorted[i + 1]!] as const] : [],
        );
        const got: string[] = [];
        let from: Buffer | null = Buffer.alloc(HASH_BYTES);
        while (from !== null) {
          const { entries, next }: StatesReply = await page(from, ranges, limit);
          expect(entries.length).toBeLessThanOrEqual(limit);
          if (next !== null) expect(entries.length).toBe(limit);
          got.push(...entries.map(({ path }) => path));
          from = next === null ? null : Buffer.from(next);
        }
        const bucket = ({ key }: Entry): number => key.hash.readUInt32BE() >>> 12;
        const isIn = (entry: Entry): boolean =>
          ranges.some(([first, end]) => bucket(entry) >= first && bucket(entry) < end);
        expect(got).toEqual(ALL.filter(isIn).map(({ path }) => path));
      }),
      { numRuns: 40 },
    );
  });

  it('are read in small pieces, so that clients of the node need not wait for a whole one', async () => {
    let most = 0;
    const { page } = setUp((entries) => {
      most = Math.max(most, entries);
    });
    const { entries } = await page(Buffer.alloc(HASH_BYTES), [[0, BUCKETS]], 1_000);
    expect(entries).toHaveLength(ENTRIES);
    expect(most).toBeLessThan(40);
  });
});
