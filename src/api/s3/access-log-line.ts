/** One line of a server access log; fields in S3's order, `-` for what is not known. */
import { TLSSocket } from 'node:tls';
import type { Bucket } from './bucket.ts';
import type { S3Request } from './request.ts';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const AUTHENTICATION = { header: 'AuthHeader', query: 'QueryString', post: 'PostForm' } as const;

export function lineOf(request: S3Request, { account }: Bucket, elapsedMs: number): string {
  const { signature, response, by, key } = request;
  const tls = request.incoming.socket instanceof TLSSocket ? request.incoming.socket : undefined;
  const fields = [
    account,
    request.bucket,
    `[${timeOf(request.nowMicros - elapsedMs * 1000)}]`,
    by.address || '-',
    by.principal === 'Anonymous' ? '-' : by.principal,
    request.txn,
    operationOf(request),
    key === '' ? '-' : encodeURIComponent(key).replaceAll('%2F', '/'),
    quoted(`${request.method} ${request.target} HTTP/${request.incoming.httpVersion}`),
    response.statusCode,
    request.errorCode ?? '-',
    request.bytesSent || '-',
    request.method === 'PUT' ? request.bytesReceived || '-' : '-',
    Math.round(elapsedMs),
    Math.round(elapsedMs),
    quoted(request.header('referer')),
    quoted(request.header('user-agent')),
    request.query.has('versionId') ? (request.query.get('versionId') ?? '-') : '-',
    request.txn,
    signature === undefined ? '-' : `SigV${signature.version}`,
    tls?.getCipher().standardName ?? '-',
    signature === undefined ? '-' : AUTHENTICATION[signature.form],
    request.header('host') ?? '-',
    tls?.getProtocol() ?? '-',
    '-',
    '-',
  ];
  return `${fields.map(String).map(inOneLine).join(' ')}\n`;
}

/** `06/Feb/2026:00:00:38 +0000` */
function timeOf(micros: number): string {
  const date = new Date(micros / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(date.getUTCDate())}/${MONTHS[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${date.toISOString().slice(11, 19)} +0000`;
}

/** `REST.PUT.OBJECT`, `REST.GET.LIFECYCLE`, `WEBSITE.GET.OBJECT` */
function operationOf(request: S3Request): string {
  const front = request.isWebsite ? 'WEBSITE' : 'REST';
  const copies = request.header('x-amz-copy-source') !== undefined;
  const part = request.query.has('partNumber') && request.query.has('uploadId');
  if (part) return `${front}.${copies ? 'COPY' : request.method}.PART`;
  const [first] = request.query.names();
  const isNamed = first !== undefined && request.query.get(first) === '' && /^[\w-]+$/.test(first);
  const what = isNamed ? first.replaceAll('-', '_').toUpperCase() : undefined;
  const method = copies && what === undefined ? 'COPY' : request.method;
  return `${front}.${method}.${what ?? (request.key === '' ? 'BUCKET' : 'OBJECT')}`;
}

function quoted(text: string | undefined): string {
  return text === undefined ? '"-"' : `"${text.replaceAll('"', '%22')}"`;
}

/** Nobody writes lines of his own into it. */
function inOneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
  return text.replace(/[\x00-\x1f\x7f]/g, '?');
}
