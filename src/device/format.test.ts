import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { makeTimestamp } from '#base/timestamp.ts';
import { decodeBlobTrailer, encodeBlobTrailer, encodeChecksumList } from './blob-format.ts';
import { BlockSummer, blockChecksums } from './blocks.ts';
import {
  decodeBatchHeader,
  decodeRecordHead,
  decodeSegmentHeader,
  encodeBatchHeader,
  encodeSegmentHeader,
  putRecordHead,
  RECORD_KINDS,
  type RecordKind,
  type RecordParts,
  recordHeadLength,
  saltOf,
} from './format.ts';
import { decodeIndexRow, encodeIndexRow } from './index-row.ts';
import {
  decodeBlobExtra,
  decodeForgetExtra,
  decodePartitionExtra,
  decodePromiseExtra,
  decodeRowExtra,
  encodeBlobExtra,
  encodeForgetExtra,
  encodePartitionExtra,
  encodePromiseExtra,
  encodeRowExtra,
} from './record-extra.ts';
import { StoredEntry } from './stored-entry.ts';

const OWNER = { device: 7, incarnation: '00112233445566778899aabbccddeeff' };
const SALT = saltOf(OWNER.incarnation);

const bytesOf = (max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));
const hash = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((array) => Buffer.from(array));
const parts: fc.Arbitrary<RecordParts> = fc.record({
  kind: fc.constantFrom(...(RECORD_KINDS.slice(1) as RecordKind[])),
  flags: fc.nat(0xffff),
  policy: fc.nat(0xffff),
  hash,
  since: fc.nat(1e9),
  path: fc.string({ unit: 'grapheme', maxLength: 100 }),
  extra: bytesOf(50),
  state: bytesOf(300),
});

function encode(record: RecordParts, segment = 3, offset = 1000): Buffer {
  const bytes = Buffer.alloc(recordHeadLength(record));
  putRecordHead(bytes, record, segment, offset, SALT);
  return bytes;
}

describe('the format', () => {
  it('of a record head returns what was put in', () => {
    fc.assert(
      fc.property(parts, bytesOf(2000), (record, body) => {
        const sums = blockChecksums(body);
        const whole = { ...record, checksums: sums, dataLength: body.length };
        const head = encode(whole);
        const decoded = decodeRecordHead(head, 0, 3, 1000, SALT)!;
        expect(decoded).toMatchObject({
          ...whole,
          segment: 3,
          offset: 1000,
          headLength: head.length,
        });
      }),
    );
  });

  it('of a record head does not pass with any bit flipped, elsewhere, or under another salt', () => {
    fc.assert(
      fc.property(parts, fc.nat(), fc.nat(7), (record, at, bit) => {
        const head = encode(record);
        expect(decodeRecordHead(head, 0, 3, 1001, SALT)).toBeUndefined();
        expect(decodeRecordHead(head, 0, 4, 1000, SALT)).toBeUndefined();
        expect(decodeRecordHead(head, 0, 3, 1000, SALT + 1)).toBeUndefined();
        head[at % head.length]! ^= 1 << bit;
        expect(decodeRecordHead(head, 0, 3, 1000, SALT)).toBeUndefined();
      }),
    );
  });

  it('survives any bytes: a decoder answers or refuses, and never reads outside', () => {
    fc.assert(
      fc.property(bytesOf(400), (noise) => {
        decodeRecordHead(noise, 0, 0, 0, SALT);
        decodeSegmentHeader(noise);
        decodeBatchHeader(noise, OWNER, 0, 0);
        decodeBlobTrailer(noise);
        for (const decode of [
          decodeBlobExtra,
          decodeForgetExtra,
          decodeRowExtra,
          decodePromiseExtra,
          decodePartitionExtra,
        ]) {
          try {
            decode(noise);
          } catch (error) {
            expect(codeOf(error)).toBe('malformed');
          }
        }
        expect(() => decodeIndexRow({ policy: 0, hash: Buffer.alloc(16) }, noise)).toThrow(
          'damaged',
        );
      }),
    );
  });

  it('of segment, batch and blob headers returns what was put in, and notices a flipped bit', () => {
    const segment = { ...OWNER, segment: 9, madeMicros: 1_767_225_600_123_456 };
    const batch = {
      flags: 1,
      number: 2 ** 40,
      segment: 9,
      offset: 6_000_000_000,
      writtenMicros: 5,
      length: 77,
      records: 3,
    };
    const key = { policy: 0xfffe, hash: Buffer.alloc(16, 5) };
    const list = encodeChecksumList([1, 0xffffffff]);
    const encoded = [
      encodeSegmentHeader(segment),
      encodeBatchHeader(batch, OWNER),
      encodeBlobTrailer(key, 70_000, list, OWNER).bytes,
    ];
    const decoders = [
      decodeSegmentHeader,
      (b: Buffer) => decodeBatchHeader(b, OWNER, 9, 6_000_000_000),
      decodeBlobTrailer,
    ];
    const wanted = [segment, batch, { ...key, length: 70_000 }];
    for (const [i, bytes] of encoded.entries()) {
      expect(decoders[i]!(bytes)).toMatchObject(wanted[i]!);
      for (let at = 0; at < bytes.length; at++) {
        const copy = Buffer.from(bytes);
        copy[at]! ^= 4;
        expect(decoders[i]!(copy)).toBeUndefined();
      }
    }
    expect(
      decodeBatchHeader(encoded[1]!, { ...OWNER, incarnation: 'f'.repeat(32) }, 9, 6_000_000_000),
    ).toBeUndefined();
  });

  it('of the extra fields returns what was put in', () => {
    const blob = {
      name: '0000-00112233445566778899aabbccddeeff-12-1',
      length: 2 ** 42,
      check: 0xffffffff,
    };
    expect(decodeBlobExtra(encodeBlobExtra(blob))).toEqual(blob);
    expect(() => decodeBlobExtra(encodeBlobExtra({ ...blob, name: '../../etc/passwd' }))).toThrow();
    expect(decodeRowExtra(encodeRowExtra('a/ö'))).toBe('a/ö');
    const timestamp = makeTimestamp(123456789, 77);
    const promise = { ballot: timestamp, seen: makeTimestamp(5, 1) };
    expect(decodePromiseExtra(encodePromiseExtra(promise))).toEqual(promise);
    for (const extra of [
      { what: 'complete', ranges: [1, 5, 9, 1 << 20] },
      { what: 'tail', cut: true },
      { what: 'floor', floors: [{ from: 3, to: 1024, timestamp }] },
    ] as const) {
      expect(decodePartitionExtra(encodePartitionExtra(extra))).toEqual(extra);
    }
    expect(() =>
      decodePartitionExtra(encodePartitionExtra({ what: 'complete', ranges: [5, 1] })),
    ).toThrow();
  });

  it('of an index row returns the entry, and refuses it under another key', () => {
    const key = { policy: 3, hash: Buffer.alloc(16, 9) };
    const place = { segment: 4, offset: 5_000_000, length: 900 };
    const common = {
      key,
      path: '/a/b/ç',
      stateBytes: Buffer.from('state'),
      unlistedSinceMs: 1_767_225_600_123,
      since: 2,
      storedMs: 7,
      contribution: Buffer.alloc(16, 3),
    };
    const bodies = [
      undefined,
      { kind: 'inline', record: place, start: 100, length: 70_000, checksums: [5, 6] },
      { kind: 'blob', record: place, name: '0000-ab-1', length: 2 ** 40, check: 9 },
    ] as const;
    for (const body of bodies) {
      const row = encodeIndexRow(new StoredEntry({ ...common, record: place, body }));
      expect(decodeIndexRow(key, row)).toMatchObject({ ...common, record: place, body });
      expect(() => decodeIndexRow({ ...key, policy: 2 }, row)).toThrow('damaged');
      expect(() => decodeIndexRow({ ...key, hash: Buffer.alloc(16, 8) }, row)).toThrow('damaged');
    }
  });

  it('has the same checksums for a body whole and in pieces of any size', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { maxLength: 6 }), (sizes) => {
        const chunks = sizes.map((size, i) => Buffer.alloc(size, i));
        const summer = new BlockSummer();
        for (const chunk of chunks) summer.add(chunk);
        expect(summer.finish()).toEqual(blockChecksums(Buffer.concat(chunks)));
      }),
      { numRuns: 30 },
    );
  });
});

describe('a forget record', () => {
  // As they were first written: a map of two fields, of one, and nothing at all.
  it.each([
    ['8204a3c3b66210cd0102', { name: 'öb', until: 258 }],
    ['8104a0', { name: '', until: undefined }],
    ['811003', { name: undefined, until: 3 }],
    ['', { name: undefined, until: undefined }],
  ])('of the bytes %s is read and written the same', (hex, fields) => {
    expect(decodeForgetExtra(Buffer.from(hex, 'hex'))).toEqual(fields);
    expect(encodeForgetExtra(fields).toString('hex')).toBe(hex);
  });

  it('with fields that make no sense is refused', () => {
    for (const hex of ['8104c0', '810401', '8110a161', '811000', '8110ff', '92'])
      expect(() => decodeForgetExtra(Buffer.from(hex, 'hex'))).toThrow();
  });
});
