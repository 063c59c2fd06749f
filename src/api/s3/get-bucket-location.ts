/** GetBucketLocation: every bucket is at all sites; clients are told the site they ask. */
import { authorize } from './access.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document } from './xml.ts';

export async function getBucketLocation(request: S3Request): Promise<void> {
  await authorize(request, 's3:GetBucketLocation');
  // Empty means us-east-1, the one region that every client takes without asking again.
  replyXml(request, document('LocationConstraint', ''));
}
