/**
 * AWS's Security Token Service, as far as clients need it to get short-lived S3 credentials: POST to /sts
 * or, as AWS's own clients do, to `/`, with `Action`:
 *
 * - AssumeRoleWithCertificate: the TLS client certificate is the proof,
 * - AssumeRoleWithWebIdentity: `WebIdentityToken` is,
 * - GetSessionToken and AssumeRole: a signature with S3 keys (sts-caller.ts), or X-Auth-Token,
 * - GetFederationToken: the same, for somebody else who is told a policy,
 * - GetCallerIdentity tells whose keys these are.
 *
 * `DurationSeconds` shortens what the proof allows. A session has its caller's project and roles;
 * `RoleArn` names a role that a project has made (role-trust.ts), whose policies the session has; else it
 * narrows where its last part is the name of a role of identity. Whom certificates and web tokens lead to
 * is mapped, not asked for. `Policy` narrows any session: it is carried by the session's token.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { parsePolicy } from '#auth/policy/policy.ts';
import { OperatingError } from '#base/errors.ts';
import type { IssuedToken } from '#identity/log-ins.ts';
import type { IamRole } from '#identity/records.ts';
import { MAX_SESSION_POLICY_CHARACTERS } from '#identity/session-facts.ts';
import { type SessionKeyPair, sessionKeysFor } from '#identity/session-keys.ts';
import { isDelegated, type KeystoneApi, notAuthorized } from './api.ts';
import { answer, element, failure, isoSeconds, leaf, type QueryService } from './query-xml.ts';
import { mustBeTrusted, namedRole } from './role-trust.ts';
import { type StsCaller, signedCaller } from './sts-caller.ts';

const MIN_SECONDS = 900;
const MAX_SECONDS = 129_600;
const DEFAULT_SECONDS = 3600;
/** A federated user without a policy has what buckets' policies give, which here is nothing. */
const NOTHING = '{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}';
const ACTIONS = [
  'AssumeRole',
  'AssumeRoleWithCertificate',
  'AssumeRoleWithWebIdentity',
  'GetCallerIdentity',
  'GetFederationToken',
  'GetSessionToken',
] as const;

const POLICY_CHARACTERS = /^[\t\n\r\x20-\xff]*$/;

const formSchema = z.object({
  Action: z.enum(ACTIONS),
  DurationSeconds: z.coerce.number().int().min(MIN_SECONDS).max(MAX_SECONDS).optional(),
  WebIdentityToken: z.string().max(16_384).optional(),
  RoleArn: z.string().min(1).max(2048).optional(),
  RoleSessionName: z
    .string()
    .regex(/^[\w+=,.@-]{2,64}$/)
    .optional(),
  /** Narrows the session, whatever else it has. */
  Policy: z.string().min(1).max(MAX_SESSION_POLICY_CHARACTERS).regex(POLICY_CHARACTERS).optional(),
  'PolicyArns.member.1.arn': z.undefined({ error: 'managed policies are not offered' }).optional(),
  Name: z
    .string()
    .regex(/^[\w+=,.@-]{2,32}$/)
    .optional(),
  ExternalId: z.string().max(1224).optional(),
});
type Form = z.output<typeof formSchema>;

const ERRORS = {
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
  'malformed-policy': [400, 'MalformedPolicyDocument'],
  'packed-policy-too-large': [400, 'PackedPolicyTooLarge'],
} as const;

const STS: QueryService = {
  name: 'sts',
  namespace: 'https://sts.amazonaws.com/doc/2011-06-15/',
  errors: ERRORS,
};

export function stsRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const handle = async (c: Context): Promise<Response> => {
    try {
      const body = await c.req.text();
      const form = readForm(c, body);
      const parts = await perform(api, c, form, body);
      return answer(api, c, STS, { action: form.Action, result: parts.join('') });
    } catch (error) {
      return failure(api, c, STS, error);
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
  if (parsed.success) {
    const { Policy: policy } = parsed.data;
    if (policy !== undefined) parsePolicy(policy, { principals: false });
    return parsed.data;
  }
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
      const role = await namedRole(api, form.RoleArn);
      if (role !== undefined) {
        const issued = await byRole(api, c, form, { caller, role });
        return [sessionOf(issued), assumedRole(role.projectId, role.id, form)];
      }
      const issued = await bySession(api, c, form, caller);
      const { project, user } = caller.token;
      return [sessionOf(issued), assumedRole(project!.id, user.id, form)];
    }
    case 'GetFederationToken': {
      if (form.Name === undefined) throw new OperatingError('bad-request', 'Name is needed.');
      const caller = await callerOf(api, c, body);
      const issued = await bySession(api, c, { ...form, Policy: form.Policy ?? NOTHING }, caller);
      return [sessionOf(issued), federatedUser(caller, form.Name)];
    }
    case 'GetCallerIdentity':
      return callerIdentity(api, await callerOf(api, c, body));
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
    return identity.logIns.byMapping({
      ...until(api.proveCertificate(c)),
      ...{ address: address(c), policy: form.Policy },
    });
  if (web === undefined) throw new OperatingError('unauthorized', 'Not offered here.');
  const proof = web.prove(form.WebIdentityToken ?? '');
  return identity.logIns.byMapping({
    ...until(proof),
    ...{ limited: false, address: address(c), policy: form.Policy },
  });
}

async function callerOf(api: KeystoneApi, c: Context, body: string): Promise<StsCaller> {
  const signed = await signedCaller(api, c, body, 'sts');
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
  if (keys === 'session' && form.Action !== 'AssumeRole') throw notAuthorized();
  const onlyRoleIds = narrowedRoles(api, form.RoleArn, caller);
  const { logIns } = api.identity;
  const { user, project } = token;
  const [address, untilMs] = [api.deps.address(c), endOf(api, form)];
  api.deps.log.info('identity.session', { user: user.id, scope: project.id, address, keys });
  // The token of stored keys ends with the day they signed for; a session need not.
  if (keys === 'stored') {
    const owner = { userId: user.id, projectId: project.id, expiresMs: untilMs, onlyRoleIds };
    const issued = await logIns.byKeyPair({ ...owner, policy: form.Policy });
    if (issued === undefined) throw notAuthorized();
    return issued;
  }
  const scope = { kind: 'project' as const, id: project.id };
  const policy = form.Policy;
  return logIns.logIn({ token: text, scope, address, untilMs, onlyRoleIds, policy });
}

/** In a role of a project, whose policies are all that the session has. */
async function byRole(
  api: KeystoneApi,
  c: Context,
  form: Form,
  { caller, role }: { readonly caller: StsCaller; readonly role: IamRole },
): Promise<IssuedToken> {
  const { token, keys } = caller;
  if (isDelegated(token)) throw notAuthorized();
  mustBeTrusted(api, c, { caller, role, externalId: form.ExternalId });
  const { DurationSeconds: seconds = DEFAULT_SECONDS, RoleSessionName: session = '' } = form;
  if (seconds > role.maxSessionSeconds) {
    const message = `DurationSeconds: the role allows at most ${role.maxSessionSeconds}`;
    throw new OperatingError('bad-request', message);
  }
  const [address, scope] = [api.deps.address(c), role.projectId];
  api.deps.log.info('identity.session', {
    user: token.user.id,
    scope,
    role: role.name,
    address,
    keys,
  });
  const wanted = { userId: token.user.id, role, session, policy: form.Policy };
  return api.identity.logIns.inRole({ ...wanted, expiresMs: endOf(api, form) });
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
    ['Expiration', isoSeconds(pair.expiresMs)],
  ] as const;
  return element('Credentials', fields.map(([name, value]) => element(name, value)).join(''));
}

function assumedRole(projectId: string, id: string, form: Form): string {
  const { RoleArn = '', RoleSessionName = '' } = form;
  const role = RoleArn.split('/').at(-1)!;
  const arn = `arn:aws:sts::${projectId}:assumed-role/${role}/${RoleSessionName}`;
  return element(
    'AssumedRoleUser',
    leaf('Arn', arn) + leaf('AssumedRoleId', `${id}:${RoleSessionName}`),
  );
}

function federatedUser({ token }: StsCaller, name: string): string {
  const account = token.project!.id;
  return element(
    'FederatedUser',
    leaf('Arn', `arn:aws:sts::${account}:federated-user/${name}`) +
      leaf('FederatedUserId', `${account}:${name}`),
  );
}

function callerIdentity(api: KeystoneApi, { token }: StsCaller): string[] {
  const { user, project, session } = token;
  const account = project?.id ?? '';
  const role = session?.role;
  const arn = role ? undefined : `arn:aws:iam::${account}:user/${user.name}`;
  const name = role && api.identity.directory.iamRoles.get(role.id)?.name;
  const assumed = role && `arn:aws:sts::${account}:assumed-role/${name}/${role.session}`;
  return [
    leaf('Arn', arn ?? assumed),
    leaf('UserId', role ? `${role.id}:${role.session}` : user.id),
    leaf('Account', account),
  ];
}
