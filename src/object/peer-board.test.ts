/** What is worked on first: the partitions of which the fewest other good replicas are left. */
import { describe, expect, it } from 'vitest';
import { BUCKET_BITS } from '#base/hash.ts';
import { Coverage } from '#ring/coverage.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { ownPartitions } from '#ring/own-partitions.ts';
import { Ring } from '#ring/ring.ts';
import { PeerBoard } from './peer-board.ts';

const ALL = new Map([[0, new Coverage([{ from: 0, to: 2 ** BUCKET_BITS }])]]);
const NONE = new Map([[0, new Coverage([])]]);

/** Device 0 shares partitions 0 to 3 with 1 and 2, 1 and 3, 2 and 3, 3 and 4. */
const RING = new Ring({
  policy: 0,
  version: 1,
  partPower: 2,
  copies: 3,
  devices: [0, 1, 2, 3, 4].map((id) => {
    const node = `n${id}`;
    return { id, site: 's', zone: '1', node, name: 'd1', weight: 100, meta: {} };
  }),
  columns: [Uint16Array.of(0, 0, 0, 0), Uint16Array.of(1, 1, 2, 3), Uint16Array.of(2, 3, 3, 4)],
  former: NO_FORMER,
});

function order(board: PeerBoard): number[] {
  return board.mostDegradedFirst(0, ownPartitions(RING, 0)).map(({ partition }) => partition);
}

describe('the most degraded partitions', () => {
  it('come first: away, incomplete and out of service count alike', () => {
    let nowMs = 0;
    const board = new PeerBoard(() => nowMs);
    const heard = (id: number, status = 'ok', complete = ALL): void =>
      board.heard({ id, node: `n${id}`, incarnation: 'x', status, complete, heardAtMs: nowMs });
    for (const id of [1, 2, 3, 4]) heard(id);
    expect(order(board)).toEqual([0, 1, 2, 3]);
    heard(4, 'failed');
    expect(order(board)).toEqual([3, 0, 1, 2]);
    heard(3, 'ok', NONE);
    expect(order(board)).toEqual([3, 1, 2, 0]);
    nowMs += 120_000;
    for (const id of [2, 4]) heard(id);
    expect(order(board)).toEqual([1, 0, 2, 3]);
  });

  it('are those of devices that were never heard from', () => {
    const board = new PeerBoard(() => 0);
    for (const id of [1, 2])
      board.heard({
        id,
        node: `n${id}`,
        incarnation: 'x',
        status: 'ok',
        complete: ALL,
        heardAtMs: 0,
      });
    expect(order(board)).toEqual([3, 1, 2, 0]);
  });
});
