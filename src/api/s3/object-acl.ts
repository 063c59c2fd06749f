/** GetObjectAcl, PutObjectAcl. */
import { authorize, objectName } from './access.ts';
import { decodeGrants, encodeGrants } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { aclXml } from './acl-xml.ts';
import { acceptsAcls } from './bucket-rules.ts';
import { changeGroups } from './change-groups.ts';
import { grantsOfRequest } from './given-grants.ts';
import { ownersOf } from './object-ownership.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { versionHeaders } from './version-headers.ts';
import { isMarker, notFound, versionId } from './version-id.ts';
import { document } from './xml.ts';

export async function getObjectAcl(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObjectAcl', version);
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  const stored = acceptsAcls(bucket) ? state.groups['acl']?.values['grants'] : undefined;
  const grants = stored === undefined ? undefined : decodeGrants(stored);
  const xml = aclXml(request, ownersOf(bucket, state).own, grants);
  replyXml(request, document('AccessControlPolicy', xml), versionHeaders(state.data?.versionId));
}

export async function putObjectAcl(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:PutObjectAcl', version);
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  const grants = await grantsOfRequest(request, ownersOf(bucket, state));
  checkGrants(bucket, grants, request.header('x-amz-acl'));
  const groups = { acl: { grants: encodeGrants(grants) } };
  replyEmpty(request, 200, await changeGroups(request, bucket, name, groups));
}
