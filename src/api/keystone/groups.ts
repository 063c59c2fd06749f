/** /v3/groups and their members. */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { domainIdSchema, nameSchema } from '#identity/id.ts';
import { extraOf, type KeystoneApi, nullable, pathId } from './api.ts';
import { filterListed } from './filters.ts';
import { Renderer } from './render.ts';
import { resourceRoutes } from './resource.ts';

const fields = z.looseObject({
  name: nameSchema.max(64),
  domain_id: nullable(domainIdSchema).optional(),
  description: nullable(z.string().max(4096)).optional(),
});
const KNOWN = ['id', 'name', 'domain_id', 'description', 'links'];

export function groupRoutes(api: KeystoneApi): Hono {
  const renderer = new Renderer(api);
  const routes = resourceRoutes(api, {
    kind: 'group',
    fields,
    store: api.identity.groups,
    wanted: (body, caller) => ({
      ...valuesOf(body),
      name: body.name,
      domainId: body.domain_id ?? caller.user.domainId,
    }),
    change: valuesOf,
    render: (c, group) => renderer.group(c, group),
  });
  return routes.route('/', memberRoutes(api));
}

function valuesOf(body: Partial<z.output<typeof fields>>) {
  const { name, description } = body;
  return { name, description, extra: extraOf(body, KNOWN) };
}

function memberRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { groups, users } = api.identity;

  app.get('/v3/groups/:id/users', async (c) => {
    api.admin(c);
    const id = pathId(c, 'id', 'group');
    await groups.get(id);
    const members = (await groups.members(id)).map((userId) => users.get(userId));
    const found = filterListed(c, await Promise.all(members));
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
