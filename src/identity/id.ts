/** Ids as Keystone's: 32 hex digits, except the default domain's. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { assert } from '#base/assert.ts';
import type { Random } from '#env/env.ts';

export const DEFAULT_DOMAIN_ID = 'default';
export const ID_BYTES = 16;
const ID = /^[0-9a-f]{32}$/;

export const idSchema = z.string().regex(ID);
export const domainIdSchema = z.union([idSchema, z.literal(DEFAULT_DOMAIN_ID)]);
/** Names may hold anything but control characters; Keystone's limit is 255 (64 for domains). */
export const nameSchema = z
  .string()
  .min(1)
  .max(255)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  .regex(/^[^\x00-\x1f\x7f]*$/);

export function newId(random: Random): string {
  return random.bytes(ID_BYTES).toString('hex');
}

export function isId(text: string): boolean {
  return ID.test(text);
}

/** 16 bytes in a token; the default domain is its name, padded with zeros. */
export function idToBytes(id: string): Buffer {
  if (id !== DEFAULT_DOMAIN_ID) {
    assert(ID.test(id), 'an id has 32 hex digits');
    return Buffer.from(id, 'hex');
  }
  const bytes = Buffer.alloc(ID_BYTES);
  bytes.write(DEFAULT_DOMAIN_ID, 'latin1');
  return bytes;
}

const DEFAULT_HEX = idToBytes(DEFAULT_DOMAIN_ID).toString('hex');

export function idFromBytes(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return hex === DEFAULT_HEX ? DEFAULT_DOMAIN_ID : hex;
}

/** A state key's part for a name: fixed length, and any name goes. */
export function nameHash(scope: string, name: string): string {
  return createHash('sha256').update(`${scope}\0${name}`).digest('hex');
}
