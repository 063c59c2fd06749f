/**
 * Ed25519 keys from and to their 32 bytes. The DER prefixes are those of RFC 8410; keys are made
 * from a seed of ours, because node's generator would be randomness outside Env.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { assert } from '#base/assert.ts';

export const SEED_BYTES = 32;
export const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

export function privateKeyFromSeed(seed: Uint8Array): KeyObject {
  assert(seed.length === SEED_BYTES, 'an Ed25519 seed has 32 bytes');
  const der = Buffer.concat([ED25519_PKCS8, seed]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

/** The 32 bytes of the public key. */
export function publicBytesOf(privateKey: KeyObject): Buffer {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return der.subarray(ED25519_SPKI.length);
}
