/** GET's answer: conditions first, then all of it, one range, or several as multipart/byteranges. */

import { lastModifiedSeconds } from '../http/http-date.ts';
import { contentRange, parseRange, type Span, unsatisfied } from '../http/ranges.ts';
import { latin1FromUtf8 } from '../http/utf8.ts';
import { checkConditions, rangeApplies, type Validators } from './conditions.ts';
import type { Content } from './content.ts';
import { page } from './errors.ts';
import { type Face, objectHeaders, shownMicros } from './object-headers.ts';
import { reply, writeHead } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { stream } from './send-body.ts';

export function validatorsOf(face: Face): Validators {
  return { etag: face.etag, lastModified: lastModifiedSeconds(shownMicros(face.state)) };
}

/**
 * True: a condition of the request did not hold and the answer is out. 304 and 412 say what the
 * object is now, so that a cache can go on with it.
 */
export function answeredByCondition(request: SwiftRequest, face: Face): boolean {
  const verdict = checkConditions(request, validatorsOf(face));
  if (verdict === 'proceed') return false;
  const headers = objectHeaders(face);
  if (verdict === 'not-modified') {
    writeHead(request, 304, headers);
    request.response.end();
  } else {
    headers.push('Content-Type', page(412).contentType);
    reply(request, 412, headers);
  }
  return true;
}

export async function sendContent(request: SwiftRequest, content: Content): Promise<void> {
  const { face } = content;
  if (answeredByCondition(request, face)) return;
  const spans = rangeApplies(request, validatorsOf(face))
    ? requestedSpans(request, face.length)
    : undefined;
  if (spans === undefined) return await sendWhole(request, content);
  if (spans.length === 0) return sendUnsatisfiable(request, face);
  if (spans.length === 1) return await sendSpan(request, content, spans[0]!);
  return await sendSpans(request, content, spans);
}

/** As Swift reads the header: spaces anywhere in it mean nothing. */
export function requestedSpans(request: SwiftRequest, length: number): Span[] | undefined {
  return parseRange(request.header('range')?.replaceAll(' ', ''), length);
}

async function sendWhole(request: SwiftRequest, content: Content): Promise<void> {
  const { face, inline } = content;
  const headers = headersOf(content);
  headers.push('Content-Type', latin1FromUtf8(face.contentType));
  if (inline === undefined && face.length > 0) {
    return await stream(request, 200, headers, content.read(0, face.length), face.length);
  }
  headers.push('Content-Length', String(face.length));
  writeHead(request, 200, headers);
  request.finish(inline);
}

export async function sendSpan(
  request: SwiftRequest,
  content: Content,
  span: Span,
  more: readonly string[] = [],
): Promise<void> {
  const { face, inline } = content;
  const headers = headersOf(content);
  headers.push('Content-Type', latin1FromUtf8(face.contentType));
  headers.push('Content-Range', contentRange(span, face.length), ...more);
  const length = span.end - span.start;
  if (inline !== undefined) {
    headers.push('Content-Length', String(length));
    writeHead(request, 206, headers);
    return request.finish(inline.subarray(span.start, span.end));
  }
  await stream(request, 206, headers, content.read(span.start, span.end), length);
}

async function sendSpans(
  request: SwiftRequest,
  content: Content,
  spans: readonly Span[],
): Promise<void> {
  const { face } = content;
  const boundary = request.service.env.random.bytes(16).toString('hex');
  const type = latin1FromUtf8(face.contentType);
  const heads = spans.map((span) =>
    Buffer.from(
      `--${boundary}\r\nContent-Type: ${type}\r\n` +
        `Content-Range: ${contentRange(span, face.length)}\r\n\r\n`,
      'latin1',
    ),
  );
  const lineEnd = Buffer.from('\r\n');
  const tail = Buffer.from(`--${boundary}--`);
  let length = tail.length;
  for (const [i, span] of spans.entries()) {
    length += heads[i]!.length + (span.end - span.start) + lineEnd.length;
  }
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const [i, span] of spans.entries()) {
      yield heads[i]!;
      yield* bytesOf(content, span);
      yield lineEnd;
    }
    yield tail;
  }
  const headers = headersOf(content);
  headers.push('Content-Type', `multipart/byteranges;boundary=${boundary}`);
  await stream(request, 206, headers, pieces(), length);
}

export function bytesOf(content: Content, span: Span): AsyncIterable<Uint8Array> {
  const { inline } = content;
  if (inline === undefined) return content.read(span.start, span.end);
  return once(inline.subarray(span.start, span.end));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

export function sendUnsatisfiable(request: SwiftRequest, face: Face): void {
  const { contentType, body } = page(416);
  const headers = objectHeaders(face);
  headers.push('Content-Range', unsatisfied(face.length), 'Content-Type', contentType);
  reply(request, 416, headers, body);
}

function headersOf(content: Content): string[] {
  const headers = objectHeaders(content.face);
  if (content.degraded) headers.push('X-Anello-Read', 'degraded');
  return headers;
}
