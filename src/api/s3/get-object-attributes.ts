/** GetObjectAttributes: ETag, checksums, parts, size and storage class of an object. */
import { partLength } from '#proxy/manifest.ts';
import { httpDate } from '../http/http-date.ts';
import { authorize, checkAccess, objectName } from './access.ts';
import { elementOf } from './checksums.ts';
import { type Content, contentOf } from './content.ts';
import { readWithKey } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import { dataOf } from './object-headers.ts';
import { checksumsOfParts } from './part-checksums.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { answeredByCondition } from './send-content.ts';
import { STANDARD } from './storage-class.ts';
import { shownChecksums } from './stored-checksums.ts';
import { versionHeaders } from './version-headers.ts';
import { isMarker, notFound, versionId } from './version-id.ts';
import { document, element, leaf } from './xml.ts';

const ATTRIBUTES = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const;
type Attribute = (typeof ATTRIBUTES)[number];

export async function getObjectAttributes(request: S3Request): Promise<void> {
  const version = versionId(request);
  const bucket = await authorize(request, 's3:GetObjectAttributes', version);
  await checkAccess(request, bucket, 's3:GetObject', request.key, version);
  readWithKey(request);
  const wanted = wantedAttributes(request);
  const name = objectName(bucket, request.key, version);
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined || isMarker(reader.state)) throw await notFound(request, bucket, name);
  const content = await contentOf(request, bucket, name, reader);
  if (answeredByCondition(request, content)) return;
  const parts = wanted.has('ObjectParts') ? await partsXml(request, content) : '';
  const xml =
    (wanted.has('ETag') ? leaf('ETag', content.etag) : '') +
    (wanted.has('Checksum') ? checksumXml(content) : '') +
    parts +
    (wanted.has('StorageClass') ? leaf('StorageClass', STANDARD) : '') +
    (wanted.has('ObjectSize') ? leaf('ObjectSize', content.length) : '');
  replyXml(request, document('GetObjectAttributesResponse', xml), [
    ...['Last-Modified', httpDate(content.modifiedSeconds)],
    ...versionHeaders(dataOf(content.state).versionId),
  ]);
}

/** @throws S3Error InvalidArgument */
function wantedAttributes(request: S3Request): Set<Attribute> {
  const names = (request.header('x-amz-object-attributes') ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const found = ATTRIBUTES.filter((known) => names.includes(known));
  if (names.length > 0 && found.length === new Set(names).size) return new Set(found);
  throw refuse('InvalidArgument', 'Invalid attribute name specified.', {
    ArgumentName: 'x-amz-object-attributes',
    ArgumentValue: names.join(','),
  });
}

function checksumXml({ state }: Content): string {
  const { values, type } = shownChecksums(dataOf(state));
  if (values.length === 0) return '';
  const leaves = values.map(([algorithm, value]) =>
    leaf(elementOf(algorithm), value.replace(/-\d+$/, '')),
  );
  return element('Checksum', leaves.join('') + leaf('ChecksumType', type));
}

/** Only of objects that were put together of parts. */
async function partsXml(request: S3Request, content: Content): Promise<string> {
  const { parts, state } = content;
  if (parts === undefined) return '';
  const algorithms = shownChecksums(dataOf(state)).values.map(([algorithm]) => algorithm);
  const checksums = await checksumsOfParts(request, content);
  const limit = pageSize(request.header('x-amz-max-parts'), request.service.limits.maxListKeys);
  const marker = pageSize(request.header('x-amz-part-number-marker'), 0x7fff_ffff, 0);
  const page = parts.slice(marker, marker + limit);
  const next = marker + page.length;
  const items = page.map((part, i) => {
    const own = checksums[marker + i] ?? {};
    return element(
      'Part',
      leaf('PartNumber', marker + i + 1) +
        leaf('Size', partLength(part)) +
        algorithms.map((algorithm) => leaf(elementOf(algorithm), own[algorithm])).join(''),
    );
  });
  return element(
    'ObjectParts',
    leaf('PartsCount', parts.length) +
      leaf('PartNumberMarker', marker) +
      leaf('NextPartNumberMarker', next) +
      leaf('MaxParts', limit) +
      leaf('IsTruncated', next < parts.length && limit > 0) +
      items.join(''),
  );
}

function pageSize(text: string | undefined, most: number, absent = most): number {
  if (text === undefined) return absent;
  if (!/^\d{1,10}$/.test(text)) throw refuse('InvalidArgument');
  return Math.min(Number(text), most);
}
