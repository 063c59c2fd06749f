/** PublicAccessBlock: four switches against sharing by mistake. */
import { authorize } from './access.ts';
import { ACCESS_BLOCK_HEADER, ACCESS_BLOCK_SWITCHES, isBlocked } from './bucket-rules.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';
import { onlyChildren, readXml, textOf } from './xml-reader.ts';

const ROOT = 'PublicAccessBlockConfiguration';
const NAME = 'NoSuchPublicAccessBlockConfiguration';

export async function getPublicAccessBlock(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketPublicAccessBlock');
  if (bucket.info.headers[ACCESS_BLOCK_HEADER] === undefined) {
    throw refuse(NAME, undefined, { BucketName: request.bucket });
  }
  const leaves = ACCESS_BLOCK_SWITCHES.map((name) => leaf(name, isBlocked(bucket, name)));
  replyXml(request, document(ROOT, leaves.join('')));
}

export async function putPublicAccessBlock(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketPublicAccessBlock');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, ROOT);
  onlyChildren(root, ACCESS_BLOCK_SWITCHES);
  const on = ACCESS_BLOCK_SWITCHES.filter((name) => isTrue(textOf(root, name)));
  // `none` keeps the header there when all switches are off.
  await configure(request, bucket, { [ACCESS_BLOCK_HEADER]: on.join(',') || 'none' });
  replyEmpty(request, 200);
}

function isTrue(text: string | undefined): boolean {
  const value = text?.trim().toLowerCase() ?? 'false';
  if (value !== 'true' && value !== 'false') throw refuse('MalformedXML');
  return value === 'true';
}

export async function deletePublicAccessBlock(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketPublicAccessBlock');
  await configure(request, bucket, { [ACCESS_BLOCK_HEADER]: null });
  replyEmpty(request, 204);
}
