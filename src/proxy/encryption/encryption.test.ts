/** Encrypted bodies: what comes back, what is refused, and what a storage node gets to see. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import type { Operation, PutRequest } from '../contract.ts';
import { MemoryKeys } from '../testing/memory-keys.ts';
import {
  CONTAINER,
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from '../testing/test-cluster.ts';
import type { WantedEncryption } from './encryption.ts';
import { checkCustomerKey, encryptionOf } from './encryption.ts';
import {
  decodeEnvelope,
  encodeEnvelope,
  unwrapKey,
  verifierOf,
  wrapContext,
  wrapKey,
} from './envelope.ts';
import { openRange, openWhole, SEGMENT_BYTES, SegmentSealer, sealedLength } from './segments.ts';

const KEY = Buffer.alloc(32, 3);

function sealed(plain: Buffer, cuts: readonly number[] = []): Buffer {
  const sealer = new SegmentSealer(KEY);
  const pieces: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, plain.length]) {
    const end = Math.min(plain.length, at + cut);
    pieces.push(...sealer.update(plain.subarray(at, end)));
    at = end;
  }
  return Buffer.concat([...pieces, ...sealer.update(plain.subarray(at)), sealer.final()]);
}

function bodyOf(size: number, stored: Buffer, pieceBytes = 10_000) {
  async function* read(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end; at += pieceBytes) {
      yield stored.subarray(at, Math.min(end, at + pieceBytes));
    }
  }
  return { key: KEY, size, read };
}

/** Vitest compares large buffers byte by byte, slowly. */
function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(actual, expected)).toBe(0);
}

async function failure(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', codeOf);
}

const EDGES = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES];

describe('segments', () => {
  it.each(EDGES)('of %i bytes open to what was sealed, however it came', (size) => {
    const plain = patternBytes(size);
    const stored = sealed(plain);
    expect(stored.length).toBe(sealedLength(size));
    expectBytes(sealed(plain, [1, 100_000, 7]), stored);
    expectBytes(openWhole(KEY, size, stored), plain);
  });

  it('give any range, for what its segments cost', async () => {
    const size = 5 * SEGMENT_BYTES + 777;
    const plain = patternBytes(size);
    const stored = sealed(plain);
    const place = fc.nat({ max: size });
    await fc.assert(
      fc.asyncProperty(place, place, fc.integer({ min: 1, max: 200_000 }), async (a, b, piece) => {
        const [start, end] = a < b ? [a, b] : [b, a];
        let asked = 0;
        const body = bodyOf(size, stored, piece);
        const counted = {
          ...body,
          read: (from: number, to: number) => {
            asked = to - from;
            return body.read(from, to);
          },
        };
        expectBytes(await collect(openRange(counted, start, end)), plain.subarray(start, end));
        expect(asked).toBeLessThanOrEqual(end - start + 2 * (SEGMENT_BYTES + 16) + 16 * 8);
      }),
      { numRuns: 60 },
    );
  });

  it('do not open when they were changed, cut off, dropped or exchanged', async () => {
    const size = 3 * SEGMENT_BYTES;
    const stored = sealed(patternBytes(size));
    const segment = SEGMENT_BYTES + 16;
    const changed = Buffer.from(stored);
    changed[segment + 5]! ^= 1;
    const [a, b, c] = [0, 1, 2].map((n) => stored.subarray(n * segment, (n + 1) * segment));
    const exchanged = Buffer.concat([b!, a!, c!]);
    for (const bytes of [changed, exchanged]) {
      expect(await failure(collect(openRange(bodyOf(size, bytes), 0, size)))).toBe(
        'sealed-damaged',
      );
    }
    // As an object of two segments: its last one would not be marked as that.
    const shorter = 2 * SEGMENT_BYTES;
    const cut = stored.subarray(0, 2 * segment);
    expect(await failure(collect(openRange(bodyOf(shorter, cut), 0, shorter)))).toBe(
      'sealed-damaged',
    );
    const silent = { ...bodyOf(size, stored), read: () => bodyOf(size, cut).read(0, cut.length) };
    expect(await failure(collect(openRange(silent, 0, size)))).toBe('sealed-damaged');
    expect(() => openWhole(KEY, size, cut)).toThrow(
      expect.objectContaining({ code: 'sealed-damaged' }),
    );
  });
});

describe('the envelope', () => {
  const salt = Buffer.alloc(16, 9);
  const facts = { kind: 'customer', salt, verifier: verifierOf(KEY, salt) } as const;
  const context = wrapContext({ facts, keyId: '' });
  const wrapped = wrapKey(Buffer.alloc(32, 5), KEY, salt, context);
  const envelope = { facts, keyId: '', sealedKey: { salt, wrapped } };

  it('of version 1 is read for ever', () => {
    const file = path.resolve(
      import.meta.dirname,
      '../../../test/golden/object-envelope/v1/customer.bin',
    );
    const parameters = readFileSync(file);
    const decoded = decodeEnvelope({ algorithm: 'aes-256-gcm-64k', keyId: '', parameters });
    expect(decoded).toEqual(envelope);
    expectBytes(encodeEnvelope(envelope).parameters!, parameters);
    expect(unwrapKey(decoded.sealedKey!, KEY, context)).toEqual(Buffer.alloc(32, 5));
  });

  it('is refused clearly when it is newer or damaged', () => {
    const { parameters } = encodeEnvelope(envelope);
    const newer = Buffer.from(parameters!);
    newer[1] = 2;
    const decode = (bytes: Buffer) => () =>
      decodeEnvelope({ algorithm: 'aes-256-gcm-64k', keyId: '', parameters: bytes });
    expect(decode(newer)).toThrow(expect.objectContaining({ code: 'newer-format' }));
    expect(decode(Buffer.from('rubbish'))).toThrow(expect.objectContaining({ code: 'malformed' }));
    expect(decode(Buffer.from(parameters!.subarray(0, 40)))).toThrow(
      expect.objectContaining({ code: 'malformed' }),
    );
  });

  it("does not open with another key, and knows the customer's", () => {
    expect(unwrapKey(envelope.sealedKey, Buffer.alloc(32, 4), context)).toBeUndefined();
    expect(unwrapKey(envelope.sealedKey, KEY, 'another context')).toBeUndefined();
    expect(() => checkCustomerKey(facts, KEY)).not.toThrow();
    const code = (key: Uint8Array | undefined, of: typeof facts | undefined) => {
      try {
        checkCustomerKey(of, key);
        return 'none';
      } catch (error) {
        return codeOf(error);
      }
    };
    expect(code(Buffer.alloc(32, 4), facts)).toBe('customer-key-wrong');
    expect(code(undefined, facts)).toBe('customer-key-needed');
    expect(code(KEY, undefined)).toBe('customer-key-unwanted');
  });
});

const SECRET = 'the plain text that no disk may hold';
const SMALL = Buffer.from(`${SECRET}; `.repeat(20));
const LARGE = Buffer.from(`${SECRET}; `.repeat(60_000));
const CUSTOMER = { kind: 'customer', key: KEY } as const;
const STORE = { kind: 'store' } as const;

class Fixture {
  readonly cluster: TestCluster;
  readonly keys: MemoryKeys;

  constructor(cluster: TestCluster, keys: MemoryKeys) {
    this.cluster = cluster;
    this.keys = keys;
  }

  static async start(): Promise<Fixture> {
    const keys = new MemoryKeys('named');
    const cluster = await TestCluster.start({ keys });
    await cluster.createContainer();
    return new Fixture(cluster, keys);
  }

  put(object: string, body: Buffer, overrides: Partial<PutRequest>) {
    const { cluster } = this;
    const request = putRequest(body, overrides);
    return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
  }

  get(
    object: string,
    customerKey?: Uint8Array,
    range?: readonly [number, number],
  ): Promise<Buffer> {
    const { cluster } = this;
    const operation: Operation = { ...cluster.operation(), ...(customerKey && { customerKey }) };
    return cluster.run(
      (async () => {
        const reader = await cluster.proxy.openObject(operation, objectName(object));
        const [start, end] = range ?? [0, reader!.length];
        return reader!.inline?.subarray(start, end) ?? (await collect(reader!.read(start, end)));
      })(),
    );
  }

  /** Every file of every device. */
  async stored(): Promise<Buffer> {
    const found: Buffer[] = [];
    for (const { machine } of this.cluster.nodes.values()) {
      const { disk } = machine.env;
      const visit = async (folder: string): Promise<void> => {
        for (const name of await disk.list(folder)) {
          const file = `${folder}/${name}`;
          const kind = (await disk.stat(file))?.kind;
          if (kind === 'directory') await visit(file);
          else if (kind === 'file') found.push(await disk.read(file));
        }
      };
      await this.cluster.run(visit('/d1'));
    }
    return Buffer.concat(found);
  }
}

describe('an encrypted object', () => {
  const wishes: readonly [string, WantedEncryption][] = [
    ["with the store's key", STORE],
    ['with a named key', { kind: 'named', name: 'named', bucketKey: false }],
    ["with the customer's key", CUSTOMER],
  ];

  it.each(wishes)(
    '%s comes back whole and by ranges, small and large',
    async (_name, encryption) => {
      const fixture = await Fixture.start();
      const key = encryption.kind === 'customer' ? encryption.key : undefined;
      for (const body of [Buffer.alloc(0), SMALL, LARGE]) {
        const result = await fixture.put('a', body, { encryption });
        expect(result).toMatchObject({ kind: 'stored', size: body.length });
        expect(result.encryption?.kind).toBe(encryption.kind);
        expectBytes(await fixture.get('a', key), body);
        const range = [Math.floor(body.length / 3), Math.floor(body.length / 2)] as const;
        expectBytes(await fixture.get('a', key, range), body.subarray(...range));
      }
    },
  );

  it('leaves no plain text on any device, where a plain one does', async () => {
    const fixture = await Fixture.start();
    await fixture.put('small', SMALL, { encryption: STORE });
    await fixture.put('large', LARGE, { encryption: CUSTOMER });
    expect((await fixture.stored()).includes(SECRET)).toBe(false);
    await fixture.put('plain', SMALL, {});
    expect((await fixture.stored()).includes(SECRET)).toBe(true);
  });

  it('is made by the default of its container, unless that is no manifest', async () => {
    const fixture = await Fixture.start();
    const { cluster } = fixture;
    const changes = { 's3-encryption': JSON.stringify({ algorithm: 'AES256' }) };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, changes));
    expect((await fixture.put('a', SMALL, {})).encryption).toEqual(STORE);
    expectBytes(await fixture.get('a'), SMALL);
    const manifest = { kind: 'static', etag: 'e', size: 0 } as const;
    expect((await fixture.put('m', SMALL, { manifest })).encryption).toBeUndefined();
    const damaged = { 's3-encryption': 'what?' };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, damaged));
    expect(await failure(fixture.put('b', SMALL, {}))).toBe('malformed');
  });

  it('is checked as plain bytes: MD5 and length', async () => {
    const fixture = await Fixture.start();
    const wrong = { encryption: STORE, expectedEtag: '0'.repeat(32) };
    expect(await failure(fixture.put('a', SMALL, wrong))).toBe('etag-mismatch');
    expect(await failure(fixture.put('a', LARGE, wrong))).toBe('etag-mismatch');
    const short = { encryption: STORE, length: LARGE.length + 1 };
    expect(await failure(fixture.put('a', LARGE, short))).toBe('length-mismatch');
  });

  it('outlives the rotation of its key, and is lost with the key, clearly', async () => {
    const fixture = await Fixture.start();
    await fixture.put('old', SMALL, { encryption: STORE });
    const { id } = fixture.keys.make('');
    await fixture.put('new', SMALL, { encryption: STORE });
    expectBytes(await fixture.get('old'), SMALL);
    fixture.keys.lose(id);
    expect(await failure(fixture.get('new'))).toBe('object-key-lost');
    expectBytes(await fixture.get('old'), SMALL);
  });

  it("is read with the customer's key alone, and shows no MD5", async () => {
    const fixture = await Fixture.start();
    const plain = await fixture.put('plain', SMALL, {});
    const { etag } = await fixture.put('a', SMALL, { encryption: CUSTOMER });
    expect(etag).toMatch(/^[0-9a-f]{32}$/);
    expect(etag).not.toBe(plain.etag);
    expect(await failure(fixture.get('a'))).toBe('customer-key-needed');
    expect(await failure(fixture.get('a', Buffer.alloc(32, 4)))).toBe('customer-key-wrong');
    expect(await failure(fixture.get('plain', KEY))).toBe('customer-key-unwanted');
  });

  it('is refused where its key is not there', async () => {
    const fixture = await Fixture.start();
    const encryption = { kind: 'named', name: 'nobody', bucketKey: false } as const;
    expect(await failure(fixture.put('a', SMALL, { encryption }))).toBe('no-such-key');
    const bare = await TestCluster.start();
    await bare.createContainer();
    const put = bare.proxy.putObject(
      bare.operation(),
      objectName('a'),
      putRequest(SMALL, { encryption: STORE }),
    );
    expect(await failure(bare.run(put))).toBe('no-object-keys');
  });

  it('keeps its envelope through the conditional rounds and changes of metadata', async () => {
    const fixture = await Fixture.start();
    const { cluster } = fixture;
    const { IF_ABSENT } = await import('../condition.ts');
    await fixture.put('a', LARGE, { encryption: STORE, condition: IF_ABSENT });
    const groups = { tags: { colour: 'blue' } };
    await cluster.run(cluster.proxy.updateGroups(cluster.operation(), objectName('a'), groups));
    const state = await cluster.run(cluster.proxy.statObject(cluster.operation(), objectName('a')));
    expect(encryptionOf(state!)).toEqual(STORE);
    expectBytes(await fixture.get('a'), LARGE);
  });
});
