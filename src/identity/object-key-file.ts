/**
 * The object keys that a proxy has seen, as they are in state (sealed with the master key), for the time
 * when state is away or has lost them.
 *
 *   0   8  magic "ANLOKEY1": the last digit is the format version
 *   8   4  CRC-32, big-endian, of everything from 12 on
 *   12     msgpack [[state key, sealed bytes], ...]
 *
 * Replaced as a whole, mode 0600. A damaged file is reported and ignored: state has the keys.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';

const MAGIC = Buffer.from('ANLOKEY1');
const HEADER_BYTES = 12;
const SECRET_MODE = 0o600;

type SealedKeys = ReadonlyMap<string, Buffer>;

const contents = z.array(z.tuple([z.string(), z.instanceof(Uint8Array)]));

export function encodeObjectKeys(keys: SealedKeys): Buffer {
  const body = pack([...keys]);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32BE(crc32(body), MAGIC.length);
  return Buffer.concat([header, body]);
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeObjectKeys(bytes: Buffer): Map<string, Buffer> {
  const magic = bytes.subarray(0, MAGIC.length);
  const isOurs = magic.subarray(0, -1).equals(MAGIC.subarray(0, -1));
  if (isOurs && magic.at(-1)! > MAGIC.at(-1)!)
    throw new OperatingError('newer-format', 'object keys of a newer version');
  const body = bytes.subarray(HEADER_BYTES);
  const intact =
    bytes.length > HEADER_BYTES &&
    magic.equals(MAGIC) &&
    bytes.readUInt32BE(MAGIC.length) === crc32(body);
  const parsed = intact ? contents.safeParse(unpack(body)) : undefined;
  if (parsed?.success !== true)
    throw new OperatingError('malformed', 'damaged file of object keys');
  return new Map(parsed.data.map(([key, value]) => [key, Buffer.from(value)]));
}

export class ObjectKeyFile {
  readonly #env: Pick<Env, 'disk' | 'log'>;
  readonly #path: string;
  #next: SealedKeys | undefined;
  #writing: Promise<void> | undefined;

  constructor(env: Pick<Env, 'disk' | 'log'>, path: string) {
    this.#env = env;
    this.#path = path;
  }

  async load(): Promise<Map<string, Buffer>> {
    const { disk, log } = this.#env;
    try {
      if ((await disk.stat(this.#path)) === undefined) return new Map();
      return decodeObjectKeys(await disk.read(this.#path));
    } catch (error) {
      log.warn('encryption.key-file-ignored', { path: this.#path, reason: messageOf(error) });
      return new Map();
    }
  }

  /** Written soon; the newest call counts. */
  keep(keys: SealedKeys): void {
    this.#next = keys;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  async close(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { disk, log } = this.#env;
    while (this.#next !== undefined) {
      const bytes = encodeObjectKeys(this.#next);
      this.#next = undefined;
      try {
        await disk.replace(this.#path, bytes, SECRET_MODE);
      } catch (error) {
        log.warn('encryption.key-file-not-written', { reason: messageOf(error) });
      }
    }
  }
}
