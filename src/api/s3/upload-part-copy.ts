/** UploadPartCopy: a part out of an object's bytes, or a range of them. */
import type { Span } from '../http/ranges.ts';
import { authorize } from './access.ts';
import { elementOf } from './checksums.ts';
import { hashed } from './copy-object.ts';
import { type CopySource, copiedVersion, openCopySource } from './copy-source.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import { replyWhenDone } from './heartbeat.ts';
import type { S3Request } from './request.ts';
import { bytesOf } from './send-content.ts';
import { refuseUnsupported } from './unsupported.ts';
import { checksumOf, findSlot, partNumberOf, uploadsOf } from './upload.ts';
import { encryptionOfPart } from './upload-encryption.ts';
import { document, isoDate, leaf } from './xml.ts';

export async function uploadPartCopy(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutObject');
  const number = partNumberOf(request);
  refuseUnsupported(request);
  const { upload, slot } = await findSlot(request, bucket, number);
  const encryption = encryptionOfPart(request, upload);
  const source = await openCopySource(request);
  const span = copiedSpan(request, source);
  const length = span.end - span.start;
  const { algorithm, asked } = checksumOf(upload);
  const hasher = await request.service.checksums.hasher(algorithm);
  let checksum: string | undefined;
  await replyWhenDone(request, async () => {
    const body = hashed(bytesOf(source.content, span), hasher);
    const part = { body, length, maxLength: length, ...(encryption && { encryption }) };
    const result = await uploadsOf(request).putPart(request, upload, slot, part, () => {
      checksum ??= hasher.digest();
      return { [algorithm]: checksum };
    });
    const content =
      leaf('LastModified', isoDate(Math.floor(result.clientMicros / 1e6) * 1e6)) +
      leaf('ETag', `"${result.etag}"`) +
      leaf(elementOf(algorithm), asked ? checksum : undefined);
    const headers = [...copiedVersion(source), ...encryptionHeaders(request, result.encryption)];
    return { xml: document('CopyPartResult', content), headers };
  });
}

/** @throws S3Error InvalidArgument, InvalidRange, InvalidRequest */
function copiedSpan(request: S3Request, { content }: CopySource): Span {
  const { maxPartBytes } = request.service.limits;
  const range = request.header('x-amz-copy-source-range');
  const span = range === undefined ? { start: 0, end: content.length } : spanOf(range, content);
  if (span.end - span.start <= maxPartBytes) return span;
  throw refuse(
    'InvalidRequest',
    `The specified copy source is larger than the maximum allowable size for a copy source: ${maxPartBytes}`,
  );
}

function spanOf(range: string, content: { readonly length: number }): Span {
  const match = /^bytes=(\d{1,16})-(\d{1,16})$/.exec(range);
  const start = Number(match?.[1]);
  const end = Number(match?.[2]) + 1;
  if (match === null || start >= end) {
    throw refuse(
      'InvalidArgument',
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
      {
        ArgumentName: 'x-amz-copy-source-range',
        ArgumentValue: range,
      },
    );
  }
  if (end > content.length) {
    throw refuse(
      'InvalidArgument',
      `Range specified is not valid for source object of size: ${content.length}`,
      {
        ArgumentName: 'x-amz-copy-source-range',
        ArgumentValue: range,
      },
    );
  }
  return { start, end };
}
