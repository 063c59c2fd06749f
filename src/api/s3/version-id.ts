/** versionId: which version of an object a request is about, and what the answer says of versions. */
import type { EntryState } from '#base/entry.ts';
import type { VersionedName } from '#proxy/contract.ts';
import { versioningOf } from '#proxy/versions/contract.ts';
import { NULL_VERSION, parseVersionId } from '#proxy/versions/names.ts';
import { httpDate } from '../http/http-date.ts';
import { mayBeTold } from './absence.ts';
import { type Bucket, noSuchKey } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';

export { NULL_VERSION };

const VERSION_HEADER = 'x-amz-version-id';
const MARKER_HEADER = 'x-amz-delete-marker';

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

/** Of an answer; nothing where the bucket has never kept versions. */
export function versionHeaders(id: string | undefined): string[] {
  return id === undefined ? [] : [VERSION_HEADER, id];
}

/** Of DELETE's answer. */
export function removalHeaders(removal: { versionId?: string; deleteMarker?: boolean }): string[] {
  const marker = removal.deleteMarker ? [MARKER_HEADER, 'true'] : [];
  return [...marker, ...versionHeaders(removal.versionId)];
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

async function absenceOf(
  request: S3Request,
  bucket: Bucket,
  name: VersionedName,
): Promise<S3Error> {
  const { object: key, version } = name;
  const keepsVersions = versioningOf(bucket.info) !== undefined;
  const marker = keepsVersions ? await request.service.store.markerOf(request, name) : undefined;
  if (version === undefined) {
    const headers = marker && removalHeaders({ ...marker, deleteMarker: true });
    return refuse('NoSuchKey', undefined, { Key: key }, headers);
  }
  if (marker === undefined) {
    return version === NULL_VERSION && !keepsVersions
      ? noSuchKey(key)
      : refuse('NoSuchVersion', undefined, { Key: key, VersionId: version });
  }
  return refuse(
    'MethodNotAllowed',
    undefined,
    { Method: request.method, ResourceType: 'DeleteMarker' },
    [
      ...removalHeaders({ ...marker, deleteMarker: true }),
      ...['Allow', 'DELETE', 'Last-Modified', httpDate(Math.floor(marker.clientMicros / 1e6))],
    ],
  );
}
