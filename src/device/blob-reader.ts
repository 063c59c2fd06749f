/** The bytes of a blob that no entry refers to yet, from its beginning; no block that is not verified. */
import type { BlobStore } from './blob-store.ts';
import { BLOCK_BYTES, firstBadBlock } from './blocks.ts';
import { STEP_BYTES } from './body-reader.ts';
import { damaged } from './errors.ts';
import type { BlobReference } from './record-extra.ts';

/** @throws OperatingError `damaged` */
export async function* readBlob(
  blobs: BlobStore,
  reference: BlobReference,
): AsyncGenerator<Buffer> {
  const { name, length } = reference;
  const { blob, release } = await blobs.retain(reference);
  try {
    for (let at = 0; at < length; at += STEP_BYTES) {
      const wanted = Math.min(STEP_BYTES, length - at);
      const bytes = await blob.file.read(at, wanted);
      const bad = firstBadBlock(bytes, at / BLOCK_BYTES, (block) => blob.checksums[block]);
      if (bytes.length !== wanted || bad !== undefined)
        throw damaged('a staged body is damaged', { blob: name, block: bad });
      yield bytes;
    }
  } finally {
    release();
  }
}
