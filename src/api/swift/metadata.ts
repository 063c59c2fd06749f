/**
 * Headers that become metadata, within Swift's limits. What is not named here never gets in:
 * X-Backend-*, X-Timestamp, sysmeta and other internal headers of a client are not looked at.
 */
import type { HeaderChanges } from '#proxy/contract.ts';
import { byteLength, titleCase, utf8FromLatin1 } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import type { SwiftLimits } from './limits.ts';
import type { SwiftRequest } from './request.ts';

export type Resource = 'account' | 'container' | 'object';

/** Counts and values of all headers; cheap enough for every request. @throws Refusal 400 */
export function checkHeaders(request: SwiftRequest): void {
  const { rawHeaders } = request.incoming;
  const { maxHeaderCount, maxHeaderBytes } = request.service.limits;
  if (rawHeaders.length > 2 * maxHeaderCount) {
    throw refuse('bad-request', `Too many headers; max ${maxHeaderCount}`);
  }
  for (let i = 1; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length > maxHeaderBytes) {
      const name = rawHeaders[i - 1]!.slice(0, request.service.limits.maxMetaNameBytes);
      throw refuse('bad-request', `Header value too long: ${name}`);
    }
  }
}

/** `x-object-meta-*` of a PUT or POST, with full lower-case names. Empty values are kept out. */
export function objectMetadata(request: SwiftRequest): Record<string, string> {
  const found = metaHeaders(request, 'object');
  checkMetadata('object', found, request.service.limits);
  const kept: Record<string, string> = {};
  for (const name in found) {
    if (found[name] !== '') kept[name] = found[name]!;
  }
  return kept;
}

/**
 * What a PUT or POST of an account or container sets (a value) and clears (null): metadata,
 * `X-Remove-*`, and the headers in `settable`. An empty value clears; a value wins over a removal.
 */
export function headerChanges(
  request: SwiftRequest,
  resource: Exclude<Resource, 'object'>,
  settable: readonly string[],
): Record<string, string | null> {
  const changes: Record<string, string | null> = {};
  const removePrefix = `x-remove-${resource}-`;
  for (const name in request.incoming.headers) {
    if (!name.startsWith(removePrefix)) continue;
    const target = `x-${name.slice('x-remove-'.length)}`;
    if (isMeta(target, resource) || settable.includes(target)) changes[target] = null;
  }
  const meta = metaHeaders(request, resource);
  checkMetadata(resource, meta, request.service.limits);
  for (const name in meta) changes[name] = meta[name] === '' ? null : meta[name]!;
  for (const name of settable) {
    const value = request.text(name);
    if (value !== undefined) changes[name] = value === '' ? null : value;
  }
  return changes;
}

/** Limits count for everything that is there afterwards, not for one request's share only. */
export function checkMerged(
  resource: Exclude<Resource, 'object'>,
  current: Readonly<Record<string, string>>,
  changes: HeaderChanges,
  limits: SwiftLimits,
): void {
  const merged: Record<string, string> = {};
  for (const name in current) if (isMeta(name, resource)) merged[name] = current[name]!;
  for (const name in changes) {
    if (!isMeta(name, resource)) continue;
    const value = changes[name];
    if (value === null || value === undefined) delete merged[name];
    else merged[name] = value;
  }
  checkMetadata(resource, merged, limits);
}

export function setsMetadata(changes: HeaderChanges, resource: Resource): boolean {
  return Object.keys(changes).some((name) => isMeta(name, resource) && changes[name] !== null);
}

function isMeta(name: string, resource: Resource): boolean {
  return name.startsWith(`x-${resource}-meta-`);
}

function metaHeaders(request: SwiftRequest, resource: Resource): Record<string, string> {
  const found: Record<string, string> = {};
  const prefix = `x-${resource}-meta-`;
  for (const name in request.incoming.headers) {
    if (!name.startsWith(prefix)) continue;
    const value = utf8FromLatin1(request.header(name) ?? '');
    if (value === undefined) throw refuse('bad-request', 'Metadata must be valid UTF-8');
    found[name] = value;
  }
  return found;
}

/** @throws Refusal 400 with Swift's wording */
export function checkMetadata(
  resource: Resource,
  metadata: Readonly<Record<string, string>>,
  limits: SwiftLimits,
): void {
  const prefix = `x-${resource}-meta-`;
  let count = 0;
  let overall = 0;
  for (const name in metadata) {
    const nameBytes = name.length - prefix.length;
    const valueBytes = byteLength(metadata[name]!);
    if (nameBytes === 0) throw refuse('bad-request', 'Metadata name cannot be empty');
    count += 1;
    overall += nameBytes + valueBytes;
    const shown = titleCase(name);
    if (nameBytes > limits.maxMetaNameBytes) {
      throw refuse('bad-request', `Metadata name too long: ${shown}`);
    }
    if (valueBytes > limits.maxMetaValueBytes) {
      const longest = limits.maxMetaValueBytes;
      throw refuse('bad-request', `Metadata value longer than ${longest}: ${shown}`);
    }
  }
  if (count > limits.maxMetaCount) {
    throw refuse('bad-request', `Too many metadata items; max ${limits.maxMetaCount}`);
  }
  if (overall > limits.maxMetaOverallBytes) {
    throw refuse('bad-request', `Total metadata too large; max ${limits.maxMetaOverallBytes}`);
  }
}
