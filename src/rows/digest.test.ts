import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import {
  addTerm,
  subtractTerm,
  sumFromBytes,
  sumToBytes,
  term,
  termPrefix,
  zeroSum,
} from './digest.ts';
import { BUCKET_BITS, bucketOf, firstHash } from './summary.ts';
import { at, live, makeFolder, openStore, row, START_SECONDS } from './testing/fixture.ts';

const MODULUS = 2n ** 128n;
const toBig = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);
const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes));

describe('the sum', () => {
  it('adds and subtracts modulo 2^128', () => {
    fc.assert(
      fc.property(bytes16, bytes16, (a, b) => {
        const sum = sumFromBytes(a);
        addTerm(sum, b);
        expect(toBig(sumToBytes(sum))).toBe((toBig(a) + toBig(b)) % MODULUS);
        subtractTerm(sum, b);
        expect(sumToBytes(sum)).toEqual(a);
        subtractTerm(sum, b);
        expect(toBig(sumToBytes(sum))).toBe((toBig(a) - toBig(b) + MODULUS) % MODULUS);
      }),
    );
  });

  it('has terms that tell apart every part of a row', () => {
    const prefix = termPrefix('key', CONTAINER_RING, Buffer.alloc(16));
    const make = (p = prefix, name = 'ab', listed = 'c', payload = 'd'): string =>
      term(p, Buffer.from(name), listed, Buffer.from(payload)).toString('hex');
    const others = [
      make(termPrefix('other', CONTAINER_RING, Buffer.alloc(16))),
      make(termPrefix('key', ACCOUNT_RING, Buffer.alloc(16))),
      make(termPrefix('key', CONTAINER_RING, Buffer.alloc(16, 1))),
      make(prefix, 'a', 'bc'),
      make(prefix, 'ab', 'e'),
      make(prefix, 'ab', 'c', 'e'),
    ];
    expect(new Set([make(), ...others]).size).toBe(7);
    expect(zeroSum()).toEqual(new Uint32Array(4));
  });
});

describe('summaries of buckets', () => {
  it('are the top bits of a hash', () => {
    expect(bucketOf(firstHash(12345))).toBe(12345);
    expect(bucketOf(Buffer.alloc(16, 0xff))).toBe(2 ** BUCKET_BITS - 1);
  });

  it('are sums over the containers in them, however the range is split', async () => {
    const folder = makeFolder();
    const { store } = await openStore(folder);
    for (let i = 0; i < 40; i++) {
      const hash = Buffer.alloc(16, i);
      hash[0] = i * 6;
      await store.write(row(`o${i}`, live(at(i + 1)), hash));
    }
    const all = 2 ** BUCKET_BITS;
    const [whole] = store.summarise(CONTAINER_RING, 0, all, 1);
    expect(whole).toMatchObject({ live: 40, total: 40 });
    const parts = store.summarise(CONTAINER_RING, 0, all, 64);
    const sum = zeroSum();
    for (const part of parts) addTerm(sum, part.sum);
    expect(sumToBytes(sum)).toEqual(whole!.sum);
    const half = store.summarise(CONTAINER_RING, all / 2, all, 2);
    expect(half[0]!.live + half[1]!.live).toBe(18);
    // Kept in memory from here on: changed by commits and by expiry.
    const hash = Buffer.alloc(16, 7);
    await store.write(row('late', live(at(99), { deleteAt: START_SECONDS + 5 }), hash));
    await store.write(row('late 2', live(at(100)), hash));
    folder.env.clock.seconds += 6;
    store.facts(CONTAINER_RING, hash);
    const { store: fresh } = await openStore(folder);
    const now = store.summarise(CONTAINER_RING, 0, all, 1);
    expect(now).toEqual(fresh.summarise(CONTAINER_RING, 0, all, 1));
    expect(now[0]).toMatchObject({ live: 41, total: 42 });
    expect(
      store.summarise(CONTAINER_RING, 0, all, 2 ** 14).reduce((sum, part) => sum + part.live, 0),
    ).toBe(41);
    fresh.close();
    expect(store.summarise(ACCOUNT_RING, 0, all, 1)[0]).toMatchObject({ live: 0, total: 0 });
    store.close();
    await folder.remove();
  });
});
