/**
 * AWS's Security Token Service, as far as clients need it to get short-lived S3 credentials: POST /sts
 * with `Action`:
 *
 * - AssumeRoleWithCertificate: the TLS client certificate is the proof,
 * - AssumeRoleWithWebIdentity: `WebIdentityToken` is,
 * - GetSessionToken: the caller's X-Auth-Token is (AWS's own form, signed with S3 keys, belongs to the
 *   S3 API).
 *
 * `DurationSeconds` shortens what the proof allows. Roles are not asked for but mapped.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { IssuedToken } from '#identity/log-ins.ts';
import { type SessionKeyPair, sessionKeysFor } from '#identity/session-keys.ts';
import { isDelegated, type KeystoneApi, notAuthorized } from './api.ts';

const MIN_SECONDS = 900;
const MAX_SECONDS = 43_200;
const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/';

const formSchema = z.object({
  Action: z.enum(['AssumeRoleWithCertificate', 'AssumeRoleWithWebIdentity', 'GetSessionToken']),
  DurationSeconds: z.coerce.number().int().min(MIN_SECONDS).max(MAX_SECONDS).optional(),
  WebIdentityToken: z.string().max(16_384).optional(),
});
type Form = z.output<typeof formSchema>;

const ERRORS: Readonly<Record<string, readonly [number, string]>> = {
  'bad-request': [400, 'ValidationError'],
  unauthorized: [403, 'AccessDenied'],
  forbidden: [403, 'AccessDenied'],
  'bad-certificate': [403, 'AccessDenied'],
  'bad-web-token': [400, 'InvalidIdentityToken'],
  'state-unavailable': [503, 'ServiceUnavailable'],
  busy: [503, 'ServiceUnavailable'],
};

export function stsRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  app.post('/sts', async (c) => {
    try {
      const form = await readForm(c);
      const pair = sessionKeysFor(api.identity.context.vault, await issue(api, c, form));
      c.header('Content-Type', 'text/xml');
      return c.body(success(form.Action, pair));
    } catch (error) {
      return failure(api, c, error);
    }
  });
  return app;
}

async function readForm(c: Context): Promise<Form> {
  const fields = Object.fromEntries(new URLSearchParams(await c.req.text()));
  const parsed = formSchema.safeParse({ ...c.req.query(), ...fields });
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new OperatingError('bad-request', `${issue?.path.join('.')}: ${issue?.message}`);
}

async function issue(api: KeystoneApi, c: Context, form: Form): Promise<IssuedToken> {
  const { identity, address, web } = api.deps;
  const untilMs = api.nowMs() + (form.DurationSeconds ?? 3600) * 1000;
  const until = <Proof extends { readonly expiresMs: number }>(proof: Proof): Proof => ({
    ...proof,
    expiresMs: Math.min(proof.expiresMs, untilMs),
  });
  if (form.Action === 'AssumeRoleWithCertificate') {
    return identity.logIns.byMapping({ ...until(api.proveCertificate(c)), address: address(c) });
  }
  if (form.Action === 'AssumeRoleWithWebIdentity') {
    if (web === undefined) throw new OperatingError('unauthorized', 'Not offered here.');
    const proof = web.prove(form.WebIdentityToken ?? '');
    return identity.logIns.byMapping({ ...until(proof), limited: false, address: address(c) });
  }
  const caller = api.caller(c);
  // A way in that was limited on purpose does not get itself another one.
  if (isDelegated(caller) || caller.project === undefined) throw notAuthorized();
  const scope = { kind: 'project' as const, id: caller.project.id };
  const token = c.req.header('X-Auth-Token') ?? '';
  return identity.logIns.logIn({ token, scope, address: address(c), untilMs });
}

function success(action: string, pair: SessionKeyPair): string {
  const fields = [
    ['AccessKeyId', pair.access],
    ['SecretAccessKey', pair.secret],
    ['SessionToken', pair.sessionToken],
    ['Expiration', new Date(pair.expiresMs).toISOString().replace(/\.\d+Z$/, 'Z')],
  ];
  const inner = fields.map(([name, value]) => `<${name}>${value}</${name}>`).join('');
  return [
    `<${action}Response xmlns="${NAMESPACE}"><${action}Result>`,
    `<Credentials>${inner}</Credentials></${action}Result></${action}Response>`,
  ].join('');
}

function failure(api: KeystoneApi, c: Context, error: unknown): Response {
  const [status, code] = ERRORS[codeOf(error)] ?? [500, 'InternalFailure'];
  if (status === 500) api.deps.log.error('sts.request-failed', { error: messageOf(error) });
  const message = status >= 500 ? 'Please try again later.' : escapeXml(messageOf(error));
  c.header('Content-Type', 'text/xml');
  if (status === 503) c.header('Retry-After', '2');
  const body = `<Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`;
  return c.body(`<ErrorResponse xmlns="${NAMESPACE}">${body}</ErrorResponse>`, status as 400);
}

function escapeXml(text: string): string {
  return text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
