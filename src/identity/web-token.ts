/**
 * Web identity: signed JSON tokens (JWT, RFC 7519) of OpenID providers and of WLCG, checked with the
 * issuers' public keys from a file (JWKS, RFC 7517), and mapped by the same rules as certificates.
 *
 *     issuers:
 *       - issuer: https://cms-auth.cern.ch/
 *         audience: [anello]
 *         keysFile: /etc/anello/cms.jwks
 *
 * Only algorithms with public keys are known: a token cannot name itself unsigned, nor have a public
 * key taken for a shared one.
 */
import { constants, createPublicKey, type KeyObject, verify, type webcrypto } from 'node:crypto';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { ProvenAttributes } from './mapping.ts';

const MAX_TOKEN_LENGTH = 16_384;
const MAX_KEYS = 64;
const CLOCK_SKEW_SECONDS = 60;

interface Algorithm {
  readonly digest: string | null;
  readonly keyType: 'rsa' | 'ec' | 'ed25519';
  readonly options?: object;
}

const PSS = {
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
};
const RAW = { dsaEncoding: 'ieee-p1363' } as const;
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  RS256: { digest: 'sha256', keyType: 'rsa' },
  RS384: { digest: 'sha384', keyType: 'rsa' },
  RS512: { digest: 'sha512', keyType: 'rsa' },
  PS256: { digest: 'sha256', keyType: 'rsa', options: PSS },
  ES256: { digest: 'sha256', keyType: 'ec', options: RAW },
  ES384: { digest: 'sha384', keyType: 'ec', options: RAW },
  EdDSA: { digest: null, keyType: 'ed25519' },
};

const issuersSchema = z
  .array(
    z
      .strictObject({
        issuer: z.string().min(1).max(1024),
        audience: z.array(z.string()).min(1).max(16),
        keysFile: z.string().min(1).optional(),
        keysUrl: z.url({ protocol: /^https?$/ }).optional(),
      })
      .refine(
        ({ keysFile, keysUrl }) => (keysFile === undefined) !== (keysUrl === undefined),
        'either keysFile or keysUrl',
      ),
  )
  .max(64);
export type WebIssuer = z.output<typeof issuersSchema>[number];

const jwks = z.object({
  keys: z.array(z.looseObject({ kid: z.string().optional() })).max(MAX_KEYS),
});
const headerSchema = z.object({
  alg: z.string(),
  kid: z.string().optional(),
  crit: z.never().optional(),
});
const claimsSchema = z.looseObject({
  iss: z.string(),
  sub: z.string().min(1).max(255),
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  exp: z.number(),
  nbf: z.number().optional(),
  iat: z.number().optional(),
});

interface PublicKey {
  readonly kid?: string;
  readonly key: KeyObject;
}

interface KnownIssuer extends WebIssuer {
  readonly keys: readonly PublicKey[];
}

export interface WebProof {
  readonly attributes: ProvenAttributes;
  readonly expiresMs: number;
}

export interface WebIssuerSources {
  readonly env: Pick<Env, 'disk' | 'log'>;
  /** The body of a keysUrl. */
  readonly fetchText: (url: string) => Promise<string>;
}

/**
 * Keys from a URL that cannot be had now are the `last` ones, or none: an issuer that is away keeps
 * only its own users out.
 *
 * @throws OperatingError `bad-issuers`, or what the disk says of a file
 */
export async function loadWebIssuers(
  sources: WebIssuerSources,
  value: unknown,
  last?: WebIdentities,
): Promise<WebIdentities> {
  const parsed = issuersSchema.safeParse(value);
  if (!parsed.success)
    throw new OperatingError('bad-issuers', `issuers: ${parsed.error.issues[0]?.message}`);
  const known = await Promise.all(
    parsed.data.map(async (issuer) => ({
      ...issuer,
      keys: await loadKeys(sources, issuer, last?.keysOf(issuer.issuer) ?? []),
    })),
  );
  return new WebIdentities(known);
}

async function loadKeys(
  { env, fetchText }: WebIssuerSources,
  { issuer, keysFile, keysUrl = '' }: WebIssuer,
  last: readonly PublicKey[],
): Promise<readonly PublicKey[]> {
  if (keysFile !== undefined)
    return parseKeys((await env.disk.read(keysFile)).toString(), keysFile);
  try {
    return parseKeys(await fetchText(keysUrl), keysUrl);
  } catch (error) {
    env.log.error('identity.issuer-keys-unavailable', { issuer, error: messageOf(error) });
    return last;
  }
}

function parseKeys(text: string, source: string): PublicKey[] {
  try {
    return jwks.parse(JSON.parse(text)).keys.map(({ kid, ...jwk }) => ({
      kid,
      key: createPublicKey({ key: jwk as webcrypto.JsonWebKey, format: 'jwk' }),
    }));
  } catch (cause) {
    throw new OperatingError(
      'bad-issuers',
      `${source}: ${messageOf(cause)}`,
      { source },
      { cause },
    );
  }
}

export class WebIdentities {
  readonly #issuers: readonly KnownIssuer[];

  constructor(issuers: readonly KnownIssuer[]) {
    this.#issuers = issuers;
  }

  /** Every issuer has keys. */
  get isComplete(): boolean {
    return this.#issuers.every(({ keys }) => keys.length > 0);
  }

  keysOf(issuer: string): readonly PublicKey[] {
    return this.#issuers.find((known) => known.issuer === issuer)?.keys ?? [];
  }

  /** @throws OperatingError `bad-web-token` with the reason */
  prove(token: string, nowMs: number): WebProof {
    const parts = token.split('.');
    const [head, body, signature] = parts;
    if (token.length > MAX_TOKEN_LENGTH || parts.length !== 3) throw refused('not a signed token');
    const header = headerSchema.safeParse(decodePart(head!));
    const claims = claimsSchema.safeParse(decodePart(body!));
    if (!header.success || !claims.success) throw refused('not a signed token of this form');
    const issuer = this.#issuers.find((candidate) => candidate.issuer === claims.data.iss);
    if (issuer === undefined) throw refused('an unknown issuer');
    const bits = Buffer.from(signature!, 'base64url');
    if (!isSigned(header.data, Buffer.from(`${head}.${body}`), bits, issuer.keys)) {
      throw refused('the signature does not fit');
    }
    checkClaims(claims.data, issuer, nowMs / 1000);
    const { sub: subject, iss, exp } = claims.data;
    const proven = { subject, issuer: iss, vos: [], fqans: [], claims: textClaims(claims.data) };
    return { attributes: proven, expiresMs: exp * 1000 };
  }
}

function isSigned(
  header: z.output<typeof headerSchema>,
  signed: Buffer,
  signature: Buffer,
  keys: readonly PublicKey[],
): boolean {
  const algorithm = Object.hasOwn(ALGORITHMS, header.alg) ? ALGORITHMS[header.alg] : undefined;
  if (algorithm === undefined) throw refused('an unknown algorithm');
  return keys
    .filter(({ kid, key }) => {
      const named = header.kid === undefined || kid === undefined || kid === header.kid;
      return named && key.asymmetricKeyType === algorithm.keyType;
    })
    .some(({ key }) => verify(algorithm.digest, signed, { key, ...algorithm.options }, signature));
}

function checkClaims(claims: z.output<typeof claimsSchema>, issuer: WebIssuer, now: number): void {
  if (claims.exp <= now) throw refused('it has expired');
  if (Math.max(claims.nbf ?? 0, claims.iat ?? 0) > now + CLOCK_SKEW_SECONDS)
    throw refused('not valid yet');
  const audience = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
  if (!audience.some((name) => issuer.audience.includes(name)))
    throw refused('for another audience');
}

/** What rules can match: text, and lists of text; `scope` is a list with spaces. */
function textClaims(claims: Readonly<Record<string, unknown>>): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const [name, value] of Object.entries(claims)) {
    if (typeof value === 'string') found[name] = name === 'scope' ? value.split(' ') : [value];
    else if (Array.isArray(value)) found[name] = value.filter((item) => typeof item === 'string');
  }
  return found;
}

function decodePart(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
  } catch {
    throw refused('not a signed token');
  }
}

function refused(why: string): OperatingError {
  return new OperatingError('bad-web-token', `web token refused: ${why}`);
}
