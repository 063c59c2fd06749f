/** PutObject. */
import { authorizeWrite, objectName } from './access.ts';
import { noSuchBucket } from './bucket.ts';
import { headerOf } from './checksums.ts';
import { writeCondition } from './conditions.ts';
import { encryptionHeaders, wantedEncryption } from './encryption-headers.ts';
import { expirationHeader } from './lifecycle.ts';
import { lockGroups } from './lock-headers.ts';
import { describedBy } from './object-headers.ts';
import { accessGroups } from './object-ownership.ts';
import { payloadOf } from './payload.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { checkStorageClass } from './storage-class.ts';
import { tagsOfHeader } from './tags.ts';
import { refuseUnsupported } from './unsupported.ts';
import { versionHeaders } from './version-headers.ts';

export async function putObject(request: S3Request): Promise<void> {
  const bucket = await authorizeWrite(request);
  refuseUnsupported(request);
  checkStorageClass(request, bucket);
  const { store, limits } = request.service;
  const condition = writeCondition(request);
  const encryption = wantedEncryption(request);
  const described = describedBy(request);
  const groups = {
    ...tagsOfHeader(request),
    ...accessGroups(request, bucket),
    ...(await lockGroups(request, bucket)),
  };
  const payload = await payloadOf(request, limits.maxPutBytes);
  const { expectedMd5 } = payload;
  const result = await store.putObject(request, objectName(bucket, request.key), {
    ...described,
    body: payload.body,
    length: payload.length,
    maxLength: limits.maxPutBytes,
    groups,
    ...(encryption !== undefined && { encryption }),
    finish: () => ({ checksums: { [payload.algorithm]: payload.checksum() } }),
    ...(request.expectsContinue && { onReady: () => request.sendContinue() }),
    ...(expectedMd5 !== undefined && { expectedEtag: expectedMd5 }),
    ...(condition !== undefined && { condition }),
  });
  if (result.kind === 'no-container') throw noSuchBucket(request.bucket);
  if (result.kind === 'precondition-failed') throw condition!.failure();
  replyEmpty(request, 200, [
    ...['ETag', `"${result.etag}"`, ...versionHeaders(result.versionId)],
    ...[headerOf(payload.algorithm), payload.checksum(), 'x-amz-checksum-type', 'FULL_OBJECT'],
    ...expirationHeader(request, bucket, { ...result, tags: groups.tags }),
    ...encryptionHeaders(request, result.encryption),
  ]);
}
