/** ListMultipartUploads: by key, uploads of one key in the order in which they were begun. */
import type { ListedObject } from '#proxy/contract.ts';
import {
  afterUploads,
  parseUploadName,
  partsContainer,
  startOf,
  UPLOADS,
  uploadName,
} from '#proxy/multipart/names.ts';
import { type UploadRow, uploadOfRow } from '#proxy/multipart/rows.ts';
import { RowCursor } from '#proxy/row-cursor.ts';
import { authorize } from './access.ts';
import { initiatorXml, ownerXml } from './acl-xml.ts';
import type { Bucket } from './bucket.ts';
import { commonPrefixXml, type ListParameters, listParameters, shown } from './listing.ts';
import { replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { STANDARD } from './storage-class.ts';
import { document, element, IsoDates, leaf } from './xml.ts';

interface ListedUpload extends UploadRow {
  readonly key: string;
  readonly uploadId: string;
  readonly startedMicros: number;
}

type Item = ListedUpload | { readonly prefix: string };

interface UploadPage {
  readonly items: readonly Item[];
  readonly truncated: boolean;
}

export async function listMultipartUploads(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:ListBucketMultipartUploads');
  const { query } = request;
  const parameters = listParameters(request, 'max-uploads');
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '');
  const page = await listUploads(request, bucket, parameters, { keyMarker, idMarker });
  const { encoded, limit } = parameters;
  const last = page.truncated ? page.items.at(-1) : undefined;
  const nextKey = last === undefined ? undefined : 'prefix' in last ? last.prefix : last.key;
  const nextId = last === undefined || 'prefix' in last ? undefined : last.uploadId;
  const prefixes = page.items.map((item) =>
    'prefix' in item ? commonPrefixXml(item.prefix, encoded) : '',
  );
  replyXml(
    request,
    document(
      'ListMultipartUploadsResult',
      leaf('Bucket', bucket.container) +
        leaf('KeyMarker', shown(keyMarker, encoded)) +
        leaf('UploadIdMarker', idMarker) +
        leaf('NextKeyMarker', nextKey === undefined ? undefined : shown(nextKey, encoded)) +
        leaf('NextUploadIdMarker', nextId) +
        leaf('Prefix', shown(parameters.prefix, encoded)) +
        leaf(
          'Delimiter',
          parameters.delimiter === '' ? undefined : shown(parameters.delimiter, encoded),
        ) +
        leaf('EncodingType', encoded ? 'url' : undefined) +
        leaf('MaxUploads', limit) +
        leaf('IsTruncated', page.truncated) +
        uploadsXml(request, bucket, page.items, encoded) +
        prefixes.join(''),
    ),
  );
}

function uploadsXml(
  request: S3Request,
  bucket: Bucket,
  items: readonly Item[],
  encoded: boolean,
): string {
  const dates = new IsoDates();
  const owner = ownerXml(request, bucket.account);
  const uploads = items.map((item) =>
    'prefix' in item
      ? ''
      : element(
          'Upload',
          leaf('Key', shown(item.key, encoded)) +
            leaf('UploadId', item.uploadId) +
            initiatorXml(request, bucket.account, item.initiator) +
            owner +
            leaf('StorageClass', STANDARD) +
            leaf('Initiated', dates.format(item.startedMicros)) +
            leaf('ChecksumAlgorithm', item.algorithm?.toUpperCase()) +
            leaf('ChecksumType', item.checksumType),
        ),
  );
  return uploads.join('');
}

/**
 * The roll-up is done here: the store's own would look for the delimiter in upload ids too. Behind a
 * common prefix the walk goes on after all of its names.
 */
async function listUploads(
  request: S3Request,
  bucket: Bucket,
  { prefix, delimiter, limit }: ListParameters,
  from: { readonly keyMarker: string; readonly idMarker: string },
): Promise<UploadPage> {
  const items: Item[] = [];
  if (limit === 0) return { items, truncated: false };
  const { store } = request.service;
  const rows = new RowCursor(store, request, partsContainer(bucket), UPLOADS + prefix, limit + 1);
  const marker = markerOf(bucket, from);
  if (marker !== undefined) rows.seek(marker);
  for (let row = await rows.head(); row !== undefined; row = await rows.head()) {
    const name = parseUploadName(row.name);
    const rolled = name && rolledUp(name.key, prefix, delimiter);
    // A page that begins inside of a common prefix has told it already.
    const isTold =
      name === undefined || (rolled !== undefined && from.keyMarker.startsWith(rolled));
    if (!isTold && items.length === limit) return { items, truncated: true };
    if (!isTold) items.push(rolled === undefined ? uploadOf(name, row) : { prefix: rolled });
    if (rolled === undefined) rows.next();
    else rows.leap(`${UPLOADS}${rolled}\u{10ffff}`);
  }
  return { items, truncated: false };
}

function uploadOf(
  name: { readonly key: string; readonly uploadId: string },
  row: ListedObject,
): ListedUpload {
  const startedMicros = startOf(name.uploadId) ?? row.clientMicros;
  return { ...name, ...uploadOfRow(row), startedMicros };
}

/** The common prefix that stands for the key; undefined: itself does. */
function rolledUp(key: string, prefix: string, delimiter: string): string | undefined {
  const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** Without an id: after all uploads of that key; with one: after that upload. */
function markerOf(
  bucket: Bucket,
  { keyMarker, idMarker }: { readonly keyMarker: string; readonly idMarker: string },
): string | undefined {
  if (keyMarker === '') return undefined;
  if (idMarker === '') return afterUploads(keyMarker);
  return uploadName(bucket, keyMarker, idMarker).object;
}
