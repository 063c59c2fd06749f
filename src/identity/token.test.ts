import { createPublicKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { privateKeyFromSeed } from './ed25519.ts';
import { MAX_PACKED_BYTES } from './session-facts.ts';
import {
  decodeToken,
  MAX_LIFETIME_MS,
  MAX_TOKEN_LENGTH,
  METHODS,
  signatureMatches,
  signToken,
  type TokenFields,
} from './token.ts';

const key = { id: 'a1b2c3d4', privateKey: privateKeyFromSeed(Buffer.alloc(32, 1)) };
const publicKey = createPublicKey(key.privateKey);

const hexId = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((b) => Buffer.from(b).toString('hex'));
const fields = fc
  .record({
    userId: hexId,
    scope: fc.oneof(
      fc.constant({ kind: 'none' as const }),
      fc.constant({ kind: 'system' as const }),
      fc.constant({ kind: 'domain' as const, id: 'default' }),
      hexId.map((id) => ({ kind: 'project' as const, id })),
    ),
    methods: fc.subarray([...METHODS]),
    times: fc.tuple(fc.nat(2 ** 40), fc.nat(MAX_LIFETIME_MS)),
    revision: fc.nat(2 ** 45),
    auditId: hexId,
    roles: fc.array(fc.integer({ min: 1, max: 0xffff }), { maxLength: 64 }),
    chainId: fc.option(hexId, { nil: undefined }),
    applicationCredentialId: fc.option(hexId, { nil: undefined }),
    trustId: fc.option(hexId, { nil: undefined }),
    session: fc.option(
      fc.uint8Array({ maxLength: MAX_PACKED_BYTES }).map((bytes) => Buffer.from(bytes)),
      { nil: undefined },
    ),
  })
  .map(
    ({ times: [issuedMs, lifetime], ...rest }): TokenFields => ({
      ...rest,
      issuedMs,
      expiresMs: issuedMs + lifetime,
    }),
  );

const example: TokenFields = {
  userId: '11'.repeat(16),
  scope: { kind: 'project', id: '22'.repeat(16) },
  methods: ['password', 'token'],
  issuedMs: 1_700_000_000_000,
  expiresMs: 1_700_000_360_000,
  revision: 123_456,
  auditId: '33'.repeat(16),
  roles: [1, 2, 3, 16, 17, 18, 300, 65535],
  chainId: '44'.repeat(16),
  applicationCredentialId: '55'.repeat(16),
  trustId: '66'.repeat(16),
};

describe('token format', () => {
  it('gives back what went in, and the signature fits', () => {
    fc.assert(
      fc.property(fields, (wanted) => {
        const text = signToken(wanted, key);
        expect(text.length).toBeLessThan(MAX_TOKEN_LENGTH);
        const decoded = decodeToken(text)!;
        expect(decoded.fields).toEqual(wanted);
        expect(decoded.keyId).toBe(key.id);
        expect(signatureMatches(decoded, publicKey)).toBe(true);
      }),
    );
  });

  it('is under 300 characters with 8 roles and every option', () => {
    expect(signToken(example, key)).toHaveLength(274);
  });

  it('keeps its bytes: version 1 as first written', () => {
    expect(signToken({ ...example, chainId: undefined }, key)).toBe(GOLDEN);
    expect(decodeToken(GOLDEN)?.fields).toEqual({ ...example, chainId: undefined });
  });

  it('believes no token with any bit changed', () => {
    const text = signToken(example, key);
    const bytes = Buffer.from(text.slice(4), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const decoded = decodeToken(`at1_${changed.toString('base64url')}`);
      if (decoded !== undefined) expect(signatureMatches(decoded, publicKey)).toBe(false);
    }
  });

  it('takes one text for one token only', () => {
    const text = signToken(example, key);
    for (const other of [
      `${text}=`,
      `${text} `,
      `${text}\n`,
      text.replace('at1_', 'AT1_'),
      `${text}!`,
    ]) {
      expect(decodeToken(other)).toBeUndefined();
    }
    expect(decodeToken(text.slice(0, -1))).toBeUndefined();
  });

  it('survives anything', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc
            .uint8Array({ maxLength: 300 })
            .map(
              (bytes) => `at1_${Buffer.concat([Buffer.from([1]), bytes]).toString('base64url')}`,
            ),
        ),
        (text) => {
          const decoded = decodeToken(text);
          if (decoded !== undefined) expect(signatureMatches(decoded, publicKey)).toBe(false);
        },
      ),
    );
  });

  it('refuses to sign too many roles or too long a life', () => {
    const roles = Array.from({ length: 65 }, (_, i) => i + 1);
    expect(() => signToken({ ...example, roles }, key)).toThrow('64 roles');
    const expiresMs = example.issuedMs + MAX_LIFETIME_MS + 1;
    expect(() => signToken({ ...example, expiresMs }, key)).toThrow('49 days');
  });
});

const GOLDEN =
  'at1_AaGyw9QBAAMGERERERERERERERERERERESIiIiIiIiIiIiIiIiIiIiIBi8_laAAABX5AAAAAAeJAMzMzMzMzMzMzMzMzMzMzMwgAAQACAAMAEAARABIBLP__VVVVVVVVVVVVVVVVVVVVVWZmZmZmZmZmZmZmZmZmZmZEr7qRMYxsfQtQuwG-8IUdvIvHxDX9BWezqFJl51sgcpw8HoZopLHaGWIwsnhEQSQvRrGlhhBlX0h-fjdqaxcC';
