/**
 * The S3 signing keys of a proxy on its disk (mode 0600): a restart during an identity outage forgets
 * none. They are worth little to a thief: each is for one day and region, and ends with its token.
 *
 *   0   8  magic "ANLOS3K1": the last digit is the format version
 *   8   4  CRC-32, big-endian, of everything from 12 on
 *   12     msgpack [[access, day, region, service, signing key, token], ...]
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { S3Key, S3KeyRequest } from '#identity/s3-keys.ts';

export interface StoredS3Key extends S3KeyRequest, S3Key {}

const MAGIC = Buffer.from('ANLOS3K1');
const HEADER_BYTES = 12;
const WRITE_AFTER_MS = 1000;

const contents = z.array(
  z.tuple([z.string(), z.string(), z.string(), z.string(), z.instanceof(Uint8Array), z.string()]),
);

export function encodeS3Keys(keys: Iterable<StoredS3Key>): Buffer {
  // Sessions are short, and would have to be kept with their tokens.
  const lasting = Array.from(keys).filter(({ sessionToken }) => sessionToken === undefined);
  const rows = lasting.map(({ access, day, region, service, signingKey, token }) => [
    ...[access, day, region, service],
    signingKey,
    token,
  ]);
  const body = pack(rows);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32BE(crc32(body), MAGIC.length);
  return Buffer.concat([header, body]);
}

/** @throws OperatingError `malformed` */
export function decodeS3Keys(bytes: Buffer): StoredS3Key[] {
  const body = bytes.subarray(HEADER_BYTES);
  const intact =
    bytes.length > HEADER_BYTES &&
    bytes.subarray(0, MAGIC.length).equals(MAGIC) &&
    bytes.readUInt32BE(MAGIC.length) === crc32(body);
  const parsed = contents.safeParse(intact ? unpack(body) : undefined);
  if (!parsed.success) throw new OperatingError('malformed', 'damaged S3 key file');
  return parsed.data.map(([access, day, region, service, signingKey, token]) => ({
    ...{ access, day, region, service, token },
    signingKey: Buffer.from(signingKey),
  }));
}

export class S3KeyFile {
  readonly #env: Pick<Env, 'clock' | 'disk' | 'log'>;
  readonly #path: string;
  #loaded: StoredS3Key[] = [];
  #keys: (() => Iterable<StoredS3Key>) | undefined;
  #timer: Timer | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(env: Pick<Env, 'clock' | 'disk' | 'log'>, path: string) {
    this.#env = env;
    this.#path = path;
  }

  async read(): Promise<void> {
    try {
      if ((await this.#env.disk.stat(this.#path)) === undefined) return;
      this.#loaded = decodeS3Keys(await this.#env.disk.read(this.#path));
    } catch (error) {
      this.#env.log.warn('s3.key-file-ignored', { path: this.#path, error: messageOf(error) });
    }
  }

  load(): readonly StoredS3Key[] {
    return this.#loaded;
  }

  /** Writes what `keys` then gives, soon. */
  save(keys: () => Iterable<StoredS3Key>): void {
    this.#keys = keys;
    this.#timer ??= this.#env.clock.setTimer(WRITE_AFTER_MS, () => this.#write());
  }

  async close(): Promise<void> {
    if (this.#timer !== undefined) this.#write();
    await this.#writing;
  }

  #write(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const bytes = encodeS3Keys(this.#keys?.() ?? []);
    this.#writing = this.#writing
      .then(() => this.#env.disk.replace(this.#path, bytes, 0o600))
      .catch((error: unknown) => {
        this.#env.log.warn('s3.key-file-not-written', {
          path: this.#path,
          error: messageOf(error),
        });
      });
  }
}
