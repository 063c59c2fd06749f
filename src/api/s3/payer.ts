/** In buckets whose requesters pay, others than their owners must say that they know it. */
import { type Bucket, ownAccount } from './bucket.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export const PAYMENT_HEADER = 's3-request-payment';
export const REQUESTER = 'Requester';

const PAYER = 'x-amz-request-payer';

/** @throws S3Error AccessDenied */
export function checkPayer(request: S3Request, { account, info }: Bucket): void {
  if (info.headers[PAYMENT_HEADER] !== REQUESTER || ownAccount(request) === account) return;
  const said = request.header(PAYER) ?? request.query.get(PAYER);
  if (request.caller.kind !== 'user' || said !== 'requester') throw refuse('AccessDenied');
  if (request.extraHeaders.includes(CHARGED)) return;
  request.extraHeaders.push(CHARGED, 'requester');
}

const CHARGED = 'x-amz-request-charged';
