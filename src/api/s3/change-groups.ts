/** Sets metadata groups of an object or of one of its versions. */
import type { MetadataGroups, VersionedName } from '#proxy/contract.ts';
import type { Bucket } from './bucket.ts';
import type { WriteCondition } from './conditions.ts';
import type { S3Request } from './request.ts';
import { versionHeaders } from './version-headers.ts';
import { notFound } from './version-id.ts';

/** Gives the headers of the answer. @throws S3Error, also `condition`'s own where it does not hold */
export async function changeGroups(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
  groups: MetadataGroups,
  condition?: WriteCondition,
): Promise<string[]> {
  const { store } = request.service;
  const outcome = await store.updateGroups(request, name, groups, condition);
  if (outcome === 'not-found') throw await notFound(request, bucket, name);
  if (outcome === 'precondition-failed') throw condition!.failure();
  return versionHeaders(name.version);
}
