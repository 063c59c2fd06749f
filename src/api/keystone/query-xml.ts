/** What AWS's query services (STS, IAM) answer: their XML, and errors in it by one table each. */
import type { Context } from 'hono';
import { codeOf, messageOf } from '#base/errors.ts';
import type { KeystoneApi } from './api.ts';

export interface QueryService {
  readonly namespace: string;
  /** Status and S3-like code by ours; what is missing is 500. */
  readonly errors: Readonly<Record<string, readonly [number, string]>>;
  /** For the log. */
  readonly name: string;
}

export function element(name: string, content: string): string {
  return `<${name}>${content}</${name}>`;
}

/** An element of plain text; nothing when there is none. */
export function leaf(name: string, text: string | number | boolean | undefined): string {
  return text === undefined ? '' : element(name, escapeXml(String(text)));
}

export function escapeXml(text: string): string {
  return text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** `result` undefined: the action answers nothing but that it was done. */
export function answer(
  api: KeystoneApi,
  c: Context,
  service: QueryService,
  { action, result }: { readonly action: string; readonly result?: string },
): Response {
  const wrapped = result === undefined ? '' : element(`${action}Result`, result);
  const metadata = element('ResponseMetadata', element('RequestId', requestId(api)));
  c.header('Content-Type', 'text/xml');
  return c.body(
    `<${action}Response xmlns="${service.namespace}">${wrapped}${metadata}</${action}Response>`,
  );
}

export function failure(
  api: KeystoneApi,
  c: Context,
  service: QueryService,
  error: unknown,
): Response {
  const [status, code] = service.errors[codeOf(error)] ?? [500, 'InternalFailure'];
  if (status === 500)
    api.deps.log.error(`${service.name}.request-failed`, { error: messageOf(error) });
  const message = status >= 500 ? 'Please try again later.' : messageOf(error);
  c.header('Content-Type', 'text/xml');
  if (status === 503) c.header('Retry-After', '2');
  const told = element(
    'Error',
    leaf('Type', status >= 500 ? 'Receiver' : 'Sender') +
      leaf('Code', code) +
      leaf('Message', message),
  );
  const body = told + element('RequestId', requestId(api));
  return c.body(
    `<ErrorResponse xmlns="${service.namespace}">${body}</ErrorResponse>`,
    status as 400,
  );
}

export function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

function requestId(api: KeystoneApi): string {
  return api.identity.context.env.random.bytes(16).toString('hex');
}
