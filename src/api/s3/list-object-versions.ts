/** ListObjectVersions: in a bucket that keeps no versions every object is its own null version. */
import type { ListedVersion } from '#proxy/versions/contract.ts';
import { NULL_VERSION, parseVersionId } from '#proxy/versions/names.ts';
import { authorize } from './access.ts';
import { ownerXml } from './acl-xml.ts';
import { noSuchBucket } from './bucket.ts';
import { refuse } from './errors.ts';
import {
  ChecksumXml,
  commonPrefixXml,
  echoXml,
  listParameters,
  markerBehindPrefix,
  shown,
} from './listing.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { STANDARD } from './storage-class.ts';
import { document, element, IsoDates, leaf } from './xml.ts';

export async function listObjectVersions(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucketVersions');
  const { query } = request;
  const parameters = listParameters(request);
  const keyMarker = query.get('key-marker');
  const versionMarker = query.get('version-id-marker');
  if (versionMarker !== undefined) checkVersionMarker(versionMarker, keyMarker);
  const { encoded, limit, prefix, delimiter } = parameters;
  const page = await request.service.store.listVersions(request, bucket, {
    limit,
    prefix,
    delimiter,
    keyMarker: markerBehindPrefix(keyMarker, parameters),
    ...(versionMarker !== undefined && { versionMarker }),
  });
  if (page === undefined) throw noSuchBucket(request.bucket);
  const dates = new IsoDates();
  const checksums = new ChecksumXml();
  const owner = ownerXml(request, bucket.account);
  const items = page.items.map((item) =>
    'prefix' in item
      ? commonPrefixXml(item.prefix, encoded)
      : versionXml(item, { encoded, dates, checksums, owner }),
  );
  const truncated = page.truncated && limit > 0;
  const last = truncated ? page.items.at(-1) : undefined;
  const next = last && ('prefix' in last ? { key: last.prefix } : last);
  const nextVersion = last && 'versionId' in last ? last.versionId : undefined;
  replyXml(
    request,
    document(
      'ListVersionsResult',
      leaf('Name', bucket.container) +
        echoXml(parameters) +
        leaf('KeyMarker', shown(keyMarker ?? '', encoded)) +
        leaf('VersionIdMarker', versionMarker ?? '') +
        leaf('MaxKeys', limit) +
        leaf('IsTruncated', truncated) +
        leaf('NextKeyMarker', next === undefined ? undefined : shown(next.key, encoded)) +
        leaf('NextVersionIdMarker', nextVersion) +
        items.join(''),
    ),
  );
}

/** @throws S3Error InvalidArgument */
function checkVersionMarker(marker: string, keyMarker: string | undefined): void {
  const wrong = !keyMarker
    ? 'A version-id marker cannot be specified without a key marker.'
    : marker === ''
      ? 'A version-id marker cannot be empty.'
      : marker === NULL_VERSION || parseVersionId(marker) !== undefined
        ? undefined
        : 'Invalid version id specified';
  if (wrong === undefined) return;
  throw refuse('InvalidArgument', wrong, {
    ArgumentName: 'version-id-marker',
    ArgumentValue: marker,
  });
}

interface Form {
  readonly encoded: boolean;
  readonly dates: IsoDates;
  readonly checksums: ChecksumXml;
  readonly owner: string;
}

function versionXml(
  { key, versionId, isLatest, isMarker, clientMicros, etag, bytes, checksums }: ListedVersion,
  form: Form,
): string {
  const about =
    leaf('Key', shown(key, form.encoded)) +
    leaf('VersionId', versionId) +
    leaf('IsLatest', isLatest) +
    leaf('LastModified', form.dates.format(clientMicros));
  if (isMarker) return element('DeleteMarker', about + form.owner);
  const content =
    leaf('ETag', `"${etag}"`) + form.checksums.of({ checksums }) + leaf('Size', bytes);
  return element('Version', about + content + form.owner + leaf('StorageClass', STANDARD));
}
