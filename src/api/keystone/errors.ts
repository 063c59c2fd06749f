/** The one table from error codes to what Keystone's clients expect. */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';

const RETRY_AFTER_SECONDS = 2;

const STATUS: Readonly<Record<string, ContentfulStatusCode>> = {
  'bad-request': 400,
  'bad-acl': 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  'method-not-allowed': 405,
  conflict: 409,
  'too-large': 413,
  'too-many-attempts': 429,
  'state-limit': 400,
  busy: 503,
  'state-unavailable': 503,
};

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Request Entity Too Large',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

export function errorResponse(c: Context, error: unknown, log: Log, identityUrl: string): Response {
  const status = statusOf(error);
  if (status >= 500) {
    const facts = { path: c.req.path, code: codeOf(error), error: messageOf(error) };
    log[status === 500 ? 'error' : 'warn']('keystone.request-failed', facts);
  }
  c.header('Vary', 'X-Auth-Token');
  if (status === 401) c.header('WWW-Authenticate', `Keystone uri="${identityUrl}"`);
  if (status === 429 || status === 503) c.header('Retry-After', String(retryAfter(error)));
  return c.json(
    { error: { code: status, message: publicMessage(error, status), title: TITLES[status] } },
    status,
  );
}

function statusOf(error: unknown): ContentfulStatusCode {
  if (error instanceof HTTPException) return error.status as ContentfulStatusCode;
  return STATUS[codeOf(error)] ?? 500;
}

function publicMessage(error: unknown, status: number): string {
  if (status === 500)
    return 'An unexpected error prevented the server from fulfilling your request.';
  if (status === 503) return 'The service is currently unavailable. Please try again later.';
  return messageOf(error);
}

function retryAfter(error: unknown): number {
  const seconds = error instanceof OperatingError ? error.facts['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds : RETRY_AFTER_SECONDS;
}
