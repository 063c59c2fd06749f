/**
 * The directory on a proxy's disk, so that it starts, and goes on, without identity and state.
 *
 *   0   8  magic "ANLODIR1": the last digit is the format version
 *   8   4  CRC-32, big-endian, of everything from 12 on
 *   12     msgpack [revision, [[key, modRevision, value], ...]]
 *
 * Replaced as a whole, at most every WRITE_EVERY_MS while changes come. A damaged file is reported
 * and ignored: the watch brings everything again.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { Revision } from '#state/state.ts';
import type { Directory, PublicItem } from './directory.ts';

const MAGIC = Buffer.from('ANLODIR1');
const HEADER_BYTES = 12;
const WRITE_EVERY_MS = 2000;

const contents = z.tuple([
  z.number().int().nonnegative(),
  z.array(z.tuple([z.string(), z.number().int(), z.instanceof(Uint8Array)])),
]);

/** What of a directory is written; also by whoever reads state without keeping one. */
export interface DirectoryContents {
  readonly revision: Revision;
  items(): Iterable<PublicItem>;
}

export function encodeDirectory(directory: DirectoryContents): Buffer {
  const items = [...directory.items()].map(({ key, modRevision, value }) => [
    key,
    modRevision,
    value,
  ]);
  const body = pack([directory.revision, items]);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt32BE(crc32(body), MAGIC.length);
  return Buffer.concat([header, body]);
}

/** @throws OperatingError `malformed` */
export function decodeDirectory(bytes: Buffer): { items: PublicItem[]; revision: Revision } {
  const body = bytes.subarray(HEADER_BYTES);
  const intact =
    bytes.length > HEADER_BYTES &&
    bytes.subarray(0, MAGIC.length).equals(MAGIC) &&
    bytes.readUInt32BE(MAGIC.length) === crc32(body);
  if (!intact) throw new OperatingError('malformed', 'damaged directory file');
  const parsed = contents.safeParse(unpack(body));
  if (!parsed.success) throw new OperatingError('malformed', 'damaged directory file');
  const [revision, items] = parsed.data;
  return {
    items: items.map(([key, modRevision, value]) => ({
      key,
      modRevision,
      value: Buffer.from(value),
    })),
    revision,
  };
}

export class DirectoryFile {
  readonly #env: Pick<Env, 'clock' | 'disk' | 'log'>;
  readonly #path: string;
  readonly #directory: Directory;
  #timer: Timer | undefined;
  #writing: Promise<void> | undefined;
  #written = -1;

  constructor(env: Pick<Env, 'clock' | 'disk' | 'log'>, path: string, directory: Directory) {
    this.#env = env;
    this.#path = path;
    this.#directory = directory;
  }

  /** True when the directory was filled from the file. */
  async load(): Promise<boolean> {
    try {
      if ((await this.#env.disk.stat(this.#path)) === undefined) return false;
      const { items, revision } = decodeDirectory(await this.#env.disk.read(this.#path));
      this.#directory.onSnapshot(items, revision);
      this.#written = this.#directory.generation;
      return true;
    } catch (error) {
      const facts = { path: this.#path, error: messageOf(error) };
      this.#env.log.warn('identity.directory-file-ignored', facts);
      return false;
    }
  }

  /** The directory has changed: write it soon. */
  touch(): void {
    this.#timer ??= this.#env.clock.setTimer(WRITE_EVERY_MS, () => {
      this.#timer = undefined;
      this.#write();
    });
  }

  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#writing;
    this.#write();
    await this.#writing;
  }

  #write(): void {
    if (this.#written === this.#directory.generation) return;
    if (this.#writing !== undefined) {
      this.touch();
      return;
    }
    const { generation } = this.#directory;
    this.#writing = this.#env.disk
      .replace(this.#path, encodeDirectory(this.#directory), 0o600)
      .then(
        () => {
          this.#written = generation;
        },
        (error: unknown) => {
          const facts = { path: this.#path, error: messageOf(error) };
          this.#env.log.warn('identity.directory-file-not-written', facts);
        },
      )
      .finally(() => {
        this.#writing = undefined;
      });
  }
}
