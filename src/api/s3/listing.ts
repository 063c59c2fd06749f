/**
 * What the listings of a bucket share: their parameters, a page from the store, and items in XML. A
 * page of 1,000 is one pass of string building.
 *
 * A common prefix counts as one item and is told once: where a page begins inside of one (by marker),
 * the page goes on behind all of its names.
 */

import type { ListQuery } from '#container/calls.ts';
import type { ListedObject, Page } from '#proxy/contract.ts';
import { type Bucket, noSuchBucket } from './bucket.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';
import { STANDARD } from './storage-class.ts';
import { shownChecksums } from './stored-checksums.ts';
import { element, IsoDates, leaf } from './xml.ts';

export interface ListParameters {
  readonly prefix: string;
  readonly delimiter: string;
  readonly limit: number;
  /** Names are told url-encoded: what XML can't carry gets through. */
  readonly encoded: boolean;
}

export function listParameters(request: S3Request, limitName = 'max-keys'): ListParameters {
  const { query, service } = request;
  const encoding = query.get('encoding-type');
  if (encoding !== undefined && encoding.toLowerCase() !== 'url') {
    throw refuse('InvalidArgument', 'Invalid Encoding Method specified in Request', {
      ArgumentName: 'encoding-type',
      ArgumentValue: encoding,
    });
  }
  for (const name of NAMES) checkLength(request, name);
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    limit: query.count(limitName, service.limits.maxListKeys),
    encoded: encoding !== undefined,
  };
}

/** Parameters that are names of keys, or parts of such. */
const NAMES = ['prefix', 'delimiter', 'marker', 'start-after', 'key-marker'] as const;

function checkLength({ query, service }: S3Request, name: string): void {
  const value = query.get(name) ?? '';
  const most = service.limits.maxKeyBytes;
  if (Buffer.byteLength(value) <= most) return;
  throw refuse('InvalidArgument', `The ${name} is longer than a key may be: ${most} bytes`, {
    ArgumentName: name,
    ArgumentValue: value,
  });
}

export type ObjectItem = ListedObject | { readonly prefix: string };

export interface ObjectPage {
  readonly items: readonly ObjectItem[];
  readonly truncated: boolean;
  /** The last item's name or prefix; undefined for an empty page. */
  readonly last: string | undefined;
}

/** `after`: names (and prefixes) up to and including this one have been told. */
export async function listPage(
  request: S3Request,
  bucket: Bucket,
  { prefix, delimiter, limit }: ListParameters,
  after: string | undefined,
): Promise<ObjectPage> {
  const query: ListQuery = {
    limit,
    ...(prefix !== '' && { prefix }),
    ...(delimiter !== '' && { delimiter }),
    ...(after !== undefined && after !== '' && { marker: after }),
  };
  const page: Page<ListedObject> | undefined = await request.service.store.listObjects(
    request,
    bucket,
    query,
  );
  if (page === undefined) throw noSuchBucket(bucket.container);
  const last = page.items.at(-1);
  // A page of nothing leads nowhere: who follows it would never come to an end.
  const truncated = page.truncated && limit > 0;
  return { ...page, truncated, last: last === undefined ? undefined : nameOf(last) };
}

export function nameOf(item: ObjectItem): string {
  return 'prefix' in item ? item.prefix : item.name;
}

/** A marker inside of a common prefix stands for the whole of it. */
export function markerBehindPrefix(
  marker: string | undefined,
  { prefix, delimiter }: ListParameters,
): string | undefined {
  if (marker === undefined || delimiter === '' || !marker.startsWith(prefix)) return marker;
  const at = marker.indexOf(delimiter, prefix.length);
  return at < 0 ? marker : marker.slice(0, at + delimiter.length);
}

/** In the encoding that was asked for. */
export function shown(text: string, encoded: boolean): string {
  return encoded ? urlEncoded(text) : text;
}

/**
 * As S3 does it, slashes and `*` stay; but blanks are `%20`, which every decoder understands, not the
 * `+` of forms, which not all do.
 */
function urlEncoded(text: string): string {
  return encodeURIComponent(text).replace(RECODED, (found) => RECODING[found]!);
}

const RECODED = /%2F|[!'()~]/g;
const RECODING: Readonly<Record<string, string>> = {
  '%2F': '/',
  '!': '%21',
  "'": '%27',
  '(': '%28',
  ')': '%29',
  '~': '%7E',
};

export function commonPrefixXml(prefix: string, encoded: boolean): string {
  return element('CommonPrefixes', leaf('Prefix', shown(prefix, encoded)));
}

/** `<Contents>` and `<CommonPrefixes>`, in that order. `owner`: in XML. */
export function itemsXml(
  items: readonly ObjectItem[],
  { encoded, owner }: { readonly encoded: boolean; readonly owner: string },
): string {
  const dates = new IsoDates();
  const checksums = new ChecksumXml();
  const rest = `${owner}<StorageClass>${STANDARD}</StorageClass></Contents>`;
  let contents = '';
  let prefixes = '';
  for (const item of items) {
    if ('prefix' in item) {
      prefixes += commonPrefixXml(item.prefix, encoded);
      continue;
    }
    contents +=
      `<Contents>${leaf('Key', shown(item.name, encoded))}` +
      `<LastModified>${dates.format(item.clientMicros)}</LastModified>` +
      `<ETag>&quot;${item.etag}&quot;</ETag>${checksums.of(item)}<Size>${item.bytes}</Size>${rest}`;
  }
  return contents + prefixes;
}

/** Which checksum an object has, where its row tells; HeadObject tells the value. Items of a page share few. */
export class ChecksumXml {
  readonly #known = new Map<ListedObject['checksums'], string>([[undefined, '']]);

  of({ checksums }: Pick<ListedObject, 'checksums'>): string {
    const known = this.#known.get(checksums) ?? made(checksums!);
    this.#known.set(checksums, known);
    return known;
  }
}

function made(checksums: NonNullable<ListedObject['checksums']>): string {
  const { values, type } = shownChecksums({ checksums });
  const algorithms = values.map(([name]) => leaf('ChecksumAlgorithm', name.toUpperCase()));
  return algorithms.join('') + leaf('ChecksumType', type);
}

/** What all of them repeat of the request. */
export function echoXml({ prefix, delimiter, encoded }: ListParameters): string {
  return (
    leaf('Prefix', shown(prefix, encoded)) +
    leaf('Delimiter', delimiter === '' ? undefined : shown(delimiter, encoded)) +
    leaf('EncodingType', encoded ? 'url' : undefined)
  );
}
