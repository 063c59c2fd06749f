/** Answers. Headers are one flat list of names and values, which Node writes as it stands. */
import { errorAnswer } from './errors.ts';
import type { S3Request } from './request.ts';
import { leaf, plainDocument } from './xml.ts';

export function writeHead(request: S3Request, status: number, headers: string[]): void {
  headers.push('x-amz-request-id', request.txn, 'x-amz-id-2', request.txn);
  if (request.extraHeaders.length > 0) headers.push(...request.extraHeaders);
  request.response.writeHead(status, headers);
}

/** `headers` without Content-Length; the body's is added. */
export function reply(
  request: S3Request,
  status: number,
  headers: string[],
  body: Uint8Array | string = '',
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  headers.push('Content-Length', String(bytes.length));
  writeHead(request, status, headers);
  request.finish(bytes.length === 0 ? undefined : bytes);
}

export function replyXml(request: S3Request, xml: string, headers: string[] = []): void {
  headers.push('Content-Type', 'application/xml');
  reply(request, 200, headers, xml);
}

/** 200 or 204 without a body. */
export function replyEmpty(request: S3Request, status: number, headers: string[] = []): void {
  if (status !== 204) headers.push('Content-Length', '0');
  writeHead(request, status, headers);
  request.response.end();
}

export function replyError(request: S3Request, error: unknown): number {
  const { code, status, message, fields, headers } = errorAnswer(error);
  request.errorCode = code;
  if (request.method === 'HEAD' || status === 304) {
    writeHead(request, status, [...headers]);
    request.response.end();
    return status;
  }
  const facts = Object.entries(fields).map(([name, value]) => leaf(name, value));
  const body = plainDocument(
    'Error',
    leaf('Code', code) +
      leaf('Message', message) +
      facts.join('') +
      leaf('Resource', request.path) +
      leaf('RequestId', request.txn) +
      leaf('HostId', request.txn),
  );
  reply(request, status, [...headers, 'Content-Type', 'application/xml'], body);
  return status;
}
