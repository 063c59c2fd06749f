/** GetObjectTagging, PutObjectTagging, DeleteObjectTagging. */
import { type Action, authorize, objectName } from './access.ts';
import { noSuchKey } from './bucket.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { type Tags, tagSetXml, tagsOfXml } from './tags.ts';
import { versionId } from './version-id.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

export async function getObjectTagging(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetObjectTagging');
  versionId(request);
  const name = objectName(bucket, request.key);
  const state = await request.service.store.statObject(request, name);
  if (state === undefined) throw noSuchKey(request.key);
  replyXml(request, document('Tagging', tagSetXml(state.groups['tags']?.values ?? {})));
}

export async function putObjectTagging(request: S3Request): Promise<void> {
  await change(request, 's3:PutObjectTagging', async () => {
    const { maxDocumentBytes, maxTags } = request.service.limits;
    return tagsOfXml(readXml(await readDocument(request, maxDocumentBytes), 'Tagging'), maxTags);
  });
  replyEmpty(request, 200);
}

export async function deleteObjectTagging(request: S3Request): Promise<void> {
  await change(request, 's3:DeleteObjectTagging', async () => ({}));
  replyEmpty(request, 204);
}

async function change(
  request: S3Request,
  action: Action,
  tags: () => Promise<Tags>,
): Promise<void> {
  const bucket = await authorize(request, action);
  versionId(request);
  const groups = { tags: await tags() };
  const name = objectName(bucket, request.key);
  const outcome = await request.service.store.updateGroups(request, name, groups);
  if (outcome === 'not-found') throw noSuchKey(request.key);
}
