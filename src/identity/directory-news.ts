/**
 * The directory as authorities hand it on, for a proxy that does not hear from state: what it would
 * miss are revocations. It travels as the bundle does, asked for with the version that is known.
 *
 *   0   n   the directory's file (directory-file.ts), which has magic, version and checksum
 *   n   64  Ed25519 signature of the cluster's authority over bytes 0 .. n
 */
import { OperatingError } from '#base/errors.ts';
import { readAll } from '#state/mirror.ts';
import type { Revision, State } from '#state/state.ts';
import { encodeDirectory } from './directory-file.ts';
import { PUBLIC } from './records.ts';

const SIGNATURE_BYTES = 64;

/** Undefined: nothing has changed since `above`. */
export async function directoryNews(
  state: State,
  sign: (bytes: Uint8Array) => Uint8Array,
  above: Revision,
): Promise<Buffer | undefined> {
  const { items, revision } = await readAll(state, { prefix: PUBLIC });
  if (revision <= above) return undefined;
  const bytes = encodeDirectory({ revision, items: () => items });
  return Buffer.concat([bytes, sign(bytes)]);
}

/** The directory's file. @throws OperatingError `malformed`, `bad-signature` */
export function openNews(
  news: Buffer,
  verify: (bytes: Uint8Array, signature: Uint8Array) => boolean,
): Buffer {
  const end = news.length - SIGNATURE_BYTES;
  if (end <= 0) throw new OperatingError('malformed', 'these are no news of the directory');
  const bytes = news.subarray(0, end);
  if (!verify(bytes, news.subarray(end)))
    throw new OperatingError(
      'bad-signature',
      "the directory is not signed by this cluster's authority",
    );
  return bytes;
}
