/** GetObjectAcl, PutObjectAcl. */
import { authorize, objectName } from './access.ts';
import { aclXml, decodeGrants, encodeGrants, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { changeGroups } from './change-groups.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { isMarker, notFound, versionHeaders, versionId } from './version-id.ts';
import { grantsOfRequest } from './wanted-grants.ts';
import { document } from './xml.ts';

export async function getObjectAcl(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObjectAcl', version);
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  const stored = state.groups['acl']?.values['grants'];
  const grants = stored === undefined ? undefined : decodeGrants(stored);
  const xml = document('AccessControlPolicy', aclXml(ownerIdOf(bucket.account), grants));
  replyXml(request, xml, versionHeaders(state.data?.versionId));
}

export async function putObjectAcl(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:PutObjectAcl', version);
  const grants = await grantsOfRequest(request, ownerIdOf(bucket.account));
  const groups = { acl: { grants: encodeGrants(checkGrants(request, bucket, grants)) } };
  const name = objectName(bucket, request.key, version);
  replyEmpty(request, 200, await changeGroups(request, bucket, name, groups));
}
