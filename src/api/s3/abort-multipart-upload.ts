/** AbortMultipartUpload. */
import { authorize } from './access.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { findUpload, noSuchUpload, uploadsOf } from './upload.ts';

export async function abortMultipartUpload(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:AbortMultipartUpload');
  const upload = await findUpload(request, bucket);
  const outcome = await uploadsOf(request).abort(request, upload);
  if (outcome === 'completed') throw noSuchUpload(upload.uploadId);
  replyEmpty(request, 204);
}
