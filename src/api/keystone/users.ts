/** /v3/users, with password change, groups and projects of a user. */
import { Hono } from 'hono';
import { z } from 'zod';
import { domainIdSchema, idSchema, nameSchema } from '#identity/id.ts';
import {
  defined,
  extraOf,
  filterListed,
  type KeystoneApi,
  nullable,
  pathId,
  readBody,
} from './api.ts';
import { Renderer } from './render.ts';

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
const newUser = z.object({ user: fields });
const changedUser = z.object({ user: fields.partial() });
const changedPassword = z.object({ user: z.object({ password, original_password: password }) });
const KNOWN = [
  ...['id', 'name', 'domain_id', 'password', 'email', 'description', 'default_project_id'],
  ...['enabled', 'links', 'password_expires_at', 'original_password'],
];

export function userRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { users, groups, projects, scopes, proofs } = api.identity;

  app.get('/v3/users', async (c) => {
    api.admin(c);
    const found = filterListed(c, await users.list());
    return renderer.list(
      c,
      'users',
      found.map((user) => renderer.user(c, user)),
    );
  });

  app.post('/v3/users', async (c) => {
    const caller = api.admin(c);
    const { user: wanted } = await readBody(c, newUser);
    const { name, email, description, enabled } = wanted;
    const user = await users.create({
      ...{ name, email, extra: extraOf(wanted, KNOWN), password: wanted.password },
      ...defined({ description, enabled }),
      domainId: wanted.domain_id ?? caller.user.domainId,
      defaultProjectId: wanted.default_project_id,
    });
    api.audit(caller, 'user.create', { id: user.id, name });
    return c.json({ user: renderer.user(c, user) }, 201);
  });

  app.get('/v3/users/:id', async (c) => {
    const id = pathId(c, 'id', 'user');
    api.selfOrAdmin(c, id);
    return c.json({ user: renderer.user(c, await users.get(id)) });
  });

  app.patch('/v3/users/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'user');
    const { user: change } = await readBody(c, changedUser);
    const { name, email, description, enabled } = change;
    const sent = defined({
      ...{ name, email, description, enabled, password: change.password },
      ...{ defaultProjectId: change.default_project_id, extra: extraOf(change, KNOWN) },
    });
    const user = await users.update(id, sent);
    api.audit(caller, 'user.update', { id, fields: Object.keys(sent).join(',') });
    return c.json({ user: renderer.user(c, user) });
  });

  app.delete('/v3/users/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'user');
    await users.remove(id);
    api.audit(caller, 'user.delete', { id });
    return c.body(null, 204);
  });

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
