/** Counted over small rings that can be counted by hand. */
import { describe, expect, it } from 'vitest';
import { dispersionOf } from './dispersion.ts';
import { NO_FORMER } from './fields.ts';
import { Ring } from './ring.ts';

/** Devices 0-3 at three sites, 4 beside 3 on its node; columns are given by hand. */
function ring(columns: readonly (readonly number[])[]): Ring {
  const places = [
    ['lngs', 'l1'],
    ['bari', 'b1'],
    ['padova', 'p1'],
    ['padova', 'p2'],
    ['padova', 'p2'],
  ];
  const devices = places.map(([site, node], id) => {
    return { id, site: site!, zone: 'z1', node: node!, name: `d${id}`, weight: 100, meta: {} };
  });
  const tables = columns.map((column) => Uint16Array.from(column));
  const fields = { policy: 0, version: 7, partPower: 1, copies: 3, devices, columns: tables };
  return new Ring({ ...fields, former: NO_FORMER });
}

describe('dispersion of a ring', () => {
  it('is whole where every partition lies at as many sites as there are', () => {
    const found = dispersionOf(
      ring([
        [0, 0],
        [1, 1],
        [2, 3],
      ]),
    );
    expect(found).toMatchObject({ version: 7, close: 0, sites: { 3: 2 }, nodes: { 3: 2 } });
    expect(found.closest).toBeUndefined();
  });

  it('names the partition that lies closest together', () => {
    const found = dispersionOf(
      ring([
        [0, 2],
        [2, 3],
        [3, 4],
      ]),
    );
    expect(found).toMatchObject({ close: 2, sites: { 2: 1, 1: 1 }, nodes: { 3: 1, 2: 1 } });
    expect(found.devices).toEqual({ 3: 2 });
    expect(found.closest).toEqual({
      partition: 1,
      devices: ['padova/p1/d2', 'padova/p2/d3', 'padova/p2/d4'],
    });
  });
});
