/**
 * Listings as text, JSON and XML. Pages of 10,000 are common, so each is one pass of string building;
 * only values that may need it are escaped.
 */
import type { ListedContainer, ListedObject } from '#proxy/contract.ts';
import { ListingDates } from '../http/http-date.ts';
import { escapeXml } from '../http/xml.ts';
import type { ListingType } from './listing-query.ts';
import { isLargeEtag, shownEtag } from './object-headers.ts';
import { reply } from './reply.ts';
import type { SwiftRequest } from './request.ts';

/** One version of an object, in a listing of all (`versions`). */
interface VersionFacts {
  readonly versionId: string;
  readonly isLatest: boolean;
}

export type ObjectItem = (ListedObject & Partial<VersionFacts>) | { readonly prefix: string };
export type ContainerItem = ListedContainer | { readonly prefix: string };

const XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';

export function objectListing(
  type: ListingType,
  container: string,
  items: readonly ObjectItem[],
): string {
  const dates = new ListingDates();
  if (type === 'text/plain') return plainListing(items);
  if (type === 'application/json') {
    return `[${items.map((item) => objectJson(item, dates)).join(', ')}]`;
  }
  const rows = items.map((item) => objectXml(item, dates)).join('');
  return `${XML_HEAD}<container name="${escapeXml(container)}">${rows}</container>`;
}

export function containerListing(
  type: ListingType,
  account: string,
  items: readonly ContainerItem[],
): string {
  const dates = new ListingDates();
  if (type === 'text/plain') return plainListing(items);
  if (type === 'application/json') {
    return `[${items.map((item) => containerJson(item, dates)).join(', ')}]`;
  }
  const rows = items.map((item) => containerXml(item, dates)).join('');
  return `${XML_HEAD}<account name="${escapeXml(account)}">${rows}</account>`;
}

function plainListing(items: readonly ({ name: string } | { prefix: string })[]): string {
  let text = '';
  for (const item of items) text += `${'prefix' in item ? item.prefix : item.name}\n`;
  return text;
}

function objectJson(item: ObjectItem, dates: ListingDates): string {
  if ('prefix' in item) return subdirJson(item.prefix);
  const etag = shownEtag(item.etag);
  const large = isLargeEtag(item.etag) ? `, "slo_etag": "\\"${etag}\\""` : '';
  const version =
    item.versionId === undefined
      ? ''
      : `, "version_id": "${item.versionId}", "is_latest": ${item.isLatest}`;
  return (
    `{"bytes": ${item.bytes}, "hash": ${quoted(etag)}, "name": ${quoted(item.name)}, ` +
    `"content_type": ${quoted(item.contentType)}, ` +
    `"last_modified": "${dates.format(item.clientMicros)}"${large}${version}}`
  );
}

/** Printable ASCII without quotation marks and backslashes: most texts, and a third of the cost. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

function containerJson(item: ContainerItem, dates: ListingDates): string {
  if ('prefix' in item) return subdirJson(item.prefix);
  return (
    `{"name": ${JSON.stringify(item.name)}, "count": ${item.objects}, "bytes": ${item.bytes}, ` +
    `"last_modified": "${dates.format(item.clientMicros)}"}`
  );
}

function subdirJson(prefix: string): string {
  return `{"subdir": ${JSON.stringify(prefix)}}`;
}

function objectXml(item: ObjectItem, dates: ListingDates): string {
  if ('prefix' in item) return subdirXml(item.prefix);
  return (
    `<object><name>${escapeXml(item.name)}</name><hash>${escapeXml(shownEtag(item.etag))}</hash>` +
    `<bytes>${item.bytes}</bytes><content_type>${escapeXml(item.contentType)}</content_type>` +
    `<last_modified>${dates.format(item.clientMicros)}</last_modified>${versionXml(item)}</object>`
  );
}

function versionXml({ versionId, isLatest }: Partial<VersionFacts>): string {
  if (versionId === undefined) return '';
  return `<version_id>${versionId}</version_id><is_latest>${isLatest}</is_latest>`;
}

function containerXml(item: ContainerItem, dates: ListingDates): string {
  if ('prefix' in item) return subdirXml(item.prefix);
  return (
    `<container><name>${escapeXml(item.name)}</name><count>${item.objects}</count>` +
    `<bytes>${item.bytes}</bytes>` +
    `<last_modified>${dates.format(item.clientMicros)}</last_modified></container>`
  );
}

function subdirXml(prefix: string): string {
  const name = escapeXml(prefix);
  return `<subdir name="${name}"><name>${name}</name></subdir>`;
}

/** 204 for a plain listing without a name, as Swift does; else 200. */
export function sendListing(
  request: SwiftRequest,
  type: ListingType,
  headers: string[],
  body: string,
): void {
  headers.push('Content-Type', `${type}; charset=utf-8`);
  reply(request, body === '' ? 204 : 200, headers, body);
}
