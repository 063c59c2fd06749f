/**
 * The token: what a client sends with every request, verified offline by every proxy.
 *
 *   0    1  version 1
 *   1    4  id of the signing key
 *   5    1  scope: 0 none, 1 project, 2 domain, 3 system
 *   6    2  authentication methods, one bit each (METHODS)
 *   8    1  flags: 1 chain follows, 2 application credential follows, 4 trust follows, 8 session follows
 *   9   16  user id
 *   25  16  project or domain id, else zeros
 *   41   6  issued, milliseconds since 1970
 *   47   4  lifetime, milliseconds
 *   51   6  revision of state that the log-in was decided on
 *   57  16  audit id, random
 *   73   1  number of roles, at most MAX_TOKEN_ROLES
 *   74  2n  role numbers
 *       16  audit id of the first token of the chain, if flagged
 *       16  application credential id, if flagged
 *       16  trust id, if flagged
 *      2+n  length and bytes of the session's facts (session-facts.ts), if flagged
 *   -64 64  Ed25519 signature of DOMAIN_SEPARATION and everything before
 *
 * All integers big-endian; as text: `at1_` and base64url. With 8 roles and every option 274
 * characters, a session policy apart. Roles travel as short numbers that are never given out twice; names and the rest are
 * in the directory that every proxy follows.
 *
 * The revision makes revocation exact without clocks: an event revokes the tokens whose revision is
 * below the event's own. A log-in that was decided on older records than the event is covered,
 * however long its password check took; one decided on newer records is not.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import { ID_BYTES, idFromBytes, idToBytes } from './id.ts';

const TOKEN_VERSION = 1;
export const TOKEN_PREFIX = 'at1_';
export const MAX_TOKEN_ROLES = 64;
export const MAX_LIFETIME_MS = 0xffff_ffff;
/** The text of a token with every option, MAX_TOKEN_ROLES roles and MAX_PACKED_BYTES is shorter. */
export const MAX_TOKEN_LENGTH = 4096;
export const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
const FIXED_BYTES = 74;
const DOMAIN_SEPARATION = Buffer.from('anello token\0');

export const METHODS = [
  'password',
  'token',
  'application_credential',
  'external',
  'ec2credential',
  'oauth2',
  'mapped',
  'trust',
  /** From a limited proxy certificate: makes nothing that lasts. */
  'limited',
] as const;
export type Method = (typeof METHODS)[number];

export type Scope =
  | { readonly kind: 'none' }
  | { readonly kind: 'project'; readonly id: string }
  | { readonly kind: 'domain'; readonly id: string }
  | { readonly kind: 'system' };

const SCOPE_KINDS = ['none', 'project', 'domain', 'system'] as const;
const FLAG = { chain: 1, applicationCredential: 2, trust: 4, session: 8 } as const;
const ALL_FLAGS = 15;

export interface TokenFields {
  readonly userId: string;
  readonly scope: Scope;
  readonly methods: readonly Method[];
  readonly issuedMs: number;
  readonly expiresMs: number;
  readonly revision: number;
  /** 32 hex digits here; clients see base64url. */
  readonly auditId: string;
  readonly roles: readonly number[];
  readonly chainId?: string;
  readonly applicationCredentialId?: string;
  readonly trustId?: string;
  /** As packed: to be opened when the signature matched. */
  readonly session?: Uint8Array;
}

export interface SigningKey {
  /** 8 hex digits. */
  readonly id: string;
  readonly privateKey: KeyObject;
}

export function signToken(fields: TokenFields, key: SigningKey): string {
  const body = encode(fields, key.id);
  const signature = sign(null, Buffer.concat([DOMAIN_SEPARATION, body]), key.privateKey);
  return TOKEN_PREFIX + Buffer.concat([body, signature]).toString('base64url');
}

function encode(fields: TokenFields, keyId: string): Buffer {
  const { scope, roles, chainId, applicationCredentialId, trustId, session } = fields;
  const lifetime = fields.expiresMs - fields.issuedMs;
  if (roles.length > MAX_TOKEN_ROLES || lifetime < 0 || lifetime > MAX_LIFETIME_MS) {
    throw new OperatingError('bad-request', 'a token has at most 64 roles and 49 days');
  }
  const fixed = Buffer.alloc(FIXED_BYTES + 2 * roles.length);
  fixed[0] = TOKEN_VERSION;
  fixed.write(keyId, 1, KEY_ID_BYTES, 'hex');
  fixed[5] = SCOPE_KINDS.indexOf(scope.kind);
  fixed.writeUInt16BE(methodBits(fields.methods), 6);
  fixed[8] =
    (chainId ? FLAG.chain : 0) |
    (applicationCredentialId ? FLAG.applicationCredential : 0) |
    (trustId ? FLAG.trust : 0) |
    (session ? FLAG.session : 0);
  idToBytes(fields.userId).copy(fixed, 9);
  if ('id' in scope) idToBytes(scope.id).copy(fixed, 25);
  fixed.writeUIntBE(fields.issuedMs, 41, 6);
  fixed.writeUInt32BE(lifetime, 47);
  fixed.writeUIntBE(fields.revision, 51, 6);
  idToBytes(fields.auditId).copy(fixed, 57);
  fixed[73] = roles.length;
  roles.forEach((role, i) => {
    fixed.writeUInt16BE(role, FIXED_BYTES + 2 * i);
  });
  const optional = [chainId, applicationCredentialId, trustId].filter((id) => id !== undefined);
  const tail = session === undefined ? [] : [lengthOf(session), session];
  return Buffer.concat([fixed, ...optional.map(idToBytes), ...tail]);
}

function lengthOf(session: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(session.length);
  return length;
}

function methodBits(methods: readonly Method[]): number {
  return methods.reduce((bits, method) => bits | (1 << METHODS.indexOf(method)), 0);
}

export interface DecodedToken {
  readonly keyId: string;
  readonly fields: TokenFields;
  readonly body: Buffer;
  readonly signature: Buffer;
}

/** The fields as written, not yet believed. Undefined: not a token. */
export function decodeToken(text: string): DecodedToken | undefined {
  if (!text.startsWith(TOKEN_PREFIX) || text.length > MAX_TOKEN_LENGTH) return undefined;
  const encoded = text.slice(TOKEN_PREFIX.length);
  const bytes = Buffer.from(encoded, 'base64url');
  // Node skips what is not base64url: only the one canonical text counts.
  if (bytes.toString('base64url') !== encoded) return undefined;
  if (bytes.length < FIXED_BYTES + SIGNATURE_BYTES || bytes[0] !== TOKEN_VERSION) return undefined;
  const body = bytes.subarray(0, -SIGNATURE_BYTES);
  const fields = decodeFields(body);
  if (fields === undefined) return undefined;
  const keyId = body.toString('hex', 1, 1 + KEY_ID_BYTES);
  return { keyId, fields, body, signature: bytes.subarray(-SIGNATURE_BYTES) };
}

function decodeFields(body: Buffer): TokenFields | undefined {
  const kind = SCOPE_KINDS[body[5]!];
  const flags = body[8]!;
  const count = body[73]!;
  let offset = FIXED_BYTES + 2 * count;
  const optional = [FLAG.chain, FLAG.applicationCredential, FLAG.trust].filter(
    (bit) => flags & bit,
  );
  const fixedEnd = offset + ID_BYTES * optional.length;
  if (kind === undefined || flags > ALL_FLAGS || count > MAX_TOKEN_ROLES) return undefined;
  const session = flags & FLAG.session ? sessionAt(body, fixedEnd) : undefined;
  const length = session === undefined ? fixedEnd : fixedEnd + 2 + session.length;
  if (body.length !== length || (flags & FLAG.session && session === undefined)) return undefined;
  const take = (flag: number): string | undefined => {
    if (!(flags & flag)) return undefined;
    offset += ID_BYTES;
    return idFromBytes(body.subarray(offset - ID_BYTES, offset));
  };
  const issuedMs = body.readUIntBE(41, 6);
  return {
    userId: idFromBytes(body.subarray(9, 25)),
    scope: scopeOf(kind, idFromBytes(body.subarray(25, 41))),
    methods: METHODS.filter((_, bit) => body.readUInt16BE(6) & (1 << bit)),
    issuedMs,
    expiresMs: issuedMs + body.readUInt32BE(47),
    revision: body.readUIntBE(51, 6),
    auditId: body.toString('hex', 57, 73),
    roles: Array.from({ length: count }, (_, i) => body.readUInt16BE(FIXED_BYTES + 2 * i)),
    chainId: take(FLAG.chain),
    applicationCredentialId: take(FLAG.applicationCredential),
    trustId: take(FLAG.trust),
    ...(session && { session }),
  };
}

function sessionAt(body: Buffer, offset: number): Buffer | undefined {
  if (body.length < offset + 2) return undefined;
  const end = offset + 2 + body.readUInt16BE(offset);
  return end === body.length ? body.subarray(offset + 2) : undefined;
}

function scopeOf(kind: (typeof SCOPE_KINDS)[number], id: string): Scope {
  return kind === 'project' || kind === 'domain' ? { kind, id } : { kind };
}

export function signatureMatches(token: DecodedToken, publicKey: KeyObject): boolean {
  const signed = Buffer.concat([DOMAIN_SEPARATION, token.body]);
  return verify(null, signed, publicKey, token.signature);
}
