/** What every way of writing an object shares: PUT of bytes, of a manifest, and copies. */
import { both, type Condition, IF_ABSENT } from '#proxy/condition.ts';
import type { PutRequest, PutResult } from '#proxy/contract.ts';
import { httpDate, lastModifiedSeconds } from '../http/http-date.ts';
import { EMPTY_BODY, RequestBody } from '../http/request-body.ts';
import { byteLength } from '../http/utf8.ts';
import { etagMatches, unquote } from './conditions.ts';
import { givenContentType, guessContentType } from './content-type.ts';
import { refuse } from './errors.ts';
import { deleteAt } from './expiry.ts';
import { objectMetadata } from './metadata.ts';
import { DYNAMIC_HEADER, shownEtag, systemHeaders } from './object-headers.ts';
import { replyEmpty } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { versionHeaders } from './versions.ts';

export type UploadFacts = Omit<PutRequest, 'body' | 'length' | 'maxLength'>;

/** Everything that the headers say about the object. @throws Refusal 400, 412 */
export function uploadFacts(request: SwiftRequest): UploadFacts {
  const { object } = request.objectName;
  checkObjectName(request, object);
  const expires = deleteAt(request);
  const etag = request.header('etag');
  return {
    contentType: givenContentType(request) ?? guessContentType(object),
    user: objectMetadata(request),
    system: { ...systemHeaders(request), ...dynamicHeader(request) },
    ...(expires !== undefined && { deleteAt: expires }),
    ...(etag && { expectedEtag: unquote(etag).toLowerCase() }),
    ...uploadCondition(request),
  };
}

export function checkObjectName(request: SwiftRequest, object: string): void {
  const limit = request.service.limits.maxObjectNameBytes;
  const length = byteLength(object);
  if (length > limit) {
    throw refuse('bad-request', `Object name length of ${length} longer than ${limit}`);
  }
}

/** X-Object-Manifest: `container/prefix`, percent-encoded, kept as it came. */
export function dynamicHeader(request: SwiftRequest): Record<string, string> {
  const value = request.text(DYNAMIC_HEADER);
  if (value === undefined || value === '') return {};
  const trimmed = value.startsWith('/') ? value.slice(1) : value;
  const slash = trimmed.indexOf('/');
  if (slash <= 0 || slash === trimmed.length - 1 || /[?&]/.test(trimmed)) {
    throw refuse('bad-request', 'X-Object-Manifest must be in the format container/prefix');
  }
  return { [DYNAMIC_HEADER]: trimmed };
}

/** Swift's promise: in containers that are not strict it holds against full writes only. */
const ONLY_IF_ABSENT: Condition = { ...IF_ABSENT, weakly: true };

/** Beside that, If-Match: ignored, it would let one client overwrite what another has just written. */
function uploadCondition(request: SwiftRequest): { readonly condition?: Condition } {
  const tags = request.header('if-match');
  const absent = conditionOf(request);
  if (tags === undefined) return absent;
  const matching: Condition = {
    holds: ({ data } = { groups: {} }) =>
      data !== undefined && etagMatches(tags, shownEtag(data.etag)),
    weakly: true,
  };
  return { condition: absent.condition ? both(absent.condition, matching) : matching };
}

/** If-None-Match: `*` is the only condition of its kind. @throws Refusal 400 */
export function conditionOf(request: SwiftRequest): { readonly condition?: Condition } {
  const condition = request.header('if-none-match');
  if (condition === undefined) return {};
  if (condition.trim() !== '*') throw refuse('bad-request', 'If-None-Match only supports *');
  return { condition: ONLY_IF_ABSENT };
}

/**
 * The declared length; undefined for a chunked body.
 * @throws Refusal 411 without either, 413 above the limit, 501 for another transfer coding
 */
export function declaredLength(request: SwiftRequest, limit: number): number | undefined {
  const coding = request.header('transfer-encoding');
  if (coding !== undefined) {
    if (coding.trim().toLowerCase() === 'chunked') return undefined;
    throw refuse('not-implemented', 'Unsupported Transfer-Coding header value');
  }
  const text = request.header('content-length');
  if (text === undefined) throw refuse('length-required');
  const length = Number(text);
  if (!Number.isSafeInteger(length) || length < 0) {
    throw refuse('bad-request', 'Invalid Content-Length header value');
  }
  if (length > limit) throw refuse('body-too-large');
  return length;
}

export function bodyOf(
  request: SwiftRequest,
  length: number | undefined,
  maxBytes: number,
): AsyncIterable<Buffer> {
  if (length === 0) return EMPTY_BODY;
  return new RequestBody(request.incoming, {
    clock: request.service.env.clock,
    timeoutMs: request.service.limits.clientTimeoutMs,
    maxBytes,
    pace: request.pace,
    received: (bytes) => {
      request.bytesReceived += bytes;
    },
  });
}

/** For PutRequest.onReady: `100 Continue`, once, if the client waits for it. */
export function sendContinue(request: SwiftRequest): void {
  if (request.continued || !request.expectsContinue) return;
  request.continued = true;
  request.response.writeContinue();
}

/** @throws Refusal 404, 412 */
export function expectStored(result: PutResult): void {
  if (result.kind === 'no-container') throw refuse('not-found');
  if (result.kind === 'precondition-failed') throw refuse('precondition-failed');
}

/** The answer to any finished write. */
export function replyStored(
  request: SwiftRequest,
  result: PutResult,
  more: readonly string[] = [],
): void {
  expectStored(result);
  const shown = shownEtag(result.etag);
  const headers = [
    'Etag',
    shown === result.etag ? shown : `"${shown}"`,
    'Last-Modified',
    httpDate(lastModifiedSeconds(result.clientMicros)),
    ...versionHeaders(result.versionId),
    ...more,
  ];
  if (result.ack !== undefined) headers.push('X-Anello-Ack', result.ack);
  replyEmpty(request, 201, headers);
}
