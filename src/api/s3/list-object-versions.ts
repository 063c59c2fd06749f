/** ListObjectVersions: in a bucket without versions every object is its own null version. */
import { authorize } from './access.ts';
import { ownerIdOf } from './acl.ts';
import { refuse } from './errors.ts';
import {
  commonPrefixXml,
  echoXml,
  listPage,
  listParameters,
  markerBehindPrefix,
  shown,
} from './listing.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { STANDARD } from './storage-class.ts';
import { NULL_VERSION } from './version-id.ts';
import { document, element, IsoDates, leaf } from './xml.ts';

export async function listObjectVersions(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucketVersions');
  const { query } = request;
  const parameters = listParameters(request);
  const keyMarker = query.get('key-marker');
  const versionMarker = query.get('version-id-marker');
  if (versionMarker !== undefined && versionMarker !== '' && !keyMarker) {
    throw refuse(
      'InvalidArgument',
      'A version-id marker cannot be specified without a key marker.',
    );
  }
  const after = markerBehindPrefix(keyMarker, parameters);
  const page = await listPage(request, bucket, parameters, after);
  const { encoded, limit } = parameters;
  const dates = new IsoDates();
  const owner = element('Owner', leaf('ID', ownerIdOf(bucket.account)));
  const items = page.items.map((item) =>
    'prefix' in item
      ? commonPrefixXml(item.prefix, encoded)
      : element(
          'Version',
          leaf('Key', shown(item.name, encoded)) +
            leaf('VersionId', NULL_VERSION) +
            leaf('IsLatest', true) +
            leaf('LastModified', dates.format(item.clientMicros)) +
            leaf('ETag', `"${item.etag}"`) +
            leaf('Size', item.bytes) +
            owner +
            leaf('StorageClass', STANDARD),
        ),
  );
  const next = page.truncated ? page.last : undefined;
  const nextVersion = next === undefined || isPrefix(page.items.at(-1)) ? undefined : NULL_VERSION;
  replyXml(
    request,
    document(
      'ListVersionsResult',
      leaf('Name', bucket.container) +
        echoXml(parameters) +
        leaf('KeyMarker', shown(keyMarker ?? '', encoded)) +
        leaf('VersionIdMarker', versionMarker ?? '') +
        leaf('MaxKeys', limit) +
        leaf('IsTruncated', page.truncated) +
        leaf('NextKeyMarker', next === undefined ? undefined : shown(next, encoded)) +
        leaf('NextVersionIdMarker', nextVersion) +
        items.join(''),
    ),
  );
}

function isPrefix(item: object | undefined): boolean {
  return item !== undefined && 'prefix' in item;
}
