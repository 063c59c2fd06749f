/** OwnershipControls: with BucketOwnerEnforced, ACLs count for nothing and none may be set. */
import { ACL_HEADER, authorize } from './access.ts';
import { decodeGrants, ownerIdOf } from './acl.ts';
import type { Bucket } from './bucket.ts';
import { OWNERSHIP_HEADER, OWNERSHIPS, ownershipOf } from './bucket-rules.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, leaf } from './xml.ts';
import { child, readXml, requiredText } from './xml-reader.ts';

export async function getOwnershipControls(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketOwnershipControls');
  const ownership = ownershipOf(bucket);
  if (ownership === undefined) {
    throw refuse('OwnershipControlsNotFoundError', undefined, { BucketName: request.bucket });
  }
  replyXml(
    request,
    document('OwnershipControls', element('Rule', leaf('ObjectOwnership', ownership))),
  );
}

export async function putOwnershipControls(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketOwnershipControls');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const rule = child(readXml(body, 'OwnershipControls'), 'Rule');
  if (rule === undefined) throw refuse('MalformedXML');
  const ownership = OWNERSHIPS.find((known) => known === requiredText(rule, 'ObjectOwnership'));
  if (ownership === undefined) throw refuse('MalformedXML');
  if (ownership === 'BucketOwnerEnforced' && isShared(bucket)) {
    throw refuse('InvalidBucketAclWithObjectOwnership');
  }
  await configure(request, bucket, { [OWNERSHIP_HEADER]: ownership });
  replyEmpty(request, 200);
}

export async function deleteOwnershipControls(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketOwnershipControls');
  await configure(request, bucket, { [OWNERSHIP_HEADER]: null });
  replyEmpty(request, 204);
}

/** Its ACL grants something to others: switched off, that would end without a word. */
function isShared({ account, info }: Bucket): boolean {
  const owner = `id:${ownerIdOf(account)}`;
  return decodeGrants(info.headers[ACL_HEADER]).some(({ grantee }) => grantee !== owner);
}
