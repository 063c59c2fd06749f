/**
 * The JSON that clients send and get for static large objects; how the store keeps a manifest is
 * the proxy's (manifest-format.ts).
 *
 *   put, raw   [{"path": "/container/object", "etag": MD5 | null, "size_bytes": N | null,
 *                "range": "first-last"},
 *               {"data": BASE64}]
 *   get        [{"name": "/container/object", "hash": MD5, "bytes": N, "content_type": "...",
 *                "last_modified": "...", "range": "first-last", "sub_slo": true},
 *               {"data": BASE64}]
 */
import { hash } from 'node:crypto';
import type { ManifestPart } from '#proxy/manifest.ts';
import { ListingDates } from '../http/http-date.ts';
import { utf8FromBytes } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import type { SwiftLimits } from './limits.ts';
import { shownEtag } from './object-headers.ts';
import { parseObjectPath } from './target.ts';

/** Bytes that the client gives with the manifest. */
export interface GivenPart {
  readonly bytes: Buffer;
}

/** A part as the client describes it, well formed but not compared with what is stored. */
export interface WantedPart {
  readonly container: string;
  readonly object: string;
  readonly etag: string | undefined;
  readonly size: number | undefined;
  /** As the client wrote it. */
  readonly range: string | undefined;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const KEYS = new Set(['path', 'etag', 'size_bytes', 'range']);

/** @throws Refusal 400 that names every bad entry, 413 for too many */
export function parseManifest(bytes: Uint8Array, limits: SwiftLimits): (WantedPart | GivenPart)[] {
  const list = parseJson(bytes);
  if (!Array.isArray(list)) throw refuse('bad-request', 'Manifest must be a list.\n');
  const objects = list.filter((entry) => !isData(entry)).length;
  if (objects > limits.maxManifestParts) {
    throw refuse('body-too-large', `Number of segments must be <= ${limits.maxManifestParts}`);
  }
  if (list.length === 0) throw refuse('bad-request', 'Manifest must have at least one segment.\n');
  const problems: string[] = [];
  const parts: (WantedPart | GivenPart)[] = [];
  for (const [index, entry] of (list as unknown[]).entries()) {
    const part = isData(entry) ? parseData(entry) : parsePart(entry, limits);
    if (typeof part === 'string') problems.push(`Index ${index}: ${part}\n`);
    else parts.push(part);
  }
  if (objects === 0) {
    problems.push('Inline data segments require at least one object-backed segment.\n');
  }
  if (problems.length > 0) throw refuse('bad-request', problems.join(''));
  return parts;
}

type DataEntry = Readonly<Record<string, unknown>>;

function isData(entry: unknown): entry is DataEntry {
  return typeof entry === 'object' && entry !== null && Object.hasOwn(entry, 'data');
}

/** A text says what is wrong. */
function parseData(entry: DataEntry): GivenPart | string {
  const extraneous = Object.keys(entry).filter((key) => key !== 'data');
  if (extraneous.length > 0) return `extraneous keys ${JSON.stringify(extraneous.join(', '))}`;
  const { data } = entry;
  if (typeof data !== 'string' || !BASE64.test(data)) return 'data must be valid base64';
  const bytes = Buffer.from(data, 'base64');
  return bytes.length > 0 ? { bytes } : 'too small; each segment must be at least 1 byte.';
}

function parseJson(bytes: Uint8Array): unknown {
  const text = utf8FromBytes(bytes);
  try {
    if (text !== undefined) return JSON.parse(text) as unknown;
  } catch {
    // Not JSON: the same answer as for bytes that are not text.
  }
  throw refuse('bad-request', 'Manifest must be valid JSON.\n');
}

/** A text says what is wrong. */
function parsePart(entry: unknown, limits: SwiftLimits): WantedPart | string {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    return 'not a JSON object';
  }
  const fields = entry as Readonly<Record<string, unknown>>;
  const extraneous = Object.keys(fields).filter((key) => !KEYS.has(key));
  if (extraneous.length > 0) return `extraneous keys ${JSON.stringify(extraneous.join(', '))}`;
  const { path, etag, size_bytes: size, range } = fields;
  if (path === undefined) return 'missing key "path"';
  const name = typeof path === 'string' ? parseObjectPath(path) : undefined;
  if (name === undefined || !isName(path as string)) {
    return 'path does not refer to an object. Path must be of the form /container/object.';
  }
  if (!isAbsent(etag) && typeof etag !== 'string') return 'etag must be a string or null';
  const bytes = isAbsent(size) ? undefined : sizeOf(size);
  if (bytes === null) return 'invalid size_bytes';
  if (bytes !== undefined && bytes < limits.minPartBytes) {
    return `too small; each segment must be at least ${limits.minPartBytes} byte.`;
  }
  if (!isAbsent(range) && !isOneRange(range)) return 'invalid range';
  return {
    ...name,
    etag: typeof etag === 'string' ? etag.toLowerCase().replaceAll('"', '') : undefined,
    size: bytes,
    range: typeof range === 'string' ? range.trim() : undefined,
  };
}

/** JSON can say what UTF-8 can't: half of a surrogate pair. */
function isName(path: string): boolean {
  return path.isWellFormed() && !path.includes('\0');
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

/** Null: no size. Clients send numbers and, some of them, text. */
function sizeOf(value: unknown): number | null {
  const size = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
  return Number.isSafeInteger(size) && (size as number) >= 0 ? (size as number) : null;
}

function isOneRange(value: unknown): boolean {
  return typeof value === 'string' && /^\s*(?:\d+-\d*|-\d+)\s*$/.test(value);
}

/** Swift's etag of a static large object: MD5 over its parts' etags, with their ranges. */
export function manifestEtag(parts: readonly ManifestPart[]): string {
  return hash('md5', parts.map((part) => etagTerm(part)).join(''), 'hex');
}

function etagTerm(part: ManifestPart): string {
  const etag = shownEtag(part.etag);
  return part.range === undefined ? etag : `${etag}:${rangeText(part)};`;
}

function rangeText(part: ManifestPart): string | undefined {
  return part.range && `${part.range[0]}-${part.range[1] - 1}`;
}

/** The answer to `multipart-manifest=get`. */
export function shownManifest(parts: readonly ManifestPart[]): Buffer {
  const dates = new ListingDates();
  const entries = parts.map(
    (part) =>
      dataEntry(part) ?? {
        name: pathInAccount(part.path),
        hash: shownEtag(part.etag),
        bytes: part.size,
        content_type: part.contentType ?? 'application/octet-stream',
        last_modified: dates.format(part.clientMicros ?? 0),
        range: rangeText(part),
        sub_slo: part.nested,
      },
  );
  return Buffer.from(JSON.stringify(entries));
}

/** With `format=raw`: what could be put again. */
export function rawManifest(parts: readonly ManifestPart[]): Buffer {
  const entries = parts.map(
    (part) =>
      dataEntry(part) ?? {
        path: pathInAccount(part.path),
        etag: shownEtag(part.etag),
        size_bytes: part.size,
        range: rangeText(part),
      },
  );
  return Buffer.from(JSON.stringify(entries));
}

function dataEntry({ data }: ManifestPart): { readonly data: string } | undefined {
  return data === undefined ? undefined : { data };
}

/** `/container/object` of `/account/container/object`. */
export function pathInAccount(path: string): string {
  return path.slice(path.indexOf('/', 1));
}
