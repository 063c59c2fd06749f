/** AbortMultipartUpload. */
import type { Upload } from '#proxy/multipart/uploads.ts';
import { parseHttpDate } from '../http/http-date.ts';
import { authorize } from './access.ts';
import { preconditionFailed } from './conditions.ts';
import { refuse } from './errors.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { findUpload, noSuchUpload, uploadsOf } from './upload.ts';

export async function abortMultipartUpload(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:AbortMultipartUpload');
  const upload = await findUpload(request, bucket);
  checkStart(request, upload);
  const outcome = await uploadsOf(request).abort(request, upload);
  if (outcome !== 'aborted') throw noSuchUpload(upload.uploadId);
  replyEmpty(request, 204);
}

/** Only an upload that was begun at this second. @throws S3Error InvalidArgument, PreconditionFailed */
function checkStart(request: S3Request, { record }: Upload): void {
  const header = request.header(START_HEADER);
  if (header === undefined) return;
  const seconds = parseHttpDate(header);
  if (seconds === undefined) throw refuse('InvalidArgument');
  if (seconds !== Math.floor(record.startedMicros / 1e6)) throw preconditionFailed(START_HEADER);
}

const START_HEADER = 'x-amz-if-match-initiated-time';
