/** HeadBucket. */
import { authorize } from './access.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';

export async function headBucket(request: S3Request): Promise<void> {
  await authorize(request, 's3:ListBucket');
  const headers = [
    'x-amz-bucket-region',
    request.service.region,
    'x-amz-access-point-alias',
    'false',
  ];
  replyEmpty(request, 200, [...headers, 'Content-Type', 'application/xml']);
}
