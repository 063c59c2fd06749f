/**
 * GetBucketRequestPayment and Put...: who pays. There are no bills here; what remains of it is what others
 * must say: that they know that they pay (`x-amz-request-payer: requester`), and who they are.
 */
import { authorize } from './access.ts';
import type { Bucket } from './bucket.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { PAYMENT_HEADER, REQUESTER } from './payer.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';
import { onlyChildren, readXml, requiredText } from './xml-reader.ts';

const OWNER = 'BucketOwner';

export async function getRequestPayment(request: S3Request): Promise<void> {
  const { info }: Bucket = await authorize(request, 's3:GetBucketRequestPayment');
  const payer = leaf('Payer', info.headers[PAYMENT_HEADER] ?? OWNER);
  replyXml(request, document('RequestPaymentConfiguration', payer));
}

export async function putRequestPayment(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketRequestPayment');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const root = readXml(body, 'RequestPaymentConfiguration');
  onlyChildren(root, ['Payer']);
  const payer = requiredText(root, 'Payer').trim();
  if (payer !== OWNER && payer !== REQUESTER) throw refuse('MalformedXML');
  await configure(request, bucket, { [PAYMENT_HEADER]: payer === REQUESTER ? payer : null });
  replyEmpty(request, 200);
}
