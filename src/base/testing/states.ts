/** Random entry states for property tests; few timestamps, so that equal ones meet. */
import fc from 'fast-check';
import { type DataPart, type EntryState, type Group, KINDS, MANIFEST_KINDS } from '../entry.ts';
import { makeTimestamp, type Timestamp } from '../timestamp.ts';

const BASE_MICROS = 1_767_225_600_000_000;

export function at(offset: number, worker = 1): Timestamp {
  return makeTimestamp(BASE_MICROS + offset, worker);
}

export function live(offset: number): DataPart {
  return {
    timestamp: at(offset),
    kind: 'live',
    writeId: '00000000000000aa',
    clientMicros: BASE_MICROS + offset,
    etag: 'd41d8cd98f00b204e9800998ecf8427e',
    size: 0,
    contentType: 'text/plain',
  };
}

const timestamp = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 1, max: 2 }))
  .map(([offset, worker]) => at(offset, worker));

const text = fc.string({ unit: 'binary', maxLength: 6 });
/** Whatever a client may call its metadata. */
const key = fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString', 'a', 'b'));
const values = fc
  .array(fc.tuple(key, text), { maxLength: 3 })
  .map((pairs) => Object.fromEntries(pairs) as Record<string, string>);
const count = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.maxSafeNat());

const body = fc.record(
  {
    length: count,
    written: timestamp,
    fragment: fc.record({ index: fc.nat(20), k: fc.nat(20), m: fc.nat(20) }),
    transform: fc.record(
      {
        algorithm: text,
        keyId: text,
        parameters: fc.uint8Array({ maxLength: 5 }).map((b) => Buffer.from(b)),
      },
      { requiredKeys: ['algorithm', 'keyId'] },
    ),
  },
  { requiredKeys: ['length'] },
);

const required = [
  'timestamp',
  'kind',
  'writeId',
  'clientMicros',
  'etag',
  'size',
  'contentType',
] as const;

const anyData: fc.Arbitrary<DataPart> = fc.record(
  {
    timestamp,
    kind: fc.constantFrom(...KINDS),
    writeId: fc.constantFrom('00000000000000aa', '00000000000000bb'),
    clientMicros: count,
    etag: text,
    size: count,
    contentType: text,
    base: timestamp,
    expiredSource: timestamp,
    deleteAt: count,
    manifest: fc.constantFrom(...MANIFEST_KINDS),
    body,
    versionId: text,
    deleteMarker: fc.boolean(),
    replicas: fc.nat(9),
    checksums: values,
    owner: text,
  },
  { requiredKeys: [...required] },
);

const group: fc.Arbitrary<Group> = fc.record({ timestamp, values });

export const anyState: fc.Arbitrary<EntryState> = fc.record(
  {
    data: anyData,
    groups: fc.dictionary(fc.constantFrom('user', 'system', 'acl', 'h:x-meta'), group, {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  },
  { requiredKeys: ['groups'], noNullPrototype: true },
) as fc.Arbitrary<EntryState>;
