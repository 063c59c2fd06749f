/** GetObjectTagging, PutObjectTagging, DeleteObjectTagging. */
import { type Action, authorize, objectName } from './access.ts';
import { changeGroups } from './change-groups.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { type Tags, tagSetXml, tagsOfXml } from './tags.ts';
import { versionHeaders } from './version-headers.ts';
import { isMarker, notFound, versionId } from './version-id.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

export async function getObjectTagging(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObjectTagging', version);
  const name = objectName(bucket, request.key, version);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  const xml = document('Tagging', tagSetXml(state.groups['tags']?.values ?? {}));
  replyXml(request, xml, versionHeaders(state.data?.versionId));
}

export async function putObjectTagging(request: S3Request): Promise<void> {
  const { maxDocumentBytes, maxTags } = request.service.limits;
  const body = await readDocument(request, maxDocumentBytes);
  // Read first: policies may ask what they are.
  request.givenTags = tagsOfXml(readXml(body, 'Tagging'), maxTags);
  const headers = await change(request, 's3:PutObjectTagging', request.givenTags);
  replyEmpty(request, 200, headers);
}

export async function deleteObjectTagging(request: S3Request): Promise<void> {
  const headers = await change(request, 's3:DeleteObjectTagging', {});
  replyEmpty(request, 204, headers);
}

async function change(request: S3Request, action: Action, tags: Tags): Promise<string[]> {
  const version = versionId(request);
  const bucket = await authorize(request, action, version);
  const name = objectName(bucket, request.key, version);
  return await changeGroups(request, bucket, name, { tags });
}
