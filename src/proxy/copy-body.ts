/** Reads one replica's body to its end, and says what is wrong with it. */
import { createHash } from 'node:crypto';
import { bodyVersion, type DataPart } from '#base/entry.ts';
import type { ReadReply } from '#object/calls.ts';
import type { Caller } from '#wire/contract.ts';
import { failureCode } from './replica-calls.ts';

/** Without progress. */
const DEADLINE_MS = 20_000;
const MD5 = /^[0-9a-f]{32}$/;

/** Undefined: every byte is good. The device compares its block checksums; the etag is compared here. */
export async function verifyBody(
  caller: Caller,
  node: string,
  address: object,
  data: DataPart,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const length = data.body?.length ?? 0;
  if (length === 0) return undefined;
  const args = { ...address, range: [0, length], pin: bodyVersion(data) };
  const options = {
    txn: 'copies',
    deadlineMs: DEADLINE_MS,
    lane: 'bulk' as const,
    ...(signal !== undefined && { signal }),
  };
  try {
    const { result, body } = await caller.call(node, 'object.read', args, options);
    if (!(result as ReadReply).hasBody || body === undefined) return 'its body is another one';
    const md5 = createHash('md5');
    let bytes = 0;
    for await (const piece of body) {
      bytes += piece.length;
      md5.update(piece);
    }
    if (bytes !== length) return `${bytes} bytes instead of ${length}`;
    return isPlain(data) && md5.digest('hex') !== data.etag ? 'not the MD5 of its etag' : undefined;
  } catch (error) {
    return failureCode(error);
  }
}

/** The etag is the MD5 of the bytes as they are stored. */
function isPlain({ manifest, body, etag, size }: DataPart): boolean {
  return (
    manifest === undefined &&
    body?.transform === undefined &&
    size === body?.length &&
    MD5.test(etag)
  );
}
