/** GET's answer: conditions first, then all of it, one range, or several as multipart/byteranges. */
import { encryptionOf } from '#proxy/encryption/encryption.ts';
import { pour } from '../http/outflow.ts';
import { contentRange, parseRange, type Span, unsatisfied } from '../http/ranges.ts';
import { checkConditions, preconditionFailed, rangeApplies } from './conditions.ts';
import type { Content } from './content.ts';
import { encryptionHeaders } from './encryption-headers.ts';
import { refuse } from './errors.ts';
import {
  checksumHeaders,
  contentTypeHeader,
  objectHeaders,
  overrides,
  withOverrides,
} from './object-headers.ts';
import { writeHead } from './reply.ts';
import type { S3Request } from './request.ts';

/** True: 304 is out. @throws S3Error 412 */
export function answeredByCondition(request: S3Request, content: Content): boolean {
  const verdict = checkConditions(request, content);
  if (verdict === 'proceed') return false;
  if (verdict === 'failed') throw preconditionFailed(failedCondition(request));
  writeHead(request, 304, objectHeaders(content.state, content.etag));
  request.response.end();
  return true;
}

function failedCondition(request: S3Request): string {
  return request.header('if-match') === undefined ? 'If-Unmodified-Since' : 'If-Match';
}

/** Which ranges are wanted; undefined: all of it. @throws S3Error InvalidRange */
export function wantedSpans(request: S3Request, content: Content): Span[] | undefined {
  const range = request.header('range');
  if (range === undefined || !rangeApplies(request, content)) return undefined;
  const spans = parseRange(range, content.length);
  if (spans === undefined || spans.length > 0) return spans;
  throw refuse(
    'InvalidRange',
    undefined,
    { RangeRequested: range, ActualObjectSize: String(content.length) },
    ['Content-Range', unsatisfied(content.length)],
  );
}

export async function sendContent(
  request: S3Request,
  content: Content,
  more: readonly string[] = [],
): Promise<void> {
  const spans = wantedSpans(request, content);
  if (spans === undefined) return await sendWhole(request, content, more);
  if (spans.length === 1) return await sendSpan(request, content, spans[0]!, more);
  await sendSpans(request, content, spans, more);
}

async function sendWhole(
  request: S3Request,
  content: Content,
  more: readonly string[],
): Promise<void> {
  const headers = headersOf(request, content, [
    ...more,
    ...checksumHeaders(request, content.state),
  ]);
  const { inline, length } = content;
  headers.push('Content-Length', String(length));
  if (inline !== undefined || length === 0) {
    writeHead(request, 200, headers);
    return request.finish(inline);
  }
  await pour(request, content.read(0, length), length, () => writeHead(request, 200, headers));
}

export async function sendSpan(
  request: S3Request,
  content: Content,
  span: Span,
  more: readonly string[],
): Promise<void> {
  const headers = headersOf(request, content, more);
  const length = span.end - span.start;
  headers.push('Content-Range', contentRange(span, content.length));
  headers.push('Content-Length', String(length));
  if (content.inline !== undefined) {
    writeHead(request, 206, headers);
    return request.finish(content.inline.subarray(span.start, span.end));
  }
  const source = content.read(span.start, span.end);
  await pour(request, source, length, () => writeHead(request, 206, headers));
}

async function sendSpans(
  request: S3Request,
  content: Content,
  spans: readonly Span[],
  more: readonly string[],
): Promise<void> {
  const boundary = request.service.env.random.bytes(16).toString('hex');
  const type = contentTypeHeader(content.state);
  const heads = spans.map((span) =>
    Buffer.from(
      `\r\n--${boundary}\r\nContent-Type: ${type}\r\n` +
        `Content-Range: ${contentRange(span, content.length)}\r\n\r\n`,
      'latin1',
    ),
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  let length = tail.length;
  for (const [i, span] of spans.entries()) length += heads[i]!.length + (span.end - span.start);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const [i, span] of spans.entries()) {
      yield heads[i]!;
      yield* bytesOf(content, span);
    }
    yield tail;
  }
  const over = new Map([['content-type', `multipart/byteranges; boundary=${boundary}`]]);
  const headers = withOverrides(headersOf(request, content, more), over);
  headers.push('Content-Length', String(length));
  await pour(request, pieces(), length, () => writeHead(request, 206, headers));
}

export function bytesOf(content: Content, span: Span): AsyncIterable<Uint8Array> {
  const { inline } = content;
  if (inline === undefined) return content.read(span.start, span.end);
  return once(inline.subarray(span.start, span.end));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

export function headersOf(
  request: S3Request,
  content: Content,
  more: readonly string[] = [],
): string[] {
  const headers = objectHeaders(content.state, content.etag);
  headers.push('Content-Type', contentTypeHeader(content.state), ...more);
  headers.push(...encryptionHeaders(request, encryptionOf(content.state)));
  return withOverrides(headers, overrides(request));
}
