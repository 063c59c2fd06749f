import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentTypeOf, type EntryState, effectiveKind, join } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { columnsOf } from './columns.ts';
import { decodeRowState, encodeRowState, listingCheck } from './format.ts';
import { containerRowOf, rowStateOf, settingsGroup, settingsOf, shownSlot } from './row-state.ts';
import { at, dataPart, live, START_SECONDS } from './testing/fixture.ts';

/** States of one object as several writers make them: equal timestamps mean the same write. */
const state: fc.Arbitrary<EntryState> = fc
  .record({
    time: fc.integer({ min: 1, max: 6 }),
    kind: fc.constantFrom('live', 'deleted', 'live', 'expired'),
    systemTime: fc.option(fc.integer({ min: 1, max: 8 })),
    userTime: fc.option(fc.integer({ min: 1, max: 8 })),
    withData: fc.boolean(),
  })
  .map(({ time, kind, systemTime, userTime, withData }) => {
    const groups: Record<string, EntryState['groups'][string]> = {};
    // What a group says is a function of its timestamp.
    if (systemTime !== null) {
      const values: Record<string, string> = { 'content-encoding': 'gzip' };
      if (systemTime % 2 === 0) values['delete-at'] = String(START_SECONDS + systemTime);
      if (systemTime % 3 === 0) values['content-type'] = 'text/plain';
      groups['system'] = { timestamp: at(systemTime), values };
    }
    if (userTime !== null)
      groups['user'] = { timestamp: at(userTime), values: { a: String(userTime) } };
    const data = dataPart(at(time), {
      kind: kind as 'live',
      ...(kind === 'expired' && { expiredSource: at(time) }),
      ...(time % 2 === 1 && { deleteAt: START_SECONDS + time }),
      size: time,
      body: { length: time },
      checksums: { crc32: 'x' },
      owner: 'me',
    });
    return withData ? join({ data, groups: {} }, { groups }) : { groups };
  });

describe('the row of an object', () => {
  it('is the same whether states are joined before or after', () => {
    fc.assert(
      fc.property(state, state, (a, b) => {
        const before = encodeState(rowStateOf(join(a, b)));
        expect(encodeState(rowStateOf(join(rowStateOf(a), rowStateOf(b))))).toEqual(before);
      }),
      { numRuns: 500 },
    );
  });

  it('shows what the object shows, at any time', () => {
    fc.assert(
      fc.property(state, fc.integer({ min: 0, max: 10 }), (object, later) => {
        const now = START_SECONDS + later;
        expect(effectiveKind(rowStateOf(object), now)).toBe(effectiveKind(object, now));
        if (object.data !== undefined)
          expect(contentTypeOf(rowStateOf(object))).toBe(contentTypeOf(object));
      }),
      { numRuns: 500 },
    );
  });

  it('is small: no body, checksums or user metadata', () => {
    const groups = {
      user: { timestamp: at(1), values: { a: 'b' } },
      system: { timestamp: at(1), values: {} },
    };
    const object = {
      data: dataPart(at(1), { body: { length: 3 }, checksums: { md5: 'x' }, replicas: 4 }),
      groups,
    };
    expect(rowStateOf(object)).toEqual(live(at(1)));
  });
});

describe('the bytes of a row', () => {
  it('give every state back', () => {
    fc.assert(
      fc.property(state, fc.constantFrom(CONTAINER_RING, ACCOUNT_RING), (object, ring) => {
        const row = rowStateOf(object);
        const columns = columnsOf(ring, 'n', row, START_SECONDS);
        const check = listingCheck(
          'n',
          columns.micros,
          columns.size,
          columns.etag,
          columns.type,
          columns.count,
        );
        const bytes = encodeRowState(ring, 'n', row, check);
        expect(encodeState(decodeRowState(bytes, columns, check))).toEqual(encodeState(row));
      }),
    );
  });

  it.each([
    [24, undefined],
    [40, 'a0'.repeat(16)],
  ])('are %i for a plain object (owner: %s), and refuse any flipped bit', (size, owner) => {
    const row = live(at(1), owner === undefined ? {} : { owner });
    const columns = columnsOf(CONTAINER_RING, 'n', row, START_SECONDS);
    const bytes = encodeRowState(CONTAINER_RING, 'n', row, 7);
    expect(bytes.length).toBe(size);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeRowState(flipped, columns, 7)).toThrowError(
        expect.objectContaining({ code: 'rows-damaged' }),
      );
    }
    expect(() => decodeRowState(bytes, columns, 8)).toThrowError();
    expect(() => decodeRowState(Buffer.alloc(2), columns, 8)).toThrowError();
  });
});

describe('containers', () => {
  it('keep their settings in a group of their own', () => {
    const own = { groups: { container: settingsGroup({ policy: 2, mode: 'local' }, at(1)) } };
    expect(settingsOf(own)).toEqual({ policy: 2, mode: 'local' });
    expect(settingsOf({ groups: {} })).toBeUndefined();
    expect(
      settingsOf({
        groups: { container: { timestamp: at(1), values: { policy: '-1', mode: 'x' } } },
      }),
    ).toBeUndefined();
  });

  it('show the slot with the newest row, ignoring what is no slot', () => {
    const slot = (device: number, newest: number, reported: number, objects: number) =>
      containerRowOf(live(at(1)), { device, objects, bytes: 1, newest: at(newest) }, at(reported));
    const joined = [slot(1, 5, 9, 1), slot(2, 6, 8, 2), slot(3, 6, 7, 3)].reduce(join);
    expect(shownSlot(joined)?.objects).toBe(2);
    const odd = {
      'slot:x': { timestamp: at(9), values: {} },
      'slot:4': { timestamp: at(9), values: { objects: '-1' } },
    };
    expect(shownSlot(join(joined, { groups: odd }))?.objects).toBe(2);
    expect(shownSlot({ groups: odd })).toBeUndefined();
  });
});
