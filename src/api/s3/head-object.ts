/** HeadObject: GetObject without the bytes. */
import { checkCustomerKey, encryptionOf } from '#proxy/encryption/encryption.ts';
import { manifestKind } from '#proxy/manifest.ts';
import { contentRange } from '../http/ranges.ts';
import { authorize, objectName } from './access.ts';
import type { Bucket } from './bucket.ts';
import { type Content, contentOf } from './content.ts';
import { readWithKey } from './encryption-headers.ts';
import { expirationOf } from './lifecycle.ts';
import { checksumHeaders, dataOf, modifiedSeconds } from './object-headers.ts';
import { partChecksumHeaders } from './part-checksums.ts';
import { wantedPart } from './part-number.ts';
import { writeHead } from './reply.ts';
import type { S3Request } from './request.ts';
import { answeredByCondition, headersOf, wantedSpans } from './send-content.ts';
import { isMarker, notFound, versionId } from './version-id.ts';

export async function headObject(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObject', version);
  readWithKey(request);
  const content = await shownContent(request, bucket, version);
  const part = wantedPart(request, content);
  if (answeredByCondition(request, content)) return;
  const spans = wantedSpans(request, content);
  const span = part?.span ?? (spans?.length === 1 ? spans[0] : undefined);
  const partial = span !== undefined && span.end > span.start;
  const checksums = !partial
    ? checksumHeaders(request, content.state)
    : part === undefined
      ? []
      : await partChecksumHeaders(request, content, part);
  const headers = headersOf(request, content, [
    ...(part?.headers ?? []),
    ...checksums,
    ...expirationOf(request, bucket, content.state),
  ]);
  if (partial) headers.push('Content-Range', contentRange(span, content.length));
  const length = partial ? span.end - span.start : content.length;
  headers.push('Content-Length', String(length));
  writeHead(request, partial ? 206 : 200, headers);
  request.response.end();
}

/** The state alone, where nobody asks for parts: a manifest tells its length and ETag itself. */
async function shownContent(
  request: S3Request,
  bucket: Bucket,
  version: string | undefined,
): Promise<Content> {
  const { store } = request.service;
  const name = objectName(bucket, request.key, version);
  if (request.query.has('partNumber')) {
    const reader = await store.openObject(request, name);
    if (reader === undefined || isMarker(reader.state)) throw await notFound(request, bucket, name);
    return await contentOf(request, bucket, name, reader);
  }
  const state = await store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  checkCustomerKey(encryptionOf(state), request.customerKey);
  if (manifestKind(state) === 'dynamic') {
    const reader = await store.openObject(request, name);
    if (reader !== undefined) return await contentOf(request, bucket, name, reader);
  }
  const { etag, size } = dataOf(state);
  return {
    state,
    etag,
    length: size,
    modifiedSeconds: modifiedSeconds(state),
    read: () => {
      throw new Error('HEAD reads nothing');
    },
  };
}
