/** Whom a device asks what it has forgotten, and what it forgets again; what is held of a ring is made up. */

import { describe, expect, it } from 'vitest';
import type { DeviceStatus } from '#device/contract.ts';
import type { LogDevice } from '#device/log-device.ts';
import { makeView } from '#proxy/testing/test-view.ts';
import type { OwnPartition } from '#ring/own-partitions.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { type Held, type KeptDevice, Recall } from './recall.ts';

const SITES = ['a', 'b', 'c', 'd'];
const LOG = { debug: () => undefined, warn: () => undefined };

/** What a peer knows; undefined: it is not complete, 'away': it does not answer. `tail`: its last batch is in doubt. */
type Knowledge = readonly string[] | 'away' | undefined | { readonly tail: readonly string[] };

interface Play {
  readonly self: number;
  /** Alive here, in every partition. */
  readonly own: readonly string[];
  readonly peers: Readonly<Record<number, Knowledge>>;
  readonly status?: DeviceStatus;
}

function made({ self, own, peers, status = 'ok' }: Play) {
  const forgotten = new Set<string>();
  const served: LogDevice[] = [];
  const held: Held<string> = {
    hasAny: () => true,
    askedOf: async (peer, _kept, _ring, partitions: readonly OwnPartition[]) => {
      const knowledge = peers[peer.device];
      if (knowledge === 'away') throw new Error('away');
      const isComplete = knowledge === undefined || !('tail' in knowledge);
      const known = knowledge === undefined || !('tail' in knowledge) ? knowledge : knowledge.tail;
      const unknown =
        known && new Map(own.filter((one) => !known.includes(one)).map((one) => [one, one]));
      return partitions.map(() => unknown && { unknown, isComplete });
    },
    forget: async (_kept, _ring, things) => {
      for (const thing of things) forgotten.add(thing);
    },
  };
  const kept = new Map<number, KeptDevice>();
  const keep = (): LogDevice => {
    const device = { id: self, status, fillHole: async () => undefined } as unknown as LogDevice;
    kept.set(self, { device } as unknown as KeptDevice);
    return device;
  };
  const view = makeView(SITES, {});
  const recall = new Recall({
    env: { log: LOG } as never,
    cluster: stillSource(() => view),
    kept: () => kept,
    admit: (device) => {
      served.push(device);
      kept.delete(self);
    },
    heldOf: () => held as Held<unknown>,
  });
  const step = () => recall.step(new AbortController().signal);
  return { recall, step, keep, kept, served, forgotten };
}

/** One step; what was forgotten (each once), and whether it serves. */
async function played(play: Play, acceptLoss = false) {
  const { recall, step, keep, served, forgotten } = made(play);
  keep();
  if (acceptLoss) recall.acceptLoss(play.self);
  await step();
  return { forgotten: [...forgotten].sort(), serves: served.length > 0 };
}

describe('a device that may have forgotten something', () => {
  it('forgets what none of N-W+1 complete primaries knows, and serves', async () => {
    const play = { self: 2, own: ['x', 'y', 'z'], peers: { 0: ['x'], 1: ['y'] } };
    expect(await played(play)).toEqual({ forgotten: ['z'], serves: true });
  });

  it('asks the same of what it held for others', async () => {
    const play = { self: 3, own: ['x', 'z'], peers: { 0: ['x'], 1: ['x'], 2: 'away' } as const };
    expect(await played(play)).toEqual({ forgotten: ['z'], serves: true });
  });

  it.each([
    ['does not answer', 'away'],
    ['is not complete', undefined],
  ] as const)('forgets nothing and waits while one of two %s', async (_what, other) => {
    const play = { self: 2, own: ['x'], peers: { 0: [], 1: other } };
    expect(await played(play)).toEqual({ forgotten: [], serves: false });
    expect(await played(play, true)).toEqual({ forgotten: [], serves: true });
  });

  it('asks all others where some are in doubt of the end of their logs: those wait for it, too', async () => {
    const play = { self: 2, own: ['x', 'z'], peers: { 0: { tail: ['x'] }, 1: [] } };
    expect(await played(play)).toEqual({ forgotten: ['z'], serves: true });
    const less = { self: 3, own: ['x'], peers: { 0: { tail: [] }, 1: [], 2: 'away' } } as const;
    expect(await played(less)).toEqual({ forgotten: [], serves: false });
  });

  it('is left as it is when its disk fails', async () => {
    const play = { self: 2, own: ['x'], peers: { 0: [], 1: [] }, status: 'failed' } as const;
    expect(await played(play)).toEqual({ forgotten: [], serves: false });
  });

  it('is left as it is when no ring names it: a person may want what it alone has', async () => {
    const play = { self: 9, own: ['x'], peers: { 0: [], 1: [], 2: [] } };
    expect(await played(play)).toEqual({ forgotten: [], serves: false });
  });

  it('is not taken for another one of its number, of which a person has decided', async () => {
    const peers: Record<number, Knowledge> = { 0: ['x'], 1: ['x'] };
    const { recall, step, keep, served } = made({ self: 2, own: ['x'], peers });
    const first = keep();
    // They answer, before anybody makes use of what was decided.
    recall.acceptLoss(2);
    await step();
    expect(served).toEqual([first]);
    peers[1] = 'away';
    keep();
    await step();
    expect(served).toEqual([first]);
  });

  it('holds up no other one when it can not be asked for to its end', async () => {
    const { step, keep, kept, served } = made({ self: 2, own: [], peers: { 0: [], 1: [] } });
    const fillHole = () => Promise.reject(new Error('closed'));
    kept.set(1, { device: { id: 1, status: 'ok', fillHole } } as unknown as KeptDevice);
    const other = keep();
    await step();
    expect(served).toEqual([other]);
  });
});
