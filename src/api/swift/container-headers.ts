/** What PUT and POST of a container may set, and what GET and HEAD of it show. */
import { cleanAcl } from '#auth/acl.ts';
import { messageOf } from '#base/errors.ts';
import type { ContainerInfo, HeaderChanges } from '#proxy/contract.ts';
import { httpDate, lastModifiedSeconds, xTimestamp } from '../http/http-date.ts';
import { byteLength, latin1FromUtf8, titleCase } from '../http/utf8.ts';
import { refuse } from './errors.ts';
import { headerChanges } from './metadata.ts';
import type { SwiftRequest } from './request.ts';
import { versioningHeaders } from './versions.ts';

const ACLS = { 'x-container-read': 'read', 'x-container-write': 'write' } as const;
/** Beside metadata (x-container-meta-*, which CORS and quotas use too). */
const SETTABLE = Object.keys(ACLS);

/** Configurations that only S3 knows. */
const S3_PREFIX = 's3-';

/** Only owners see these. */
const OWNER_ONLY = new Set([
  ...SETTABLE,
  'x-container-sync-key',
  'x-container-sync-to',
  'x-container-meta-temp-url-key',
  'x-container-meta-temp-url-key-2',
]);

/** @throws Refusal 400 for metadata above its limits and for an ACL that means nothing */
export function containerChanges(request: SwiftRequest): HeaderChanges {
  const changes = headerChanges(request, 'container', SETTABLE);
  for (const what of ['bytes', 'count']) {
    const value = changes[`x-container-meta-quota-${what}`];
    if (value == null || /^\d{1,15}$/.test(value)) continue;
    throw refuse('bad-request', `Invalid ${what} quota.`);
  }
  for (const [name, kind] of Object.entries(ACLS)) {
    const value = changes[name];
    if (value === undefined || value === null) continue;
    changes[name] = cleanedAcl(name, kind, value);
  }
  return changes;
}

function cleanedAcl(name: string, kind: 'read' | 'write', value: string): string | null {
  try {
    const cleaned = cleanAcl(kind, value);
    return cleaned === '' ? null : cleaned;
  } catch (error) {
    throw refuse('bad-request', `${titleCase(name)}: ${messageOf(error)}`);
  }
}

export function containerHeaders(request: SwiftRequest, info: ContainerInfo): string[] {
  const headers = [
    'X-Container-Object-Count',
    String(info.objects),
    'X-Container-Bytes-Used',
    String(info.bytes),
    'X-Timestamp',
    xTimestamp(info.clientMicros),
    'Last-Modified',
    httpDate(lastModifiedSeconds(info.clientMicros)),
    'Accept-Ranges',
    'bytes',
    'X-Storage-Policy',
    info.policy.name,
    'X-Anello-Consistency',
    info.mode,
    ...versioningHeaders(info),
  ];
  for (const name in info.headers) {
    if (name.startsWith(S3_PREFIX) || (!request.owner && OWNER_ONLY.has(name))) continue;
    headers.push(titleCase(name), latin1FromUtf8(info.headers[name]!));
  }
  return headers;
}

export function checkContainerName(request: SwiftRequest, container: string): void {
  const limit = request.service.limits.maxContainerNameBytes;
  const length = byteLength(container);
  if (length > limit) {
    throw refuse('bad-request', `Container name length of ${length} longer than ${limit}`);
  }
}
