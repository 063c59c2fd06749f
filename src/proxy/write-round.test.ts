/** One round against replicas that answer as they are told: orders and counts that are hard to stage. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { makeTimestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import { Ring } from '#ring/ring.ts';
import { Peers } from './peers.ts';
import { Layer, Place } from './placement.ts';
import { type RoundReply, type RoundResult, runRound } from './write-round.ts';

const NEWEST = makeTimestamp(5_000_000, 9);

type Behaviour = {
  readonly outcome: 'stored' | 'superseded' | 'use-rounds' | 'fails';
  readonly complete: boolean;
  readonly afterMs: number;
  /** What was there before is not known any more. */
  readonly isForgotten?: boolean;
};

/** Devices 0, 1, 2 are the primaries; 3, 4, 5 stand in. Device d is at site d % 3. */
function place(former?: readonly number[]): Place {
  const devices = [0, 1, 2, 3, 4, 5].map((id) => {
    return { id, site: `s${id % 3}`, zone: '1', node: `n${id}`, name: 'd', weight: 1, meta: {} };
  });
  const ring = new Ring({
    policy: 0,
    version: 1,
    partPower: 0,
    copies: 3,
    devices,
    columns: [0, 1, 2].map((device) => Uint16Array.of(device)),
    former: {
      partitions: Uint32Array.from(former ? [0] : []),
      since: Float64Array.from(former ? [1] : []),
      width: former?.length ?? 0,
      devices: Uint16Array.from(former ?? []),
    },
  });
  return new Place([new Layer(ring, Buffer.alloc(16))], '/a/c/o', Buffer.alloc(16));
}

async function run(
  behaviours: readonly Behaviour[],
  options: { mode?: ConsistencyMode; afterRound?: boolean; former?: readonly number[] } = {},
): Promise<{ result: RoundResult; asked: number[] }> {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('proxy');
  const asked: number[] = [];
  const round = runRound({
    env,
    peers: new Peers(env, { node: 'proxy', site: 's0' }, { rttMs: () => 0 }),
    place: place(options.former),
    mode: options.mode ?? 'strict',
    site: 's0',
    afterRound: options.afterRound ?? false,
    hasBody: true,
    rowHedgeMs: 300,
    roundMs: 10_000,
    standIns: true,
    send: async ({ device }): Promise<RoundReply> => {
      asked.push(device);
      const { outcome, complete, afterMs, isForgotten } = behaviours[device]!;
      await env.clock.sleep(afterMs);
      if (outcome === 'fails') throw new OperatingError('unreachable', 'no');
      const newest = outcome === 'superseded' ? NEWEST : ZERO_TIMESTAMP;
      const previous = { data: ZERO_TIMESTAMP, newest: ZERO_TIMESTAMP, live: false };
      return { outcome, newest, complete, listedOn: [], ...(!isForgotten && { previous }) };
    },
  });
  return { result: await world.run(round), asked };
}

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  outcome: fc.constantFrom('stored', 'stored', 'superseded', 'fails', 'use-rounds'),
  complete: fc.boolean(),
  afterMs: fc.integer({ min: 0, max: 1_000 }),
});
const replicas = fc.array(behaviour, { minLength: 6, maxLength: 6 });

describe('a round', () => {
  it('knows what was there only when W replicas have told it (seed 7204)', async () => {
    const late = { outcome: 'stored', complete: true, afterMs: 400 } as const;
    const byRounds = { outcome: 'use-rounds', complete: true, afterMs: 1 } as const;
    const away = { outcome: 'fails', complete: true, afterMs: 2 } as const;
    const standIns = Array.from({ length: 3 }, () => ({ ...late, complete: false }));
    const early = await run([late, byRounds, away, ...standIns]);
    expect(early.result).toMatchObject({ kind: 'use-rounds', mayBeStored: true, told: false });
    const all = await run([{ ...late, afterMs: 0 }, byRounds, away, ...standIns]);
    expect(all.result).toMatchObject({ kind: 'use-rounds', mayBeStored: true, told: true });
  });

  it('does not take for told what repair has made a replica forget (seed 908610)', async () => {
    const stored = { outcome: 'stored', complete: true, afterMs: 1 } as const;
    const late = { ...stored, afterMs: 900 };
    const forgotten = { ...stored, isForgotten: true };
    const full = { kind: 'acknowledged', ack: undefined };
    expect((await run([stored, stored, late])).result).toMatchObject({ ...full, told: true });
    expect((await run([stored, forgotten, late])).result).toMatchObject({ ...full, told: false });
  });

  it('is a full acknowledgement only when W complete primaries stored, whatever the order', async () => {
    await fc.assert(
      fc.asyncProperty(replicas, async (behaviours) => {
        const { result, asked } = await run(behaviours);
        expect(new Set(asked).size).toBe(asked.length);
        const stored = behaviours
          .slice(0, 3)
          .filter((b) => b.outcome === 'stored' && b.complete).length;
        if (result.kind === 'acknowledged') expect(stored).toBeGreaterThanOrEqual(2);
        const superseded = behaviours.slice(0, 3).some((b) => b.outcome === 'superseded');
        if (stored >= 2 && !superseded) expect(result.kind).toBe('acknowledged');
      }),
    );
  });

  it('while the partition is joint needs W of OLD, complete, and W of NEW', async () => {
    await fc.assert(
      fc.asyncProperty(replicas, async (behaviours) => {
        // {0, 1, 3} moves to {0, 1, 2}: 2 is joining, and counts in NEW though it is not complete.
        const { result } = await run(behaviours, { former: [0, 1, 3] });
        const counts = (device: number): boolean => {
          const { outcome, complete } = behaviours[device]!;
          return outcome === 'stored' && (complete || device === 2);
        };
        const old = [0, 1, 3].filter(counts).length >= 2;
        const next = [0, 1, 2].filter(counts).length >= 2;
        if (result.kind === 'acknowledged') expect(old && next).toBe(true);
        const superseded = behaviours.slice(0, 4).some((b) => b.outcome === 'superseded');
        if (old && next && !superseded) expect(result.kind).toBe('acknowledged');
      }),
    );
  });

  it('goes above only what W complete replicas have told', async () => {
    await fc.assert(
      fc.asyncProperty(replicas, async (behaviours) => {
        const { result } = await run(behaviours);
        if (result.kind !== 'superseded') return;
        const told = behaviours
          .slice(0, 3)
          .filter((b) => b.outcome !== 'fails' && b.complete).length;
        expect(told).toBeGreaterThanOrEqual(2);
        expect(result.newest).toBe(NEWEST);
      }),
    );
  });

  it('after an opening round counts what is superseded by a concurrent write', async () => {
    const late = { outcome: 'superseded', complete: true, afterMs: 1 } as const;
    const { result } = await run([late, late, late, late, late, late], { afterRound: true });
    expect(result).toMatchObject({ kind: 'acknowledged', ack: undefined });
  });

  it('available: W devices of any role, and says that it was handed over', async () => {
    await fc.assert(
      fc.asyncProperty(replicas, async (behaviours) => {
        const { result, asked } = await run(behaviours, { mode: 'available' });
        if (result.kind !== 'acknowledged' || result.ack === undefined) return;
        expect(result.ack).toBe('handoff');
        const stored = asked.filter((device) => behaviours[device]!.outcome === 'stored');
        expect(stored.length).toBeGreaterThanOrEqual(2);
      }),
    );
  });

  it('local: two different devices of this site', async () => {
    await fc.assert(
      fc.asyncProperty(replicas, async (behaviours) => {
        const { result, asked } = await run(behaviours, { mode: 'local' });
        expect(new Set(asked).size).toBe(asked.length);
        if (result.kind !== 'acknowledged' || result.ack !== 'local') return;
        const near = [0, 3].filter((device) => behaviours[device]!.outcome === 'stored');
        expect(near).toEqual([0, 3]);
      }),
    );
  });
});
