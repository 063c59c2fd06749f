/** GetBucketLocation. */
import { authorize } from './access.ts';
import { locationOf } from './bucket-region.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, escaped } from './xml.ts';

export async function getBucketLocation(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketLocation');
  replyXml(request, document('LocationConstraint', escaped(locationOf(bucket))));
}
