/**
 * /v3/s3tokens and /v3/ec2tokens: other services (an S3 gateway, Heat) have a signature checked here and
 * get a token of its owner. Only for callers who are services or administrators: open to everybody,
 * whoever observed one signed request could turn it into a token.
 */
import { createHash, createHmac } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { IssuedToken } from '#identity/log-ins.ts';
import { sameText } from '#identity/s3-keys.ts';
import { isAdmin, isService, type KeystoneApi, notAuthorized, readBody } from './api.ts';
import { freshToken, renderToken } from './tokens.ts';

const s3Schema = z.object({
  credentials: z.object({
    access: z.string().max(128),
    signature: z.string().max(256),
    /** The string to sign, base64 or base64url. */
    token: z.string().max(65_536),
  }),
});

const ec2Credentials = z.object({
  access: z.string().max(128),
  signature: z.string().max(256),
  host: z.string().max(255).default(''),
  verb: z.string().max(16).default('GET'),
  path: z.string().max(2048).default('/'),
  params: z.record(z.string(), z.string()).default({}),
  headers: z.record(z.string(), z.string()).default({}),
  body_hash: z.string().max(128).default(''),
});
const ec2Schema = z.union([
  z.object({ ec2Credentials }).transform((body) => body.ec2Credentials),
  z.object({ credentials: ec2Credentials }).transform((body) => body.credentials),
]);
type Ec2Request = z.output<typeof ec2Credentials>;

export function s3TokenRoutes(api: KeystoneApi): Hono {
  const app = new Hono();

  app.post('/v3/s3tokens', async (c) => {
    mustBeService(api, c);
    const { credentials } = await readBody(c, s3Schema);
    const stringToSign = Buffer.from(credentials.token, 'base64');
    const { access, signature } = credentials;
    return answer(api, c, await api.identity.s3Keys.check(access, stringToSign, signature));
  });

  app.post('/v3/ec2tokens', async (c) => {
    mustBeService(api, c);
    const request = await readBody(c, ec2Schema);
    const issued = await api.identity.s3Keys.checkWith(request.access, (secret) =>
      expectedSignatures(secret, request).some((expected) => sameText(expected, request.signature)),
    );
    return answer(api, c, issued);
  });
  return app;
}

function mustBeService(api: KeystoneApi, c: Context): void {
  const caller = api.caller(c);
  if (!isService(caller) && !isAdmin(caller)) throw notAuthorized();
}

async function answer(
  api: KeystoneApi,
  c: Context,
  issued: IssuedToken | undefined,
): Promise<Response> {
  if (issued === undefined) {
    throw new OperatingError('unauthorized', 'The request you have made requires authentication.');
  }
  c.header('X-Subject-Token', issued.text);
  c.header('Vary', 'X-Auth-Token');
  return c.json({ token: await renderToken(api, c, await freshToken(api, issued.text)) });
}

/** What a right signature would be; several where clients differ about the port in the host. */
function expectedSignatures(secret: string, request: Ec2Request): string[] {
  const hosts = [request.host, request.host.replace(/:\d+$/, '')];
  if (request.params['X-Amz-Signature'] !== undefined || isVersion4(request)) {
    return [version4(secret, request)];
  }
  return [...new Set(hosts)].flatMap((host) => [
    version2(secret, { ...request, host }, 'sha256'),
    version2(secret, { ...request, host }, 'sha1'),
  ]);
}

function isVersion4({ headers }: Ec2Request): boolean {
  return headerOf(headers, 'authorization').startsWith('AWS4-HMAC-SHA256');
}

function version2(secret: string, request: Ec2Request, hash: 'sha1' | 'sha256'): string {
  const text = [
    request.verb,
    request.host.toLowerCase(),
    request.path,
    query(request.params, 'Signature'),
  ];
  return createHmac(hash, secret).update(text.join('\n')).digest('base64');
}

function version4(
  secret: string,
  { verb, path, params, headers, body_hash: bodyHash }: Ec2Request,
): string {
  const authorization = headerOf(headers, 'authorization');
  const field = (name: string, parameter: string): string =>
    params[parameter] ?? new RegExp(`${name}=([^,\\s]+)`).exec(authorization)?.[1] ?? '';
  const signed = field('SignedHeaders', 'X-Amz-SignedHeaders').split(';');
  const [, ...scope] = field('Credential', 'X-Amz-Credential').split('/');
  const date = params['X-Amz-Date'] ?? headerOf(headers, 'x-amz-date');
  const canonical = [
    ...[verb, path, query(params, 'X-Amz-Signature')],
    ...signed.map((name) => `${name}:${headerOf(headers, name).trim()}`),
    ...['', signed.join(';'), bodyHash],
  ].join('\n');
  const digest = createHash('sha256').update(canonical).digest('hex');
  const key = scope.reduce<Buffer>(
    (last, part) => createHmac('sha256', last).update(part).digest(),
    Buffer.from(`AWS4${secret}`),
  );
  const text = ['AWS4-HMAC-SHA256', date, scope.join('/'), digest].join('\n');
  return createHmac('sha256', key).update(text).digest('hex');
}

function query(params: Readonly<Record<string, string>>, without: string): string {
  return Object.keys(params)
    .filter((name) => name !== without)
    .sort()
    .map((name) => `${percentEncode(name)}=${percentEncode(params[name]!)}`)
    .join('&');
}

function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function headerOf(headers: Readonly<Record<string, string>>, name: string): string {
  const found = Object.keys(headers).find((key) => key.toLowerCase() === name.toLowerCase());
  return found === undefined ? '' : headers[found]!;
}
