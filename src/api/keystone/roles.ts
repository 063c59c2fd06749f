/** /v3/roles, and which role implies which. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { domainIdSchema, nameSchema } from '#identity/id.ts';
import type { Role } from '#identity/records.ts';
import { extraOf, type KeystoneApi, nullable, pathId } from './api.ts';
import { nameMatches } from './filters.ts';
import { Renderer } from './render.ts';
import { resourceRoutes } from './resource.ts';

const fields = z.looseObject({
  name: nameSchema,
  domain_id: nullable(domainIdSchema).optional(),
  description: nullable(z.string().max(4096)).optional(),
});
const KNOWN = ['id', 'name', 'domain_id', 'description', 'options', 'links'];

export function roleRoutes(api: KeystoneApi): Hono {
  const renderer = new Renderer(api);
  const routes = resourceRoutes(api, {
    kind: 'role',
    fields,
    store: api.identity.roles,
    wanted: (body) => ({ ...valuesOf(body), name: body.name, domainId: body.domain_id }),
    change: valuesOf,
    render: (c, role) => renderer.role(c, role),
    listed: (c, roles) => {
      const domainId = c.req.query('domain_id'); // Absent: the roles of no domain.
      return roles.filter((role) => nameMatches(c, role.name) && role.domainId === domainId);
    },
  });
  return routes.route('/', impliedRoutes(api));
}

function valuesOf(body: Partial<z.output<typeof fields>>) {
  const { name, description } = body;
  return { name, description, extra: extraOf(body, KNOWN) };
}

function impliedRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const { roles } = api.identity;
  const brief = (c: Context, { id, name, description }: Role) => ({
    ...{ id, name, description },
    links: { self: api.url(c, `/roles/${id}`) },
  });
  const inference = async (c: Context, prior: Role) => ({
    prior_role: brief(c, prior),
    implies: (await Promise.all((await roles.impliedBy(prior.id)).map((id) => roles.get(id)))).map(
      (role) => brief(c, role),
    ),
  });

  app.get('/v3/role_inferences', async (c) => {
    api.admin(c);
    const all = await Promise.all((await roles.list()).map((role) => inference(c, role)));
    return c.json({ role_inferences: all.filter(({ implies }) => implies.length > 0) });
  });

  app.get('/v3/roles/:id/implies', async (c) => {
    api.admin(c);
    const prior = await roles.get(pathId(c, 'id', 'role'));
    return c.json({ role_inference: await inference(c, prior) });
  });

  const path = '/v3/roles/:id/implies/:implied';
  app.put(path, async (c) => {
    const caller = api.admin(c);
    const prior = await roles.get(pathId(c, 'id', 'role'));
    const implied = await roles.get(pathId(c, 'implied', 'role'));
    await roles.imply(prior.id, implied.id);
    api.audit(caller, 'role.imply', { prior: prior.id, implied: implied.id });
    const role_inference = { prior_role: brief(c, prior), implies: brief(c, implied) };
    return c.json({ role_inference }, 201);
  });

  app.get(path, async (c) => {
    api.admin(c);
    const prior = await roles.get(pathId(c, 'id', 'role'));
    const implied = await roles.get(pathId(c, 'implied', 'role'));
    if (!(await roles.impliedBy(prior.id)).includes(implied.id)) throw notImplied();
    return c.json({ role_inference: { prior_role: brief(c, prior), implies: brief(c, implied) } });
  });

  app.delete(path, async (c) => {
    const caller = api.admin(c);
    const [prior, implied] = [pathId(c, 'id', 'role'), pathId(c, 'implied', 'role')];
    if (!(await roles.unimply(prior, implied))) throw notImplied();
    api.audit(caller, 'role.unimply', { prior, implied });
    return c.body(null, 204);
  });
  return app;
}

function notImplied(): OperatingError {
  return new OperatingError('not-found', 'The role is not implied.');
}
