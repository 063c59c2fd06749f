/**
 * A bucket as a website: `BUCKET.WEBSITE-DOMAIN` (`--s3-website-domain`). Whoever asks is anybody, whatever
 * he signs; folders show their index document, errors are pages for people, and rules lead elsewhere.
 *
 * Asked in this order: everything elsewhere; rules about keys; the object, or where it says it has gone;
 * the folder of that name; rules about the error; the error document; a page of our own.
 */
import { ANONYMOUS } from '#auth/caller.ts';
import { codeOf } from '#base/errors.ts';
import { pour } from '../http/outflow.ts';
import { latin1FromUtf8 } from '../http/utf8.ts';
import { escapeXml } from '../http/xml.ts';
import { mayBeTold } from './absence.ts';
import { accessTo, isAllowed, objectName } from './access.ts';
import { type Bucket, findBucket, noSuchKey } from './bucket.ts';
import { type Content, contentOf } from './content.ts';
import { type ErrorAnswer, errorAnswer, refuse } from './errors.ts';
import { REDIRECT_HEADER } from './object-headers.ts';
import { reply, writeHead } from './reply.ts';
import type { S3Request } from './request.ts';
import { answeredByCondition, headersOf, sendContent } from './send-content.ts';
import {
  type Redirection,
  type RoutingRule,
  replacedKey,
  ruleFor,
  WEBSITE_HEADER,
  type Website,
} from './website-rules.ts';

export async function serveWebsite(request: S3Request): Promise<void> {
  request.caller = ANONYMOUS;
  request.label = 's3.Website';
  try {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw refuse('MethodNotAllowed', undefined, { Method: request.method });
    }
    const bucket = await findBucket(request);
    await serve(request, bucket, websiteOf(request, bucket));
  } catch (error) {
    if (request.response.headersSent || codeOf(error) === 'client-gone') throw error;
    const answer = errorAnswer(error);
    if (answer.status >= 500) throw error;
    replyPage(request, answer);
  }
}

function websiteOf({ service }: S3Request, { container, info }: Bucket): Website {
  const text = info.headers[WEBSITE_HEADER];
  if (text !== undefined) return service.websites.of(text);
  throw refuse('NoSuchWebsiteConfiguration', undefined, { BucketName: container });
}

async function serve(request: S3Request, bucket: Bucket, website: Website): Promise<void> {
  const { all, index = '' } = website;
  if (all !== undefined) return redirect(request, 301, locationOf(request, all, request.key));
  const rule = ruleFor(website, request.key, undefined);
  if (rule !== undefined) return redirectBy(request, rule);
  const isFolder = request.key === '' || request.key.endsWith('/');
  const key = isFolder ? request.key + index : request.key;
  let content: Content;
  try {
    content = await pageOf(request, bucket, key);
  } catch (error) {
    return await otherwise(request, bucket, website, error, isFolder);
  }
  const elsewhere = content.state.groups['system']?.values[REDIRECT_HEADER];
  if (elsewhere !== undefined) return redirect(request, 301, latin1FromUtf8(elsewhere));
  if (answeredByCondition(request, content)) return;
  if (request.method === 'HEAD') return sendPage(request, content, 200);
  await sendContent(request, content);
}

/** @throws S3Error AccessDenied, NoSuchKey */
async function pageOf(request: S3Request, bucket: Bucket, key: string): Promise<Content> {
  const access = await accessTo(request, bucket, 's3:GetObject', key);
  if (access === 'absent') throw await mayBeTold(request, bucket, noSuchKey(key));
  if (access !== 'allowed') throw refuse('AccessDenied');
  const name = objectName(bucket, key);
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined) throw await mayBeTold(request, bucket, noSuchKey(key));
  return await contentOf(request, bucket, name, reader);
}

/** The page can't be shown. */
async function otherwise(
  request: S3Request,
  bucket: Bucket,
  website: Website,
  error: unknown,
  isFolder: boolean,
): Promise<void> {
  const answer = errorAnswer(error);
  if (answer.status >= 500 || codeOf(error) === 'client-gone') throw error;
  const { index = '' } = website;
  if (!isFolder && (await isThere(request, bucket, `${request.key}/${index}`))) {
    return redirect(request, 302, `/${encodedKey(request.key)}/`);
  }
  const rule = ruleFor(website, request.key, answer.status);
  if (rule !== undefined) return redirectBy(request, rule);
  if (website.error === undefined) throw error;
  let page: Content;
  try {
    page = await pageOf(request, bucket, website.error);
  } catch (failure) {
    replyPage(request, answer, errorAnswer(failure));
    return;
  }
  await sendPage(request, page, answer.status);
}

async function isThere(request: S3Request, bucket: Bucket, key: string): Promise<boolean> {
  if (!(await isAllowed(request, bucket, 's3:GetObject', key))) return false;
  return (await request.service.store.statObject(request, objectName(bucket, key))) !== undefined;
}

/** All of it, under another status than GetObject's. */
async function sendPage(request: S3Request, content: Content, status: number): Promise<void> {
  const { length, inline } = content;
  const headers = [...headersOf(request, content), 'Content-Length', String(length)];
  if (request.method === 'HEAD' || inline !== undefined || length === 0) {
    writeHead(request, status, headers);
    return request.finish(inline);
  }
  await pour(request, content.read(0, length), length, () => writeHead(request, status, headers));
}

function redirectBy(request: S3Request, rule: RoutingRule): void {
  const key = replacedKey(rule, request.key);
  redirect(request, rule.code ?? 301, locationOf(request, rule, key));
}

function redirect(request: S3Request, status: number, location: string): void {
  writeHead(request, status, ['Location', location, 'Content-Length', '0']);
  request.response.end();
}

function locationOf(request: S3Request, { host, protocol }: Redirection, key: string): string {
  const own = request.origin.isSecure ? 'https' : 'http';
  return `${protocol ?? own}://${host ?? request.header('host') ?? ''}/${encodedKey(key)}`;
}

function encodedKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/');
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  412: 'Precondition Failed',
  416: 'Requested Range Not Satisfiable',
};

/** `page`: why the error document could not be shown. */
function replyPage(request: S3Request, answer: ErrorAnswer, page?: ErrorAnswer): void {
  request.errorCode = answer.code;
  const title = `${answer.status} ${TITLES[answer.status] ?? answer.code}`;
  const more =
    page === undefined
      ? ''
      : `<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>${factsOf(page)}`;
  const ids = { RequestId: request.txn, HostId: request.txn };
  const html = `<html>\n<head><title>${title}</title></head>\n<body>\n<h1>${title}</h1>\n${factsOf(answer, ids)}${more}<hr/>\n</body>\n</html>\n`;
  const headers = [
    ...answer.headers,
    ...['x-amz-error-code', answer.code, 'x-amz-error-message', answer.message],
    ...['Content-Type', 'text/html; charset=utf-8'],
  ];
  reply(request, answer.status, headers, html);
}

function factsOf(
  { code, message, fields }: ErrorAnswer,
  ids: Readonly<Record<string, string>> = {},
): string {
  const facts = Object.entries({ Code: code, Message: message, ...fields, ...ids });
  const items = facts.map(([name, value]) => `<li>${name}: ${escapeXml(value)}</li>\n`);
  return `<ul>\n${items.join('')}</ul>\n`;
}
