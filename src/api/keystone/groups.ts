/** /v3/groups and their members. */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { domainIdSchema, nameSchema } from '#identity/id.ts';
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

const fields = z.looseObject({
  name: nameSchema.max(64),
  domain_id: nullable(domainIdSchema).optional(),
  description: nullable(z.string().max(4096)).optional(),
});
const newGroup = z.object({ group: fields });
const changedGroup = z.object({ group: fields.partial() });
const KNOWN = ['id', 'name', 'domain_id', 'description', 'links'];

export function groupRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { groups, users } = api.identity;

  app.get('/v3/groups', async (c) => {
    api.admin(c);
    const found = filterListed(c, await groups.list());
    return renderer.list(
      c,
      'groups',
      found.map((group) => renderer.group(c, group)),
    );
  });

  app.post('/v3/groups', async (c) => {
    const caller = api.admin(c);
    const { group: wanted } = await readBody(c, newGroup);
    const { name, description } = wanted;
    const domainId = wanted.domain_id ?? caller.user.domainId;
    const group = await groups.create({
      name,
      description,
      domainId,
      extra: extraOf(wanted, KNOWN),
    });
    api.audit(caller, 'group.create', { id: group.id, name });
    return c.json({ group: renderer.group(c, group) }, 201);
  });

  app.get('/v3/groups/:id', async (c) => {
    api.admin(c);
    const group = await groups.get(pathId(c, 'id', 'group'));
    return c.json({ group: renderer.group(c, group) });
  });

  app.patch('/v3/groups/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'group');
    const { group: change } = await readBody(c, changedGroup);
    const { name, description } = change;
    const extra = extraOf(change, KNOWN);
    const group = await groups.update(id, defined({ name, description, extra }));
    api.audit(caller, 'group.update', { id });
    return c.json({ group: renderer.group(c, group) });
  });

  app.delete('/v3/groups/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'group');
    await groups.remove(id);
    api.audit(caller, 'group.delete', { id });
    return c.body(null, 204);
  });

  app.get('/v3/groups/:id/users', async (c) => {
    api.admin(c);
    const id = pathId(c, 'id', 'group');
    await groups.get(id);
    const found = await Promise.all((await groups.members(id)).map((userId) => users.get(userId)));
    return renderer.list(
      c,
      'users',
      found.map((user) => renderer.user(c, user)),
    );
  });

  app.put('/v3/groups/:id/users/:userId', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'group');
    const userId = pathId(c, 'userId', 'user');
    await groups.addMember(id, userId);
    api.audit(caller, 'group.add-member', { id, userId });
    return c.body(null, 204);
  });

  app.get('/v3/groups/:id/users/:userId', async (c) => {
    const userId = pathId(c, 'userId', 'user');
    api.selfOrAdmin(c, userId);
    if (!(await groups.isMember(pathId(c, 'id', 'group'), userId))) throw noMember(userId);
    return c.body(null, 204);
  });

  app.delete('/v3/groups/:id/users/:userId', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'group');
    const userId = pathId(c, 'userId', 'user');
    if (!(await groups.removeMember(id, userId))) throw noMember(userId);
    api.audit(caller, 'group.remove-member', { id, userId });
    return c.body(null, 204);
  });
  return app;
}

function noMember(userId: string): OperatingError {
  return new OperatingError('not-found', `User ${userId} is not in the group.`);
}
