/**
 * The bytes of version 1, made once: what was written then must be read for ever. Each file is also
 * tried with every byte changed, and with a newer version.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Directory } from '#identity/directory.ts';
import { decodeDirectory, encodeDirectory } from '#identity/directory-file.ts';
import { USER } from '#identity/records.ts';
import { openSession } from '#identity/session-facts.ts';
import { createVault } from '#identity/vault.ts';
import { decodeS3Keys, encodeS3Keys } from './s3-key-file.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden');
const env = createNodeEnv({ logLevel: 'silent' });
const bytesOf = (file: string): Buffer => readFileSync(path.join(GOLDEN, file));

function everyChange(bytes: Buffer, read: (changed: Buffer) => unknown): void {
  for (let i = 0; i < bytes.length; i++) {
    const changed = Buffer.from(bytes);
    changed[i]! ^= 0x55;
    let code = 'accepted';
    try {
      read(changed);
    } catch (error) {
      code = codeOf(error);
    }
    expect(['malformed', 'newer-format', 'cannot-unseal'], `byte ${i}`).toContain(code);
  }
}

const USER_FIELDS = {
  id: '00112233445566778899aabbccddeeff',
  name: 'Änna',
  domainId: 'default',
  enabled: true,
  description: '',
  email: 'a@example.org',
  extra: '{"colour":"blue"}',
};

describe('golden bytes', () => {
  it('of a record in state', () => {
    const bytes = bytesOf('state-record/v1/user.bin');
    expect(USER.decode(bytes)).toEqual(USER_FIELDS);
    expect(USER.encode(USER_FIELDS)).toEqual(bytes);
    everyChange(bytes, (changed) => USER.decode(changed));
    expect(() => USER.decode(bytesOf('state-record/newer/user.bin'))).toThrow(
      expect.objectContaining({ code: 'newer-format' }),
    );
  });

  it("of a session's facts", () => {
    const facts = {
      groups: ['aa'.repeat(16)],
      role: { id: 'bb'.repeat(16), session: 'night' },
      policy: '{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}',
    };
    const bytes = bytesOf('session-facts/v1/facts.bin');
    expect(openSession(bytes)).toEqual(facts);
    // The token's signature covers them: what is damaged need only open nothing, or end.
    for (let length = 0; length < bytes.length; length++) {
      expect(openSession(bytes.subarray(0, length)), `${length} bytes`).toBeUndefined();
    }
  });

  it("of a proxy's directory", () => {
    const bytes = bytesOf('identity-directory/v1/directory.bin');
    const directory = new Directory(env);
    const { items, revision } = decodeDirectory(bytes);
    directory.onSnapshot(items, revision);
    expect(directory.revision).toBe(4711);
    expect(directory.users.get(USER_FIELDS.id)).toMatchObject({ name: 'Änna', enabled: true });
    expect(encodeDirectory(directory)).toEqual(bytes);
    everyChange(bytes, (changed) => decodeDirectory(changed));
  });

  it("of a proxy's S3 keys", () => {
    const bytes = bytesOf('s3-keys/v1/keys.bin');
    const keys = decodeS3Keys(bytes);
    expect(keys).toEqual([
      {
        ...{ access: 'ACCESSKEY', day: '20260101', region: 'us-east-1', service: 's3' },
        ...{ signingKey: Buffer.alloc(32, 5), token: 'at1_token' },
      },
    ]);
    expect(encodeS3Keys(keys)).toEqual(bytes);
    everyChange(bytes, decodeS3Keys);
  });

  it('of a sealed secret', () => {
    const vault = createVault(env.random, Buffer.alloc(32, 1));
    const bytes = bytesOf('sealed-secret/v1/secret.bin');
    expect(vault.open(bytes, 'purpose').toString()).toBe('a secret');
    everyChange(bytes, (changed) => vault.open(changed, 'purpose'));
  });
});
