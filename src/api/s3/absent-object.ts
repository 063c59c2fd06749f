/** What is said of an object, or of a version, that is not there, or of a delete marker in its place. */
import type { VersionedName } from '#proxy/contract.ts';
import { versioningOf } from '#proxy/versions/contract.ts';
import { NULL_VERSION } from '#proxy/versions/names.ts';
import { httpDate } from '../http/http-date.ts';
import { type Bucket, noSuchKey } from './bucket.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import { removalHeaders } from './version-headers.ts';

/** To who may know it (absence.ts). */
export async function absenceOf(
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
