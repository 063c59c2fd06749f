/** UploadPart. */
import { authorize } from './access.ts';
import { headerOf } from './checksums.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { payloadOf } from './payload.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { refuseUnsupported } from './unsupported.ts';
import { checkPartAlgorithm, checksumOf, findSlot, partNumberOf, uploadsOf } from './upload.ts';
import { encryptionOfPart } from './upload-encryption.ts';

export async function uploadPart(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutObject');
  const number = partNumberOf(request);
  refuseUnsupported(request);
  const { upload, slot } = await findSlot(request, bucket, number);
  const { maxPartBytes } = request.service.limits;
  const wanted = checksumOf(upload);
  const encryption = encryptionOfPart(request, upload);
  const payload = await payloadOf(request, maxPartBytes, { always: wanted.algorithm });
  checkPartAlgorithm(wanted, payload.asked ? payload.algorithm : undefined);
  const { body, length, expectedMd5, algorithm } = payload;
  const result = await uploadsOf(request).putPart(
    request,
    upload,
    slot,
    {
      body,
      length,
      maxLength: maxPartBytes,
      ...(request.expectsContinue && { onReady: () => request.sendContinue() }),
      ...(expectedMd5 !== undefined && { expectedEtag: expectedMd5 }),
      ...(encryption !== undefined && { encryption }),
    },
    payload.checksums,
  );
  const shown = payload.asked || wanted.asked ? [headerOf(algorithm), payload.checksum()] : [];
  replyEmpty(request, 200, [
    'ETag',
    `"${result.etag}"`,
    ...shown,
    ...encryptionHeaders(request, result.encryption),
  ]);
}
