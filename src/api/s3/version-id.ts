/** versionId: which version of an object a request is about, and what the answer says of versions. */
import type { EntryState } from '#base/entry.ts';
import type { VersionedName } from '#proxy/contract.ts';
import { NULL_VERSION, parseVersionId } from '#proxy/versions/names.ts';
import { mayBeTold } from './absence.ts';
import { absenceOf } from './absent-object.ts';
import type { Bucket } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

export { NULL_VERSION };

/** Undefined: the current one. @throws S3Error InvalidArgument */
export function versionId(request: S3Request): string | undefined {
  const id = request.query.get('versionId');
  if (id !== undefined) checkVersionId(id);
  return id;
}

/** @throws S3Error InvalidArgument for what is no id that this store could have given */
export function checkVersionId(id: string): void {
  if (id === NULL_VERSION || parseVersionId(id) !== undefined) return;
  throw refuse('InvalidArgument', 'Invalid version id specified', {
    ArgumentName: 'versionId',
    ArgumentValue: id,
  });
}

/** A delete marker is found as a version, but there is nothing in it to be read or changed. */
export function isMarker(state: EntryState | undefined): boolean {
  return state?.data?.deleteMarker === true;
}

/** What to answer where there is no such object, or version of it, or a delete marker in its place. */
export async function notFound(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
): Promise<S3Error> {
  return await mayBeTold(request, bucket, await absenceOf(request, bucket, name));
}
