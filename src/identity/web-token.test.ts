import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNodeEnv } from '#env/node/node-env.ts';
import { loadWebIssuers, type WebIdentities } from './web-token.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const folder = mkdtempSync(join(tmpdir(), 'anello-web-'));
const NOW = Date.UTC(2026, 0, 1);
const seconds = NOW / 1000;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const CLAIMS = {
  iss: 'https://iss',
  sub: 'anna',
  aud: 'anello',
  exp: seconds + 600,
  scope: 'a b',
  groups: ['/wlcg'],
};
let web: WebIdentities;
const NO_NETWORK = () => Promise.reject(new Error('no network here'));
const sources = { env, fetchText: NO_NETWORK };

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(
  claims: object = CLAIMS,
  header: object = { alg: 'ES256', kid: 'e' },
  key: KeyObject = ec.privateKey,
): string {
  const text = `${encode(header)}.${encode(claims)}`;
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return `${text}.${sign(digest, Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

beforeAll(async () => {
  const jwk = (key: KeyObject, kid: string) => ({ ...key.export({ format: 'jwk' }), kid });
  const keys = [jwk(rsa.publicKey, 'r'), jwk(ec.publicKey, 'e'), jwk(ed.publicKey, 'd')];
  const keysFile = join(folder, 'keys.jwks');
  writeFileSync(keysFile, JSON.stringify({ keys }));
  web = await loadWebIssuers(sources, [{ issuer: 'https://iss', audience: ['anello'], keysFile }]);
});
afterAll(async () => {
  await env.close();
  rmSync(folder, { recursive: true });
});

describe('web identity tokens', () => {
  it('prove subject and claims, signed by any public-key algorithm', () => {
    const tokens = [
      token(),
      token(CLAIMS, { alg: 'RS256', kid: 'r' }, rsa.privateKey),
      token(CLAIMS, { alg: 'EdDSA' }, ed.privateKey),
    ];
    for (const text of tokens) {
      expect(web.prove(text, NOW)).toMatchObject({
        expiresMs: NOW + 600_000,
        attributes: {
          subject: 'anna',
          issuer: 'https://iss',
          claims: { scope: ['a', 'b'], groups: ['/wlcg'] },
        },
      });
    }
  });

  it('are refused when anything is not as it must be', () => {
    const text = `${encode({ alg: 'HS256', kid: 'r' })}.${encode(CLAIMS)}`;
    const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
    const shared = `${text}.${createHmac('sha256', publicPem).update(text).digest('base64url')}`;
    const bad = [
      token({ ...CLAIMS, exp: seconds }),
      token({ ...CLAIMS, nbf: seconds + 3600 }),
      token({ ...CLAIMS, aud: 'other' }),
      token({ ...CLAIMS, aud: undefined }),
      token({ ...CLAIMS, iss: 'https://other' }),
      token({ ...CLAIMS, sub: '' }),
      token(CLAIMS, { alg: 'none' }),
      token(CLAIMS, { alg: 'toString' }),
      token(CLAIMS, { alg: 'ES256', kid: 'unknown' }),
      token(CLAIMS, { alg: 'ES256', crit: ['x'] }),
      token(CLAIMS, { alg: 'RS256', kid: 'e' }),
      token(
        CLAIMS,
        { alg: 'ES256' },
        generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
      ),
      `${encode({ alg: 'none' })}.${encode(CLAIMS)}.`,
      shared,
      '',
      '..',
      'a.b.c.d',
      token().slice(0, -2),
      token({ ...CLAIMS, more: 'x'.repeat(20_000) }),
    ];
    for (const text_ of bad) {
      expect(() => web.prove(text_, NOW), text_.slice(0, 80)).toThrow(
        expect.objectContaining({ code: 'bad-web-token' }),
      );
    }
    const [head, body, signature] = token().split('.');
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(0, 1, 2), (junk, place) => {
        const parts = [head, body, signature];
        parts[place] = junk;
        expect(() => web.prove(parts.join('.'), NOW)).toThrow(
          expect.objectContaining({ code: 'bad-web-token' }),
        );
      }),
    );
  });

  it('say which file of keys cannot be used', async () => {
    const keysFile = join(folder, 'bad.jwks');
    writeFileSync(keysFile, '{"keys": [{"kty": "oct", "k": "AAAA"}]}');
    const issuers = [{ issuer: 'x', audience: ['y'], keysFile }];
    await expect(loadWebIssuers(sources, issuers)).rejects.toMatchObject({ code: 'bad-issuers' });
    await expect(loadWebIssuers(sources, [{ issuer: 'x' }])).rejects.toMatchObject({
      code: 'bad-issuers',
    });
  });

  it('keep the keys of a URL that cannot be had for a while', async () => {
    const keysUrl = 'https://iss.example.org/jwk';
    const issuers = [{ issuer: 'https://iss', audience: ['anello'], keysUrl }];
    const text = JSON.stringify({ keys: [ec.publicKey.export({ format: 'jwk' })] });
    const asked: string[] = [];
    const fetchText = async (url: string): Promise<string> => {
      asked.push(url);
      return text;
    };
    const first = await loadWebIssuers({ env, fetchText }, issuers);
    expect([asked, first.isComplete]).toEqual([[keysUrl], true]);
    const later = await loadWebIssuers(sources, issuers, first);
    expect(later.prove(token(), NOW).attributes.subject).toBe(CLAIMS.sub);
    const never = await loadWebIssuers(sources, issuers);
    expect(never.isComplete).toBe(false);
    expect(() => never.prove(token(), NOW)).toThrow('the signature does not fit');
    const both = [{ ...issuers[0]!, keysFile: 'x' }];
    await expect(loadWebIssuers(sources, both)).rejects.toMatchObject({ code: 'bad-issuers' });
  });
});
