/**
 * GetBucketAccelerateConfiguration and Put...: kept and told. What acceleration means, a near entrance, every
 * bucket has here: each site's proxies serve all of them.
 */
import { authorize } from './access.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';
import { onlyChildren, readXml, requiredText } from './xml-reader.ts';

const ACCELERATE_HEADER = 's3-accelerate';

export async function getBucketAccelerate(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetAccelerateConfiguration');
  const status = leaf('Status', info.headers[ACCELERATE_HEADER]);
  replyXml(request, document('AccelerateConfiguration', status));
}

export async function putBucketAccelerate(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutAccelerateConfiguration');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'AccelerateConfiguration');
  onlyChildren(root, ['Status']);
  const status = requiredText(root, 'Status').trim();
  if (status !== 'Enabled' && status !== 'Suspended') throw refuse('MalformedXML');
  if (request.bucket.includes('.')) {
    throw refuse(
      'InvalidRequest',
      'S3 Transfer Acceleration is not supported for buckets with periods (.) in their names',
    );
  }
  await configure(request, bucket, { [ACCELERATE_HEADER]: status });
  replyEmpty(request, 200);
}
