/** Sets metadata groups of an object or of one of its versions. */
import type { MetadataGroups, VersionedName } from '#proxy/contract.ts';
import { versioningOf } from '#proxy/versions/contract.ts';
import type { Bucket } from './bucket.ts';
import type { WriteCondition } from './conditions.ts';
import type { S3Request } from './request.ts';
import { versionHeaders } from './version-headers.ts';
import { isMarker, notFound } from './version-id.ts';

/** Gives the headers of the answer. @throws S3Error, also `condition`'s own where it does not hold */
export async function changeGroups(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
  groups: MetadataGroups,
  condition?: WriteCondition,
): Promise<string[]> {
  const { store } = request.service;
  const place = await versionNow(request, bucket, name);
  const outcome = await store.updateGroups(request, place, groups, condition);
  if (outcome === 'not-found') throw await notFound(request, bucket, name);
  if (outcome === 'precondition-failed') throw condition!.failure();
  return versionHeaders(place.version);
}

/** Where versions are kept the answer says which one it was, so it is chosen before it is changed. */
async function versionNow(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
): Promise<VersionedName> {
  if (name.version !== undefined || versioningOf(bucket.info) === undefined) return name;
  const state = await request.service.store.statObject(request, name);
  if (state === undefined || isMarker(state)) throw await notFound(request, bucket, name);
  const version = state.data?.versionId;
  return version === undefined ? name : { ...name, version };
}
