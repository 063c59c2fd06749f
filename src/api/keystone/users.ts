/** /v3/users, with password change, groups and projects of a user. */
import { Hono } from 'hono';
import { z } from 'zod';
import { domainIdSchema, idSchema, nameSchema } from '#identity/id.ts';
import { defined, extraOf, type KeystoneApi, nullable, pathId, readBody } from './api.ts';
import { filterListed } from './filters.ts';
import { Renderer } from './render.ts';
import { resourceRoutes } from './resource.ts';

const password = z.string().min(1).max(4096);
const fields = z.looseObject({
  name: nameSchema,
  domain_id: nullable(domainIdSchema).optional(),
  password: nullable(password).optional(),
  email: nullable(z.string().max(320)).optional(),
  description: nullable(z.string().max(4096)).optional(),
  default_project_id: nullable(idSchema).optional(),
  enabled: z.boolean().optional(),
});
const changedPassword = z.object({ user: z.object({ password, original_password: password }) });
const KNOWN = [
  ...['id', 'name', 'domain_id', 'password', 'email', 'description', 'default_project_id'],
  ...['enabled', 'links', 'password_expires_at', 'original_password'],
];

export function userRoutes(api: KeystoneApi): Hono {
  const renderer = new Renderer(api);
  const routes = resourceRoutes(api, {
    kind: 'user',
    fields,
    store: api.identity.users,
    wanted: (body, caller) => ({
      ...defined(valuesOf(body)),
      name: body.name,
      domainId: body.domain_id ?? caller.user.domainId,
    }),
    change: valuesOf,
    render: (c, user) => renderer.user(c, user),
    maySee: (c, id) => void api.selfOrAdmin(c, id),
  });
  return routes.route('/', ownRoutes(api));
}

function valuesOf(body: Partial<z.output<typeof fields>>) {
  const { name, email, description, enabled, default_project_id: defaultProjectId } = body;
  const { password } = body;
  const extra = extraOf(body, KNOWN);
  return { name, email, description, enabled, password, defaultProjectId, extra };
}

/** What users do and see themselves. */
function ownRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { users, groups, projects, scopes, proofs } = api.identity;

  /** Needs no token: the old password is the proof, guarded like a log-in. */
  app.post('/v3/users/:id/password', async (c) => {
    const id = pathId(c, 'id', 'user');
    const { user } = await readBody(c, changedPassword);
    const { original_password: old, password: wanted } = user;
    await proofs.changePassword(id, old, wanted, api.deps.address(c));
    return c.body(null, 204);
  });

  app.get('/v3/users/:id/groups', async (c) => {
    const id = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, id);
    await users.get(id);
    const found = await Promise.all(
      (await groups.ofUser(id)).map((groupId) => groups.get(groupId)),
    );
    return renderer.list(
      c,
      'groups',
      found.map((group) => renderer.group(c, group)),
    );
  });

  app.get('/v3/users/:id/projects', async (c) => {
    const id = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, id);
    await users.get(id);
    const ids = await scopes.projectsOf(id);
    const found = filterListed(
      c,
      await Promise.all(ids.map((projectId) => projects.get(projectId))),
    );
    return renderer.list(
      c,
      'projects',
      found.map((project) => renderer.project(c, project)),
    );
  });
  return app;
}
