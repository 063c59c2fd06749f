/** versionId: objects have one version, the null version, until their bucket keeps more. */
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export const NULL_VERSION = 'null';

/** Undefined: the current one. @throws S3Error NoSuchVersion, InvalidArgument */
export function versionId(request: S3Request): string | undefined {
  const id = request.query.get('versionId');
  if (id === undefined || id === NULL_VERSION) return id;
  checkVersionId(id, request.key);
  return id;
}

/** @throws S3Error for every id but `null` */
export function checkVersionId(id: string, key: string): void {
  if (id === NULL_VERSION) return;
  if (/^[A-Za-z0-9._-]{1,1024}$/.test(id)) {
    throw refuse('NoSuchVersion', undefined, { Key: key, VersionId: id });
  }
  throw refuse('InvalidArgument', 'Invalid version id specified', {
    ArgumentName: 'versionId',
    ArgumentValue: id,
  });
}
