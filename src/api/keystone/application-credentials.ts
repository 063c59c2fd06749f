/** /v3/users/ID/application_credentials: a user's own only. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { idSchema, nameSchema } from '#identity/id.ts';
import type { ApplicationCredential } from '#identity/records.ts';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import { type KeystoneApi, notAuthorized, nullable, parseTime, pathId, readBody } from './api.ts';
import { Renderer } from './render.ts';

const newCredential = z.object({
  application_credential: z.object({
    name: nameSchema,
    secret: nullable(z.string().min(8).max(255)).optional(),
    description: nullable(z.string().max(4096)).optional(),
    expires_at: nullable(z.string().max(64)).optional(),
    roles: z
      .array(z.union([z.object({ id: idSchema }), z.object({ name: nameSchema })]))
      .max(64)
      .nullish(),
    unrestricted: nullable(z.boolean()).optional(),
    // Fine-grained access by path is not offered; asking for it must not silently give all.
    access_rules: z.array(z.unknown()).max(0, 'access rules are not supported').nullish(),
  }),
});

export function applicationCredentialRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const base = '/v3/users/:id/application_credentials';
  const renderer = new Renderer(api);
  const { applicationCredentials } = api.identity;
  const render = async (c: Context, credential: ApplicationCredential) => {
    const roles = await Promise.all(credential.roleIds.map((id) => api.identity.roles.get(id)));
    return renderer.applicationCredential(c, credential, roles);
  };
  const credentialId = (c: Context) => pathId(c, 'credential', 'application credential');

  app.get(base, async (c) => {
    const userId = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, userId);
    const name = c.req.query('name');
    const found = (await applicationCredentials.ofUser(userId)).filter(
      (credential) => name === undefined || credential.name === name,
    );
    const items = await Promise.all(found.map((credential) => render(c, credential)));
    return renderer.list(c, 'application_credentials', items);
  });

  app.post(base, async (c) => {
    const caller = owner(api, c);
    await mayManage(api, caller);
    const { application_credential: wanted } = await readBody(c, newCredential);
    const { project, user } = caller;
    if (project === undefined) throw notAuthorized();
    const { name, secret: wish, description, unrestricted } = wanted;
    const { credential, secret } = await applicationCredentials.create({
      ...{ name, secret: wish, description, unrestricted, userId: user.id, projectId: project.id },
      roleIds: rolesFrom(caller, wanted.roles ?? undefined),
      expiresMs: parseTime(api, wanted.expires_at),
    });
    api.audit(caller, 'application-credential.create', { id: credential.id, name });
    const body = { ...(await render(c, credential)), secret };
    return c.json({ application_credential: body }, 201);
  });

  app.get(`${base}/:credential`, async (c) => {
    const userId = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, userId);
    const credential = await applicationCredentials.get(userId, credentialId(c));
    return c.json({ application_credential: await render(c, credential) });
  });

  app.delete(`${base}/:credential`, async (c) => {
    const userId = pathId(c, 'id', 'user');
    const caller = api.selfOrAdmin(c, userId);
    await mayManage(api, caller);
    const id = credentialId(c);
    await applicationCredentials.remove(userId, id);
    api.audit(caller, 'application-credential.delete', { id });
    return c.body(null, 204);
  });
  return app;
}

function owner(api: KeystoneApi, c: Context): VerifiedToken {
  const caller = api.caller(c);
  if (caller.user.id !== pathId(c, 'id', 'user')) throw notAuthorized();
  return caller;
}

/** A token made with an application credential may only if that one is unrestricted. */
async function mayManage(api: KeystoneApi, caller: VerifiedToken): Promise<void> {
  const { applicationCredentialId, trustId } = caller.fields;
  if (trustId !== undefined || caller.fields.methods.includes('limited')) throw notAuthorized();
  if (applicationCredentialId === undefined) return;
  const stored = await api.identity.applicationCredentials.find(applicationCredentialId);
  if (stored?.unrestricted !== true) throw notAuthorized();
}

/** Only roles that the token itself carries can be handed on. */
function rolesFrom(
  caller: VerifiedToken,
  wanted: readonly ({ id: string } | { name: string })[] | undefined,
): string[] {
  if (wanted === undefined) return caller.roles.map(({ id }) => id);
  return wanted.map((role) => {
    const own = caller.roles.find(({ id, name }) =>
      'id' in role ? role.id === id : role.name === name,
    );
    if (own === undefined)
      throw new OperatingError('bad-request', 'A role that the token does not have.');
    return own.id;
  });
}
