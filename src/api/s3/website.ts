/** GetBucketWebsite, PutBucketWebsite, DeleteBucketWebsite. What is shown: website-endpoint.ts. */
import { authorize } from './access.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { encodeWebsite, WEBSITE_HEADER } from './website-rules.ts';
import { websiteOfXml, websiteXml } from './website-xml.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

export async function getBucketWebsite(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetBucketWebsite');
  const text = info.headers[WEBSITE_HEADER];
  if (text === undefined) {
    throw refuse('NoSuchWebsiteConfiguration', undefined, { BucketName: request.bucket });
  }
  const website = request.service.websites.of(text);
  replyXml(request, document('WebsiteConfiguration', websiteXml(website)));
}

export async function putBucketWebsite(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketWebsite');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const website = websiteOfXml(readXml(body, 'WebsiteConfiguration'));
  await configure(request, bucket, { [WEBSITE_HEADER]: encodeWebsite(website) });
  replyEmpty(request, 200);
}

export async function deleteBucketWebsite(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:DeleteBucketWebsite');
  await configure(request, bucket, { [WEBSITE_HEADER]: null });
  replyEmpty(request, 204);
}
