/**
 * AWS's Security Token Service, as far as clients need it to get short-lived S3 credentials: POST to /sts
 * or, as AWS's own clients do, to `/`, with `Action`:
 *
 * - AssumeRoleWithCertificate: the TLS client certificate is the proof,
 * - AssumeRoleWithWebIdentity: `WebIdentityToken` is,
 * - GetSessionToken and AssumeRole: a signature with S3 keys (sts-caller.ts), or X-Auth-Token,
 * - GetCallerIdentity tells whose keys these are.
 *
 * `DurationSeconds` shortens what the proof allows. A session has its caller's project and roles;
 * `RoleArn` narrows it where its last part is the name of a role that exists here. Whom certificates and
 * web tokens lead to is mapped, not asked for.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { IssuedToken } from '#identity/log-ins.ts';
import { type SessionKeyPair, sessionKeysFor } from '#identity/session-keys.ts';
import { isDelegated, type KeystoneApi, notAuthorized } from './api.ts';
import { type StsCaller, signedCaller } from './sts-caller.ts';

const MIN_SECONDS = 900;
const MAX_SECONDS = 129_600;
const DEFAULT_SECONDS = 3600;
const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/';
const ACTIONS = [
  'AssumeRole',
  'AssumeRoleWithCertificate',
  'AssumeRoleWithWebIdentity',
  'GetCallerIdentity',
  'GetSessionToken',
] as const;

const formSchema = z.object({
  Action: z.enum(ACTIONS),
  DurationSeconds: z.coerce.number().int().min(MIN_SECONDS).max(MAX_SECONDS).optional(),
  WebIdentityToken: z.string().max(16_384).optional(),
  RoleArn: z.string().min(1).max(2048).optional(),
  RoleSessionName: z
    .string()
    .regex(/^[\w+=,.@-]{2,64}$/)
    .optional(),
  // A session policy would narrow rights; ignoring one would not.
  Policy: z.undefined({ error: 'session policies are not offered' }).optional(),
});
type Form = z.output<typeof formSchema>;

const ERRORS: Readonly<Record<string, readonly [number, string]>> = {
  'bad-request': [400, 'ValidationError'],
  'unknown-action': [400, 'InvalidAction'],
  unauthorized: [403, 'AccessDenied'],
  forbidden: [403, 'AccessDenied'],
  'bad-certificate': [403, 'AccessDenied'],
  'bad-web-token': [400, 'InvalidIdentityToken'],
  'sts-incomplete-signature': [400, 'IncompleteSignature'],
  'sts-no-signature': [403, 'MissingAuthenticationToken'],
  'sts-unknown-key': [403, 'InvalidClientTokenId'],
  'sts-wrong-signature': [403, 'SignatureDoesNotMatch'],
  'sts-expired': [403, 'SignatureDoesNotMatch'],
  'state-unavailable': [503, 'ServiceUnavailable'],
  busy: [503, 'ServiceUnavailable'],
};

export function stsRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const handle = async (c: Context): Promise<Response> => {
    try {
      const body = await c.req.text();
      const form = readForm(c, body);
      c.header('Content-Type', 'text/xml');
      return c.body(render(api, form.Action, await perform(api, c, form, body)));
    } catch (error) {
      return failure(api, c, error);
    }
  };
  return app.post('/sts', handle).post('/', handle);
}

function readForm(c: Context, body: string): Form {
  const fields = { ...c.req.query(), ...Object.fromEntries(new URLSearchParams(body)) };
  const known = (ACTIONS as readonly unknown[]).includes(fields['Action']);
  if (fields['Action'] !== undefined && !known)
    throw new OperatingError('unknown-action', 'Could not find this operation.');
  const parsed = formSchema.safeParse(fields);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new OperatingError('bad-request', `${issue?.path.join('.')}: ${issue?.message}`);
}

async function perform(
  api: KeystoneApi,
  c: Context,
  form: Form,
  body: string,
): Promise<readonly string[]> {
  const { vault } = api.identity.context;
  const sessionOf = (issued: IssuedToken) => credentials(sessionKeysFor(vault, issued));
  switch (form.Action) {
    case 'AssumeRoleWithCertificate':
    case 'AssumeRoleWithWebIdentity':
      return [sessionOf(await byMapping(api, c, form))];
    case 'GetSessionToken':
      return [sessionOf(await bySession(api, c, form, await callerOf(api, c, body)))];
    case 'AssumeRole': {
      if (form.RoleArn === undefined || form.RoleSessionName === undefined)
        throw new OperatingError('bad-request', 'RoleArn and RoleSessionName are needed.');
      const caller = await callerOf(api, c, body);
      const issued = await bySession(api, c, form, caller);
      return [sessionOf(issued), assumedRole(caller, form)];
    }
    case 'GetCallerIdentity':
      return callerIdentity(await callerOf(api, c, body));
  }
}

async function byMapping(api: KeystoneApi, c: Context, form: Form): Promise<IssuedToken> {
  const { identity, address, web } = api.deps;
  const untilMs = endOf(api, form);
  const until = <Proof extends { readonly expiresMs: number }>(proof: Proof): Proof => ({
    ...proof,
    expiresMs: Math.min(proof.expiresMs, untilMs),
  });
  if (form.Action === 'AssumeRoleWithCertificate')
    return identity.logIns.byMapping({ ...until(api.proveCertificate(c)), address: address(c) });
  if (web === undefined) throw new OperatingError('unauthorized', 'Not offered here.');
  const proof = web.prove(form.WebIdentityToken ?? '');
  return identity.logIns.byMapping({ ...until(proof), limited: false, address: address(c) });
}

async function callerOf(api: KeystoneApi, c: Context, body: string): Promise<StsCaller> {
  const signed = await signedCaller(api, c, body);
  if (signed !== undefined) return signed;
  const text = c.req.header('X-Auth-Token');
  if (text === undefined)
    throw new OperatingError('sts-no-signature', 'Request is missing Authentication Token.');
  return { token: api.caller(c), text };
}

async function bySession(
  api: KeystoneApi,
  c: Context,
  form: Form,
  caller: StsCaller,
): Promise<IssuedToken> {
  const { token, text, keys } = caller;
  // A way in that was limited on purpose does not get itself another one.
  if (isDelegated(token) || token.project === undefined) throw notAuthorized();
  if (keys === 'session' && form.Action === 'GetSessionToken') throw notAuthorized();
  const onlyRoleIds = narrowedRoles(api, form.RoleArn, caller);
  const { logIns } = api.identity;
  const { user, project } = token;
  const [address, untilMs] = [api.deps.address(c), endOf(api, form)];
  api.deps.log.info('identity.session', { user: user.id, scope: project.id, address, keys });
  // The token of stored keys ends with the day they signed for; a session need not.
  if (keys === 'stored') {
    const owner = { userId: user.id, projectId: project.id, expiresMs: untilMs, onlyRoleIds };
    const issued = await logIns.byKeyPair(owner);
    if (issued === undefined) throw notAuthorized();
    return issued;
  }
  const scope = { kind: 'project' as const, id: project.id };
  return logIns.logIn({ token: text, scope, address, untilMs, onlyRoleIds });
}

/** Undefined: all that the caller has. */
function narrowedRoles(
  api: KeystoneApi,
  arn: string | undefined,
  { token }: StsCaller,
): string[] | undefined {
  const name = arn?.split('/').at(-1)?.toLowerCase();
  const known = [...api.identity.directory.rolesByNumber.values()];
  if (!known.some((role) => role.name.toLowerCase() === name)) return undefined;
  const own = token.roles.filter((role) => role.name.toLowerCase() === name);
  if (own.length === 0) throw notAuthorized();
  return own.map(({ id }) => id);
}

function endOf(api: KeystoneApi, { DurationSeconds: seconds = DEFAULT_SECONDS }: Form): number {
  return api.nowMs() + seconds * 1000;
}

function credentials(pair: SessionKeyPair): string {
  const fields = [
    ['AccessKeyId', pair.access],
    ['SecretAccessKey', pair.secret],
    ['SessionToken', pair.sessionToken],
    ['Expiration', new Date(pair.expiresMs).toISOString().replace(/\.\d+Z$/, 'Z')],
  ] as const;
  return element('Credentials', fields.map(([name, value]) => element(name, value)).join(''));
}

function assumedRole({ token }: StsCaller, { RoleArn = '', RoleSessionName = '' }: Form): string {
  const role = RoleArn.split('/').at(-1)!;
  const arn = `arn:aws:sts::${token.project!.id}:assumed-role/${role}/${RoleSessionName}`;
  const id = `${token.user.id}:${RoleSessionName}`;
  return element(
    'AssumedRoleUser',
    element('Arn', escapeXml(arn)) + element('AssumedRoleId', escapeXml(id)),
  );
}

function callerIdentity({ token: { user, project } }: StsCaller): string[] {
  const account = project?.id ?? '';
  const arn = `arn:aws:iam::${account}:user/${user.name}`;
  return [element('Arn', escapeXml(arn)), element('UserId', user.id), element('Account', account)];
}

function render(api: KeystoneApi, action: string, parts: readonly string[]): string {
  const result = element(`${action}Result`, parts.join(''));
  const metadata = element('ResponseMetadata', element('RequestId', requestId(api)));
  return `<${action}Response xmlns="${NAMESPACE}">${result}${metadata}</${action}Response>`;
}

function failure(api: KeystoneApi, c: Context, error: unknown): Response {
  const [status, code] = ERRORS[codeOf(error)] ?? [500, 'InternalFailure'];
  if (status === 500) api.deps.log.error('sts.request-failed', { error: messageOf(error) });
  const message = status >= 500 ? 'Please try again later.' : escapeXml(messageOf(error));
  c.header('Content-Type', 'text/xml');
  if (status === 503) c.header('Retry-After', '2');
  const type = element('Type', status >= 500 ? 'Receiver' : 'Sender');
  const told = element('Error', type + element('Code', code) + element('Message', message));
  const body = told + element('RequestId', requestId(api));
  return c.body(`<ErrorResponse xmlns="${NAMESPACE}">${body}</ErrorResponse>`, status as 400);
}

function requestId(api: KeystoneApi): string {
  return api.identity.context.env.random.bytes(16).toString('hex');
}

function element(name: string, content: string): string {
  return `<${name}>${content}</${name}>`;
}

function escapeXml(text: string): string {
  return text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
