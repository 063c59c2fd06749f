/** CreateMultipartUpload. */

import { authorizeWrite, objectName } from './access.ts';
import type { Bucket } from './bucket.ts';
import { writeCondition } from './conditions.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { abortHeaders } from './lifecycle.ts';
import { lockGroups } from './lock-headers.ts';
import { describedBy } from './object-headers.ts';
import { accessGroups } from './object-ownership.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { checkStorageClass } from './storage-class.ts';
import { tagsOfHeader } from './tags.ts';
import { refuseUnsupported } from './unsupported.ts';
import { checksumOfUpload, uploadsOf } from './upload.ts';
import { encryptionOfUpload } from './upload-encryption.ts';
import { isMarker } from './version-id.ts';
import { document, leaf } from './xml.ts';

export async function createMultipartUpload(request: S3Request): Promise<void> {
  const bucket = await authorizeWrite(request);
  refuseUnsupported(request);
  checkStorageClass(request, bucket);
  await checkEarly(request, bucket);
  const { algorithm, type, asked } = checksumOfUpload(request);
  const encryption = encryptionOfUpload(request, bucket);
  const { uploadId, record } = await uploadsOf(request).begin(request, bucket, {
    ...describedBy(request),
    ...(encryption !== undefined && { encryption }),
    key: request.key,
    groups: {
      ...tagsOfHeader(request),
      ...accessGroups(request, bucket),
      ...(await lockGroups(request, bucket)),
    },
    algorithm,
    checksumType: type,
    asked,
    initiator: request.caller.kind === 'user' ? request.caller.userId : '',
  });
  const shown = asked
    ? ['x-amz-checksum-algorithm', algorithm.toUpperCase(), 'x-amz-checksum-type', type]
    : [];
  const content =
    leaf('Bucket', bucket.container) + leaf('Key', request.key) + leaf('UploadId', uploadId);
  replyXml(request, document('InitiateMultipartUploadResult', content), [
    ...shown,
    ...abortHeaders(request, bucket, record.startedMicros),
    ...encryptionHeaders(request, encryption),
  ]);
}

/** A condition counts when the upload is completed; one that fails already saves sending the parts. */
async function checkEarly(request: S3Request, bucket: Bucket): Promise<void> {
  const condition = writeCondition(request);
  if (condition === undefined) return;
  const state = await request.service.store.statObject(request, objectName(bucket, request.key));
  if (!condition.holds(isMarker(state) ? undefined : state)) throw condition.failure();
}
