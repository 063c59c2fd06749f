/**
 * Secrets at rest: S3 secret keys and private signing keys are kept in state sealed with a master
 * key that is not in state, so a copy of the state store gives none of them away.
 *
 *   0   1  version 1: AES-256-GCM
 *   1   4  id of the master key: the first bytes of its SHA-256
 *   5  12  nonce, random
 *   17  .. ciphertext
 *   -16 16 authentication tag
 *
 * The purpose (the state key of the record) is authenticated with it: a sealed secret copied to
 * another record does not open there.
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { dirname } from 'node:path';
import { assert } from '#base/assert.ts';
import { OperatingError } from '#base/errors.ts';
import type { Disk, Random } from '#env/env.ts';

export const MASTER_KEY_BYTES = 32;
const VERSION = 1;
const HEADER_BYTES = 5;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';
const FILE_PREFIX = 'anello-master-key-1 ';

export interface Vault {
  seal(plain: Uint8Array, purpose: string): Buffer;
  /** @throws OperatingError `cannot-unseal`, `newer-format` */
  open(sealed: Uint8Array, purpose: string): Buffer;
  /** 32 bytes that only holders of the master key can make, for one purpose. */
  derive(purpose: string, data: string): Buffer;
}

export function createVault(random: Random, masterKey: Uint8Array): Vault {
  assert(masterKey.length === MASTER_KEY_BYTES, 'the master key has 32 bytes');
  const key = Buffer.from(masterKey);
  const header = Buffer.concat([
    Buffer.from([VERSION]),
    createHash('sha256').update(key).digest().subarray(0, 4),
  ]);
  const associated = (purpose: string) => Buffer.concat([header, Buffer.from(purpose)]);
  return {
    seal(plain, purpose) {
      const nonce = random.bytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(associated(purpose));
      return Buffer.concat([
        header,
        nonce,
        cipher.update(plain),
        cipher.final(),
        cipher.getAuthTag(),
      ]);
    },
    derive(purpose, data) {
      const subkey = hkdfSync('sha256', key, '', `anello ${purpose}`, MASTER_KEY_BYTES);
      return createHmac('sha256', Buffer.from(subkey)).update(data).digest();
    },
    open(sealed, purpose) {
      const bytes = Buffer.from(sealed);
      checkHeader(bytes, header);
      const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
      const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
        .setAAD(associated(purpose))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        const body = bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES);
        return Buffer.concat([decipher.update(body), decipher.final()]);
      } catch (cause) {
        throw new OperatingError('cannot-unseal', 'a sealed secret is damaged', {}, { cause });
      }
    },
  };
}

function checkHeader(bytes: Buffer, header: Buffer): void {
  if (bytes.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) {
    throw new OperatingError('cannot-unseal', 'a sealed secret is too short');
  }
  if (bytes[0]! > VERSION) {
    throw new OperatingError('newer-format', 'sealed by a newer version', { version: bytes[0] });
  }
  if (!bytes.subarray(0, HEADER_BYTES).equals(header)) {
    throw new OperatingError('cannot-unseal', 'sealed with another master key');
  }
}

/** The key file of a cluster's identity services: mode 0600, made on the first start. */
export async function loadMasterKey(
  env: { readonly disk: Disk; readonly random: Random },
  path: string,
): Promise<Buffer> {
  if ((await env.disk.stat(path)) === undefined) {
    await env.disk.mkdir(dirname(path));
    const text = `${FILE_PREFIX}${env.random.bytes(MASTER_KEY_BYTES).toString('hex')}\n`;
    await env.disk.replace(path, Buffer.from(text), 0o600);
  }
  return parseMasterKey((await env.disk.read(path)).toString('latin1'), path);
}

function parseMasterKey(text: string, path: string): Buffer {
  const hex = text.startsWith(FILE_PREFIX) ? text.slice(FILE_PREFIX.length).trim() : '';
  if (!/^[0-9a-f]{64}$/.test(hex)) {
    throw new OperatingError('bad-master-key', `not a master key file: ${path}`, { path });
  }
  return Buffer.from(hex, 'hex');
}
