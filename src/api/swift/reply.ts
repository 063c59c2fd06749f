/**
 * Answers. Headers are one flat list of names and values, which Node writes as it stands. A HEAD
 * never has a body here: Node leaves it out, whatever is passed to `end`.
 */
import { exposedHeaders } from './cors.ts';
import { errorReply, page, refuse, statusLine } from './errors.ts';
import type { SwiftRequest } from './request.ts';

export function writeHead(request: SwiftRequest, status: number, given: string[]): void {
  const headers = request.tempUrl?.shown(status, given) ?? given;
  headers.push('X-Trans-Id', request.txn, 'X-Openstack-Request-Id', request.txn);
  if (request.exposed !== undefined) {
    headers.push('Access-Control-Expose-Headers', exposedHeaders(request.exposed, headers));
  }
  if (request.extraHeaders.length > 0) headers.push(...request.extraHeaders);
  request.response.writeHead(status, REASONS[status], headers);
}

/** Node's phrases differ from Swift's here. */
const REASONS: Readonly<Record<number, string>> = {
  413: statusLine(413).slice(4),
  416: statusLine(416).slice(4),
  499: statusLine(499).slice(4),
  500: statusLine(500).slice(4),
};

/** `headers` without Content-Length; the body's is added. */
export function reply(
  request: SwiftRequest,
  status: number,
  headers: string[],
  body: Uint8Array | string = '',
): void {
  // Always bytes: Node writes a string body together with the headers in the body's encoding, and
  // UTF-8 in the headers would be encoded twice.
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  headers.push('Content-Length', String(bytes.length));
  writeHead(request, status, headers);
  request.finish(bytes.length === 0 ? undefined : bytes);
}

const HTML = 'text/html; charset=UTF-8';

/** 201, 202, 204 ... without a body. */
export function replyEmpty(request: SwiftRequest, status: number, headers: string[] = []): void {
  headers.push('Content-Type', HTML, 'Content-Length', '0');
  writeHead(request, status, headers);
  request.response.end();
}

/** 202 has a page of its own in Swift. */
export function replyAccepted(request: SwiftRequest, headers: string[] = []): void {
  const { contentType, body } = page(202);
  headers.push('Content-Type', contentType);
  reply(request, 202, headers, body);
}

export function replyNotFound(request: SwiftRequest, headers: string[] = []): void {
  const { contentType, body } = page(404);
  headers.push('Content-Type', contentType);
  reply(request, 404, headers, body);
}

/** Nothing is there to read. `If-Match: *` asks just for that: 412, as in Swift. */
export function replyNoObject(request: SwiftRequest): void {
  const wanted = request.header('if-match')?.split(',') ?? [];
  if (wanted.some((tag) => tag.trim() === '*')) throw refuse('precondition-failed');
  replyNotFound(request);
}

export function replyError(request: SwiftRequest, error: unknown): number {
  const { status, contentType, body, headers } = errorReply(error);
  reply(request, status, [...headers, 'Content-Type', contentType], body);
  return status;
}
