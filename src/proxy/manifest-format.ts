/**
 * Objects made of other objects: one internal form for Swift's static and dynamic large objects and
 * for S3's multipart uploads. A manifest's body is JSON (a person with a disk in hand can read it):
 *
 *   {"anello-manifest": 1, "kind": "static", "parts": [
 *     {"path": "/AUTH_x/segments/1", "etag": "...", "size": 1048576, "range": [0, 4096], "nested": true}]}
 *
 * `size` is the part's whole size; `range` [start, end) selects from it; `nested`: the part is a
 * static manifest itself. Version 2 (written only where it is needed, so that everything else stays
 * readable for older programs) adds parts whose bytes stand in the manifest itself:
 *
 *   {"data": "aGVsbG8=", "etag": "...", "size": 5}
 *
 * A dynamic manifest has no parts in its body: it stands for what a listing
 * of a prefix shows when it is opened.
 *
 * Parts are pinned by their etag: a part that changed or went away breaks the download off
 * (`manifest-part`), it never mixes versions.
 */
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { ObjectReader } from './contract.ts';

const MANIFEST_VERSION = 2;
/** The first version that knows parts with bytes of their own. */
const VERSION_WITH_DATA = 2;
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
export const MAX_PARTS = 100_000;
/** Static manifests within static manifests, as in Swift. */
export const MAX_MANIFEST_DEPTH = 10;

export interface ManifestPart {
  /** `/account/container/object`; empty where `data` is given. */
  readonly path: string;
  /** The bytes themselves, base64. */
  readonly data?: string;
  /** The part's etag when the manifest was made. */
  readonly etag: string;
  /** Bytes of the whole part as shown to clients. */
  readonly size: number;
  /** [start, end) of it; absent: all of it. */
  readonly range?: readonly [start: number, end: number];
  /** The part is a static manifest itself: its content counts, not its bytes. */
  readonly nested?: boolean;
  /** Carried for `multipart-manifest=get`. */
  readonly contentType?: string;
  readonly clientMicros?: number;
}

export interface Manifest {
  readonly kind: 'static' | 'multipart';
  readonly parts: readonly ManifestPart[];
}

export function encodeManifest(manifest: Manifest): Buffer {
  const { kind, parts } = manifest;
  const hasData = parts.some((part) => part.data !== undefined);
  const version = hasData ? VERSION_WITH_DATA : 1;
  const written = parts.map(({ path, ...part }) =>
    part.data === undefined ? { path, ...part } : part,
  );
  return Buffer.from(JSON.stringify({ 'anello-manifest': version, kind, parts: written }));
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeManifest(bytes: Uint8Array): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new OperatingError('malformed', 'the manifest is not JSON', {}, { cause });
  }
  if (!isRecord(value)) throw malformed('not an object');
  const version = value['anello-manifest'];
  if (typeof version !== 'number') throw malformed('no version');
  if (version > MANIFEST_VERSION) {
    throw new OperatingError('newer-format', 'manifest of a newer version', { version });
  }
  const { kind, parts } = value;
  if (kind !== 'static' && kind !== 'multipart') throw malformed('kind');
  if (!Array.isArray(parts) || parts.length > MAX_PARTS) throw malformed('parts');
  const decode = version < VERSION_WITH_DATA ? decodePart : decodeAnyPart;
  return { kind, parts: parts.map(decode) };
}

function decodeAnyPart(value: unknown): ManifestPart {
  if (!isRecord(value) || value['data'] === undefined) return decodePart(value);
  const { data, etag, size } = value;
  if (typeof data !== 'string' || typeof etag !== 'string') throw malformed('data or etag');
  if (Buffer.byteLength(data, 'base64') !== size) throw malformed('data or size');
  return { path: '', data, etag, size };
}

function decodePart(value: unknown): ManifestPart {
  if (!isRecord(value)) throw malformed('part');
  const { path, etag, size, range, nested, contentType, clientMicros } = value;
  if (typeof path !== 'string' || parsePath(path) === undefined) throw malformed('path');
  if (typeof etag !== 'string' || !isLength(size)) throw malformed('etag or size');
  const part: { -readonly [K in keyof ManifestPart]: ManifestPart[K] } = { path, etag, size };
  if (range !== undefined) part.range = decodeRange(range, size);
  if (nested === true) part.nested = true;
  if (typeof contentType === 'string') part.contentType = contentType;
  if (isLength(clientMicros)) part.clientMicros = clientMicros;
  return part;
}

function decodeRange(value: unknown, size: number): readonly [number, number] {
  const [start, end] = Array.isArray(value) ? (value as unknown[]) : [];
  if (!isLength(start) || !isLength(end) || start > end || end > size) throw malformed('range');
  return [start, end];
}

/** Reads and checks the body of a static or multipart manifest. */
export async function readManifest(reader: ObjectReader): Promise<Manifest> {
  if (reader.length > MAX_MANIFEST_BYTES) throw malformed('the manifest is too long');
  if (reader.inline !== undefined) return decodeManifest(reader.inline);
  const chunks: Buffer[] = [];
  for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
  return decodeManifest(Buffer.concat(chunks));
}

export function partLength(part: ManifestPart): number {
  return part.range === undefined ? part.size : part.range[1] - part.range[0];
}

export function manifestLength(parts: readonly ManifestPart[]): number {
  return parts.reduce((sum, part) => sum + partLength(part), 0);
}

/** `/account/container/object`; undefined where it has another form. */
export function parsePath(path: string): ObjectName | undefined {
  const match = /^\/([^/]+)\/([^/]+)\/(.+)$/s.exec(path);
  if (match === null) return undefined;
  return { account: match[1]!, container: match[2]!, object: match[3]! };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isLength(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed manifest: ${what}`);
}
