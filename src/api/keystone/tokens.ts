/** /v3/auth: log in, validate and revoke tokens, and what the caller may scope to. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { domainIdSchema, isId, nameSchema } from '#identity/id.ts';
import type { DomainReference, LogInRequest, ScopeRequest } from '#identity/log-in-request.ts';
import type { IssuedToken } from '#identity/log-ins.ts';
import {
  ALLOW_EXPIRED_MS,
  type VerifiedToken,
  type VerifyOptions,
} from '#identity/token-verifier.ts';
import { isAdmin, isoTime, isService, type KeystoneApi, notAuthorized, readBody } from './api.ts';
import { queryFlag } from './filters.ts';
import { Renderer } from './render.ts';

const MAX_PASSWORD_LENGTH = 4096;

const NOBODYS_ID = '0'.repeat(32);
/** An id that can't be one of ours is only one that nobody has: 401, as for any other. */
const namedId = z
  .string()
  .min(1)
  .max(255)
  .transform((id) => (isId(id) ? id : NOBODYS_ID));

const domainSchema = z.union([
  z.object({ id: domainIdSchema }),
  z.object({ name: nameSchema }).transform(({ name }) => ({ name })),
]);
const userSchema = z.union([
  z.object({ id: namedId }),
  z.object({ name: nameSchema, domain: domainSchema }),
]);
const projectSchema = z.union([
  z.object({ id: z.string().max(255) }),
  z.object({ name: nameSchema, domain: domainSchema }),
]);
const secret = z.string().max(MAX_PASSWORD_LENGTH);

const authSchema = z.object({
  auth: z.object({
    identity: z.object({
      methods: z
        .array(z.enum(['password', 'token', 'application_credential', 'external']))
        .min(1)
        .max(8),
      password: z
        .object({ user: z.intersection(userSchema, z.object({ password: secret })) })
        .optional(),
      /** The TLS client certificate of the connection is the proof. */
      external: z.object({}).optional(),
      token: z.object({ id: z.string().max(4096) }).optional(),
      application_credential: z
        .object({
          id: namedId.optional(),
          name: nameSchema.optional(),
          user: userSchema.optional(),
          secret,
        })
        .optional(),
    }),
    scope: z
      .union([
        z.literal('unscoped'),
        z.object({ project: projectSchema }),
        z.object({ domain: domainSchema }),
        z.object({ system: z.object({ all: z.literal(true) }) }),
        z.object({ 'OS-TRUST:trust': z.object({ id: namedId }) }),
        z.object({ unscoped: z.unknown() }).transform(() => 'unscoped' as const),
      ])
      .optional(),
  }),
});
type AuthBody = z.output<typeof authSchema>['auth'];

export function tokenRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);

  app.post('/v3/auth/tokens', async (c) => {
    const { auth } = await readBody(c, authSchema);
    const { text } = auth.identity.methods.includes('external')
      ? await logInByCertificate(api, c, auth)
      : await api.identity.logIns.logIn({
          ...proofsOf(auth),
          scope: scopeOf(auth.scope),
          address: api.deps.address(c),
        });
    const token = await freshToken(api, text);
    c.header('X-Subject-Token', text);
    c.header('Vary', 'X-Auth-Token');
    return c.json({ token: await renderToken(api, c, token) }, 201);
  });

  // Hono answers HEAD by the GET route, without the body.
  app.get('/v3/auth/tokens', async (c) => {
    const subject = subjectToken(api, c);
    c.header('X-Subject-Token', c.req.header('X-Subject-Token'));
    c.header('Vary', 'X-Auth-Token');
    return c.json({ token: await renderToken(api, c, subject) });
  });

  app.delete('/v3/auth/tokens', async (c) => {
    const subject = subjectToken(api, c);
    const { auditId } = subject.fields;
    api.audit(api.caller(c), 'token.revoke', { audit: auditId });
    await api.identity.revoke({ kind: 'audit', id: auditId });
    return c.body(null, 204);
  });

  app.get('/v3/auth/catalog', async (c) => {
    const caller = api.caller(c);
    return renderer.list(c, 'catalog', (await catalogueFor(api, c, caller)) as never);
  });

  app.get('/v3/auth/projects', async (c) => {
    const caller = api.caller(c);
    const ids = await api.identity.scopes.projectsOf(caller.user.id);
    const projects = await Promise.all(ids.map((id) => api.identity.projects.get(id)));
    return renderer.list(
      c,
      'projects',
      projects.map((project) => renderer.project(c, project)),
    );
  });

  app.get('/v3/auth/domains', async (c) => {
    const caller = api.caller(c);
    const domains = await api.identity.domains.list();
    const roles = await Promise.all(
      domains.map(({ id }) =>
        api.identity.scopes.effectiveRoles(caller.user.id, { kind: 'domain', id }),
      ),
    );
    const open = domains.filter((domain, i) => domain.enabled && roles[i]!.size > 0);
    return renderer.list(
      c,
      'domains',
      open.map((domain) => renderer.domain(c, domain)),
    );
  });

  app.get('/v3/auth/system', async (c) => {
    const { user } = api.caller(c);
    const roles = await api.identity.scopes.effectiveRoles(user.id, { kind: 'system' });
    return c.json({
      system: roles.size > 0 ? [{ all: true }] : [],
      links: { self: api.url(c, '/auth/system') },
    });
  });
  return app;
}

/** Rules say which project a certificate leads to; asking for another one is refused. */
async function logInByCertificate(
  api: KeystoneApi,
  c: Context,
  auth: AuthBody,
): Promise<IssuedToken> {
  const proof = api.proveCertificate(c);
  if (auth.identity.methods.length > 1) {
    throw new OperatingError('bad-request', 'A certificate is not combined with other methods.');
  }
  const scope = scopeOf(auth.scope);
  const issued = await api.identity.logIns.byMapping({ ...proof, address: api.deps.address(c) });
  if (scope === undefined || (await leadsTo(api, scope, issued))) return issued;
  throw new OperatingError('unauthorized', 'The request you have made requires authentication.');
}

async function leadsTo(
  api: KeystoneApi,
  scope: ScopeRequest,
  issued: IssuedToken,
): Promise<boolean> {
  if (scope.kind !== 'project' || issued.fields.scope.kind !== 'project') return false;
  const project = await api.identity.projects.get(issued.fields.scope.id);
  if ('id' in scope) return scope.id === project.id;
  const domain = await api.identity.domains.get(project.domainId);
  const named =
    'id' in scope.domain ? scope.domain.id === domain.id : scope.domain.name === domain.name;
  return named && scope.name === project.name;
}

function proofsOf({
  identity,
}: AuthBody): Pick<LogInRequest, 'password' | 'token' | 'applicationCredential'> {
  const { methods, password, token, application_credential: credential } = identity;
  const missing = methods.find((method) => identity[method] === undefined);
  if (missing !== undefined) {
    throw new OperatingError('bad-request', `Expecting to find ${missing} in identity.`);
  }
  return {
    ...(methods.includes('password') && password && { password: splitUser(password.user) }),
    ...(methods.includes('token') && token && { token: token.id }),
    ...(methods.includes('application_credential') &&
      credential && { applicationCredential: credential }),
  };
}

function splitUser(user: NonNullable<AuthBody['identity']['password']>['user']) {
  const { password } = user;
  return 'id' in user
    ? { user: { id: user.id }, password }
    : { user: { name: user.name, domain: user.domain as DomainReference }, password };
}

function scopeOf(scope: AuthBody['scope']): ScopeRequest | undefined {
  if (scope === undefined) return undefined;
  if (scope === 'unscoped') return { kind: 'none' };
  if ('project' in scope) return { kind: 'project', ...scope.project };
  if ('domain' in scope) return { kind: 'domain', domain: scope.domain };
  if ('OS-TRUST:trust' in scope) return { kind: 'trust', id: scope['OS-TRUST:trust'].id };
  return { kind: 'system' };
}

/** The directory may be a moment behind the state that the log-in was decided on. */
export async function freshToken(
  api: KeystoneApi,
  text: string,
  options: VerifyOptions = {},
): Promise<VerifiedToken> {
  const { verifier, directory, context } = api.identity;
  for (let attempt = 0; attempt < 20; attempt++) {
    const verification = verifier.verify(text, options);
    if (verification.valid) return verification.token;
    if (verification.rejected === 'for-s3-only') throw notAuthorized();
    if (verification.rejected !== 'stale') break;
    await directory.changed(context.env.clock, 100);
  }
  throw new OperatingError('state-unavailable', 'the directory lags behind');
}

/** The token of X-Subject-Token, when the caller may see it. */
function subjectToken(api: KeystoneApi, c: Context): VerifiedToken {
  const caller = api.caller(c);
  const text = c.req.header('X-Subject-Token');
  if (text === undefined) throw new OperatingError('bad-request', 'X-Subject-Token is missing.');
  const mayExpired =
    queryFlag(c, 'allow_expired') === true && (isService(caller) || isAdmin(caller));
  const graceMs = mayExpired ? ALLOW_EXPIRED_MS : 0;
  const verification = api.identity.verifier.verify(text, { graceMs });
  const own = text === c.req.header('X-Auth-Token');
  if (!own && !isAdmin(caller) && !isService(caller)) {
    const sameUser = verification.valid && verification.token.user.id === caller.user.id;
    if (!sameUser) throw notAuthorized();
  }
  if (!verification.valid) throw new OperatingError('not-found', 'Could not find token.');
  return verification.token;
}

export async function renderToken(
  api: KeystoneApi,
  c: Context,
  token: VerifiedToken,
): Promise<unknown> {
  const { fields, user, project, roles } = token;
  const { directory, context } = api.identity;
  const domain = (id: string) => ({ id, name: directory.domains.get(id)?.name ?? id });
  const { scope, applicationCredentialId, trustId } = fields;
  const scoped = scope.kind !== 'none';
  const wantsCatalogue = scoped && queryFlag(c, 'nocatalog') !== true;
  const passwordEnd = await api.identity.users.passwordExpiresMs(user.id);
  const trust = trustId && (await context.store.trusts.get(trustId))?.fields;
  const credential =
    applicationCredentialId &&
    (await context.store.applicationCredentials.get(user.id, applicationCredentialId))?.fields;
  return {
    methods: fields.methods,
    user: {
      domain: domain(user.domainId),
      id: user.id,
      name: user.name,
      password_expires_at: passwordEnd === undefined ? null : isoTime(passwordEnd),
    },
    audit_ids: [fields.auditId, fields.chainId].flatMap((id) => (id ? [auditText(id)] : [])),
    expires_at: isoTime(fields.expiresMs),
    issued_at: isoTime(fields.issuedMs),
    ...(project && {
      project: { domain: domain(project.domainId), id: project.id, name: project.name },
      is_domain: false,
    }),
    ...(scope.kind === 'domain' && { domain: domain(scope.id) }),
    ...(scope.kind === 'system' && { system: { all: true } }),
    ...(scoped && { roles: roles.map(({ id, name }) => ({ id, name })) }),
    ...(wantsCatalogue && { catalog: await catalogueFor(api, c, token) }),
    ...(trust && {
      'OS-TRUST:trust': {
        id: trust.id,
        impersonation: trust.impersonation,
        trustor_user: { id: trust.trustorId },
        trustee_user: { id: trust.trusteeId },
      },
    }),
    ...(credential && {
      application_credential: {
        id: credential.id,
        name: credential.name,
        restricted: !credential.unrestricted,
      },
    }),
  };
}

function auditText(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url');
}

function catalogueFor(
  api: KeystoneApi,
  c: Context,
  { user, project }: VerifiedToken,
): Promise<unknown[]> {
  const { catalogue, homeRegion } = api.deps;
  const values = { userId: user.id, projectId: project?.id };
  return catalogue.render(api.identity, homeRegion(c), values);
}
