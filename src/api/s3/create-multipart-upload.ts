/** CreateMultipartUpload. */

import { authorize } from './access.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { abortHeaders } from './lifecycle.ts';
import { lockGroups } from './lock-headers.ts';
import { describedBy } from './object-headers.ts';
import { accessGroups } from './object-ownership.ts';
import { replyXml } from './reply.ts';
import { checkKey, type S3Request } from './request.ts';
import { checkStorageClass } from './storage-class.ts';
import { tagsOfHeader } from './tags.ts';
import { refuseUnsupported } from './unsupported.ts';
import { checksumOfUpload, uploadsOf } from './upload.ts';
import { encryptionOfUpload } from './upload-encryption.ts';
import { document, leaf } from './xml.ts';

export async function createMultipartUpload(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutObject');
  checkKey(request, request.key);
  refuseUnsupported(request);
  checkStorageClass(request, bucket);
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
