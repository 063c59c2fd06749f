/**
 * What a record says of how its body is encrypted: the field `transform` of `BodyPieces`
 * (src/base/entry.ts). Everything that is needed to read the body again but the key that wraps its own.
 *
 *   algorithm   `aes-256-gcm-64k`  the body is segments, each sealed with the object's data key (segments.ts)
 *               `parts`            a manifest: its own bytes are as they are, those of its parts are sealed
 *   keyId       the key that wraps the data key; '' where that is the customer's, and for `parts`
 *   parameters  msgpack [1, kind, name, bucketKey, salt, wrapped, verifier]
 *     kind       0 the store's own key, 1 a named one, 2 the customer's
 *     name       of a named key, as the client gave it
 *     bucketKey  true where the client asked for one (it is shown, nothing more)
 *     salt       16 bytes: of the derivation of the wrapping key, or of the verifier
 *     wrapped    48 bytes: the data key under AES-256-GCM and its tag; nil in `parts`
 *     verifier   16 bytes: by it the customer's key is known again; nil for the other kinds
 *
 * The record's own checksum covers it. A data key is wrapped by a key derived for it alone (HKDF with a
 * salt of its own), so the nonce of the wrap is zero. What is wrapped is bound to kind and key id, not
 * to a path: the store may keep a version of an object under another name than it was written with.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  timingSafeEqual,
} from 'node:crypto';
import { pack, unpack } from '#base/codec.ts';
import type { BodyPieces } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';

export type Transform = NonNullable<BodyPieces['transform']>;

export const SEALED = 'aes-256-gcm-64k';
export const PARTS_SEALED = 'parts';

export const KEY_BYTES = 32;
export const SALT_BYTES = 16;
const VERIFIER_BYTES = 16;
const TAG_BYTES = 16;
const VERSION = 1;
const WRAP = 'aes-256-gcm';
const WRAP_NONCE = Buffer.alloc(12);
const KINDS = ['store', 'named', 'customer'] as const;

/** Whose key it is, as clients are told. */
export type EncryptionFacts =
  | { readonly kind: 'store' }
  | { readonly kind: 'named'; readonly name: string; readonly bucketKey: boolean }
  | { readonly kind: 'customer'; readonly salt: Buffer; readonly verifier: Buffer };

export interface Envelope {
  readonly facts: EncryptionFacts;
  readonly keyId: string;
  /** Absent in a manifest's. */
  readonly sealedKey?: { readonly salt: Buffer; readonly wrapped: Buffer };
}

export function encodeEnvelope({ facts, keyId, sealedKey }: Envelope): Transform {
  const named = facts.kind === 'named' ? facts : { name: '', bucketKey: false };
  const verifier = facts.kind === 'customer' ? facts.verifier : null;
  const salt = sealedKey?.salt ?? (facts.kind === 'customer' ? facts.salt : Buffer.alloc(0));
  const { name, bucketKey } = named;
  const kind = KINDS.indexOf(facts.kind);
  const fields = [VERSION, kind, name, bucketKey, salt, sealedKey?.wrapped ?? null, verifier];
  const algorithm = sealedKey === undefined ? PARTS_SEALED : SEALED;
  return { algorithm, keyId, parameters: pack(fields) };
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeEnvelope({ algorithm, keyId, parameters }: Transform): Envelope {
  const value = parameters === undefined ? undefined : unpack(parameters);
  if (!Array.isArray(value) || typeof value[0] !== 'number') throw malformed('not an envelope');
  if (value[0] > VERSION || (algorithm !== SEALED && algorithm !== PARTS_SEALED)) {
    const facts = { algorithm, version: value[0] };
    throw new OperatingError('newer-format', 'encrypted by a newer version', facts);
  }
  const [, kind, name, bucketKey, salt, wrapped, verifier] = value as unknown[];
  const facts = factsOf(KINDS[kind as number], { name, bucketKey, salt, verifier });
  if (algorithm === PARTS_SEALED) return { facts, keyId };
  const sealedKey = {
    salt: bytesOf(salt, SALT_BYTES, 'salt'),
    wrapped: bytesOf(wrapped, KEY_BYTES + TAG_BYTES, 'wrapped key'),
  };
  return { facts, keyId, sealedKey };
}

function factsOf(
  kind: (typeof KINDS)[number] | undefined,
  fields: Readonly<Record<'name' | 'bucketKey' | 'salt' | 'verifier', unknown>>,
): EncryptionFacts {
  const { name, bucketKey, salt, verifier } = fields;
  switch (kind) {
    case 'store':
      return { kind };
    case 'named':
      if (typeof name !== 'string') throw malformed('name');
      return { kind, name, bucketKey: bucketKey === true };
    case 'customer':
      return {
        kind,
        salt: bytesOf(salt, SALT_BYTES, 'salt'),
        verifier: bytesOf(verifier, VERIFIER_BYTES, 'verifier'),
      };
    default:
      throw malformed('kind');
  }
}

function bytesOf(value: unknown, length: number, what: string): Buffer {
  if (!(value instanceof Uint8Array) || value.length !== length) throw malformed(what);
  return Buffer.from(value);
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `damaged envelope: ${what}`);
}

/** `secret`: the wrapping key's material, or the customer's key. */
export function wrapKey(
  dataKey: Uint8Array,
  secret: Uint8Array,
  salt: Uint8Array,
  context: string,
): Buffer {
  const cipher = createCipheriv(WRAP, derived(secret, salt, 'wrap'), WRAP_NONCE);
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined: another key wrapped it. */
export function unwrapKey(
  { salt, wrapped }: NonNullable<Envelope['sealedKey']>,
  secret: Uint8Array,
  context: string,
): Buffer | undefined {
  const key = derived(secret, salt, 'wrap');
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv(WRAP, key, WRAP_NONCE, options)
    .setAAD(Buffer.from(context))
    .setAuthTag(wrapped.subarray(KEY_BYTES));
  try {
    return Buffer.concat([decipher.update(wrapped.subarray(0, KEY_BYTES)), decipher.final()]);
  } catch {
    return undefined; // the tag is wrong: the one thing that fails here
  }
}

/** What the data key of an object is bound to. */
export function wrapContext({ facts, keyId }: Pick<Envelope, 'facts' | 'keyId'>): string {
  return `anello-object ${VERSION} ${facts.kind} ${keyId}`;
}

/** By it the store knows a customer's key again; it gives nothing of the key away. */
export function verifierOf(customerKey: Uint8Array, salt: Uint8Array): Buffer {
  const key = derived(customerKey, salt, 'verifier');
  return createHmac('sha256', key)
    .update('anello-customer-key')
    .digest()
    .subarray(0, VERIFIER_BYTES);
}

export function isVerified(
  { salt, verifier }: Extract<EncryptionFacts, { kind: 'customer' }>,
  customerKey: Uint8Array,
): boolean {
  return timingSafeEqual(verifierOf(customerKey, salt), verifier);
}

function derived(secret: Uint8Array, salt: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, `anello object ${purpose} 1`, KEY_BYTES));
}
