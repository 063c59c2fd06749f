/** HeadBucket. */
import { authorize } from './access.ts';
import { regionHeader } from './bucket-region.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';

export async function headBucket(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucket');
  replyEmpty(request, 200, [
    ...regionHeader(request, bucket),
    ...['x-amz-access-point-alias', 'false', 'Content-Type', 'application/xml'],
  ]);
}
