import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentTypeOf, type EntryState, effectiveKind, join } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { columnsOf } from './columns.ts';
import { decodeRowState, encodeRowState, listingCheck } from './format.ts';
import { checksumCode, toldChecksums } from './row-checksum.ts';
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

  it('is small: no body, user metadata or values of checksums', () => {
    const groups = {
      user: { timestamp: at(1), values: { a: 'b' } },
      system: { timestamp: at(1), values: {} },
    };
    const object = {
      data: dataPart(at(1), { body: { length: 3 }, checksums: { md5: 'x' }, replicas: 4 }),
      groups,
    };
    expect(rowStateOf(object)).toEqual(live(at(1), { checksums: { md5: '' } }));
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
    [24, undefined, undefined],
    [40, 'a0'.repeat(16), undefined],
    [25, undefined, { crc64nvme: '' }],
    [41, 'a0'.repeat(16), { sha256: '-' }],
  ])(
    'are %i for a plain object (owner: %s), and refuse any flipped bit',
    (size, owner, checksums) => {
      const row = live(at(1), { ...(owner && { owner }), ...(checksums && { checksums }) });
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
    },
  );
});

describe('what a row tells of a checksum', () => {
  const codes = Array.from({ length: 256 }, (_, code) => code);

  it('is the algorithm and the type of each that S3 has, in one byte', () => {
    const told = codes.filter((code) => toldChecksums(code) !== undefined);
    expect(told).toEqual(codes.slice(1, 21));
    for (const code of told) expect(checksumCode(toldChecksums(code))).toBe(code);
    expect(toldChecksums(checksumCode({ crc64nvme: 'AAAA=' }))).toEqual({ crc64nvme: '' });
    expect(toldChecksums(checksumCode({ sha256: 'AAAA=-3' }))).toEqual({ sha256: '-' });
    const more: Readonly<Record<string, string>>[] = [{}, { crc32: 'x', sha1: 'y' }, { md7: 'x' }];
    for (const none of [undefined, ...more]) {
      expect(checksumCode(none)).toBe(0);
    }
  });

  it('is refused where this version does not know it', () => {
    const row = live(at(1), { checksums: { sha1: '' } });
    const columns = columnsOf(CONTAINER_RING, 'n', row, START_SECONDS);
    for (const code of [0, 21, 255]) {
      const bytes = encodeRowState(CONTAINER_RING, 'n', row, 7);
      bytes[20] = code;
      bytes.writeUInt32BE(crc32(bytes.subarray(0, -4), 7), bytes.length - 4);
      expect(() => decodeRowState(bytes, columns, 7)).toThrowError(
        expect.objectContaining({ code: 'newer-format' }),
      );
    }
  });

  it('leaves rows as they were written before readable, and is not in them', () => {
    const { writeId } = live(at(1)).data!;
    for (const [owner, form] of [
      ['', '01'],
      ['a0'.repeat(16), '03'],
    ] as const) {
      const row = live(at(1), owner === '' ? {} : { owner });
      const columns = columnsOf(CONTAINER_RING, 'n', row, START_SECONDS);
      const old = Buffer.from(`${form}00${row.data!.timestamp}${writeId}${owner}`, 'hex');
      const sum = Buffer.alloc(4);
      sum.writeUInt32BE(crc32(old, 7));
      expect(decodeRowState(Buffer.concat([old, sum]), columns, 7)).toEqual(row);
      expect(encodeRowState(CONTAINER_RING, 'n', row, 7)).toEqual(Buffer.concat([old, sum]));
    }
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
