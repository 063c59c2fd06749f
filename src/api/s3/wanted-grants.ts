/** The ACL that a PUT of one sets: canned, by headers, or as a document. */
import { type Grant, grantsOfHeaders, grantsOfXml } from './acl.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import type { S3Request } from './request.ts';
import { readXml } from './xml-reader.ts';

/** @throws S3Error MissingSecurityHeader where there is none */
export async function grantsOfRequest(request: S3Request, ownerId: string): Promise<Grant[]> {
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const given = grantsOfHeaders(request, ownerId);
  if (body.length === 0) {
    if (given !== undefined) return given;
    throw refuse('MissingSecurityHeader', 'Your request was missing a required header', {
      MissingHeaderName: 'x-amz-acl',
    });
  }
  if (given !== undefined) {
    throw refuse('UnexpectedContent', 'This request does not support content');
  }
  return grantsOfXml(readXml(body, 'AccessControlPolicy'), ownerId);
}
