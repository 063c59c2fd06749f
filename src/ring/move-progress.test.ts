import { describe, expect, it } from 'vitest';
import { RingBuilder } from './builder/builder.ts';
import { rebalanced } from './builder/rebalance.ts';
import { bitsFor, type MoveReport, progressOf, setBit } from './move-progress.ts';
import type { Ring } from './ring.ts';
import { device, stateOf } from './testing/clusters.ts';

const devices = Array.from({ length: 6 }, (_, i) => device(`s${i % 3}`, 'z', `n${i}`, 'd', 100));

function jointBuilder(): RingBuilder {
  const state = stateOf({ devices, partPower: 5, replicas: 3, overload: 1, seed: 1 });
  const builder = new RingBuilder(rebalanced(state, { seed: 1, nowHours: 1 }));
  const change = { add: [device('s1', 'z', 'new', 'd', 100)] };
  builder.apply(builder.plan(change, { seed: 2, nowHours: 9 }));
  return builder;
}

/** A device that is done with these rows, and has the bodies of those. */
function report(
  ring: Ring,
  id: number,
  rows: readonly number[],
  bodies: readonly number[] = [],
): MoveReport {
  const count = ring.joint().length;
  const made = {
    device: id,
    policy: ring.policy,
    version: ring.version,
    states: bitsFor(count),
    bodies: bitsFor(count),
  };
  for (const row of rows) setBit(made.states, row);
  for (const row of bodies) setBit(made.bodies, row);
  return made;
}

describe('the progress of a ring change', () => {
  const builder = jointBuilder();
  const ring = builder.toRing();
  const rows = [...ring.joint().keys()];
  const all = (...except: number[]): MoveReport[] =>
    [0, 1, 2, 3, 4, 5, 6].filter((id) => !except.includes(id)).map((id) => report(ring, id, rows));

  it('lets a partition be settled when all of its new members are complete', () => {
    expect(rows.length).toBeGreaterThan(3);
    expect(progressOf(ring, all())).toMatchObject({
      partitions: rows.length,
      moves: rows.length,
      statesDone: rows.length,
      bodiesDone: 0,
      settleable: [...ring.joint()],
      silent: [],
    });
    const some = [...all(6), report(ring, 6, [0, 2], [2])];
    expect(progressOf(ring, some)).toMatchObject({
      statesDone: 2,
      bodiesDone: 1,
      settleable: [ring.joint()[0], ring.joint()[2]],
    });
  });

  it('waits for members that stay, too', () => {
    const { primaries } = ring.placement(ring.joint()[1]!);
    const stays = primaries.find(({ id }) => id !== 6)!.id;
    const found = progressOf(ring, [...all(stays), report(ring, stays, [0])]);
    expect(found.settleable).not.toContain(ring.joint()[1]);
  });

  it('counts nothing of who is silent, of another version or another ring', () => {
    expect(progressOf(ring, all(6))).toMatchObject({ statesDone: 0, settleable: [], silent: [6] });
    const strange = [
      { ...report(ring, 6, rows), version: ring.version - 1 },
      { ...report(ring, 6, rows), policy: 77 },
      { ...report(ring, 6, rows), states: new Uint8Array(0) },
    ];
    for (const other of strange) {
      expect(progressOf(ring, [...all(6), other]).settleable).toEqual([]);
    }
  });

  it('goes on after a part was settled, with the versions since which the rest is joint', () => {
    const part = [...ring.joint()].slice(0, 2);
    const again = jointBuilder();
    again.settle(part);
    const next = again.toRing();
    expect(next.version).toBe(ring.version + 1);
    expect([...next.joint()]).toEqual([...ring.joint()].slice(2));
    for (const partition of next.joint())
      expect(next.placement(partition).since).toBe(ring.version);
    // Reports of the version before are about other rows.
    expect(progressOf(next, all()).settleable).toEqual([]);
  });
});
