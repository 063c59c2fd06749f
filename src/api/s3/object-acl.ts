/** GetObjectAcl, PutObjectAcl. */
import { authorize, objectName } from './access.ts';
import { aclXml, decodeGrants, encodeGrants, ownerIdOf } from './acl.ts';
import { checkGrants } from './acl-rules.ts';
import { noSuchKey } from './bucket.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { versionId } from './version-id.ts';
import { grantsOfRequest } from './wanted-grants.ts';
import { document } from './xml.ts';

export async function getObjectAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetObjectAcl');
  versionId(request);
  const state = await request.service.store.statObject(request, objectName(bucket, request.key));
  if (state === undefined) throw noSuchKey(request.key);
  const stored = state.groups['acl']?.values['grants'];
  const grants = stored === undefined ? undefined : decodeGrants(stored);
  replyXml(request, document('AccessControlPolicy', aclXml(ownerIdOf(bucket.account), grants)));
}

export async function putObjectAcl(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutObjectAcl');
  versionId(request);
  const grants = await grantsOfRequest(request, ownerIdOf(bucket.account));
  const groups = { acl: { grants: encodeGrants(checkGrants(request, bucket, grants)) } };
  const name = objectName(bucket, request.key);
  const outcome = await request.service.store.updateGroups(request, name, groups);
  if (outcome === 'not-found') throw noSuchKey(request.key);
  replyEmpty(request, 200);
}
