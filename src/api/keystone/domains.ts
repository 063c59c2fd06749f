/** /v3/domains */
import { Hono } from 'hono';
import { z } from 'zod';
import { nameSchema } from '#identity/id.ts';
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
  description: nullable(z.string().max(4096)).optional(),
  enabled: z.boolean().optional(),
});
const newDomain = z.object({ domain: fields });
const changedDomain = z.object({ domain: fields.partial() });
const KNOWN = ['id', 'name', 'description', 'enabled', 'options', 'tags', 'links'];

export function domainRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { domains } = api.identity;

  app.get('/v3/domains', async (c) => {
    api.admin(c);
    const found = filterListed(c, await domains.list());
    return renderer.list(
      c,
      'domains',
      found.map((domain) => renderer.domain(c, domain)),
    );
  });

  app.post('/v3/domains', async (c) => {
    const caller = api.admin(c);
    const { domain: wanted } = await readBody(c, newDomain);
    const { name, description, enabled } = wanted;
    const domain = await domains.create({
      name,
      description,
      enabled,
      extra: extraOf(wanted, KNOWN),
    });
    api.audit(caller, 'domain.create', { id: domain.id, name });
    return c.json({ domain: renderer.domain(c, domain) }, 201);
  });

  app.get('/v3/domains/:id', async (c) => {
    const id = pathId(c, 'id', 'domain');
    const caller = api.caller(c);
    if (caller.user.domainId !== id) api.admin(c);
    return c.json({ domain: renderer.domain(c, await domains.get(id)) });
  });

  app.patch('/v3/domains/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'domain');
    const { domain: change } = await readBody(c, changedDomain);
    const { name, description, enabled } = change;
    const extra = extraOf(change, KNOWN);
    const domain = await domains.update(id, defined({ name, description, enabled, extra }));
    api.audit(caller, 'domain.update', { id });
    return c.json({ domain: renderer.domain(c, domain) });
  });

  app.delete('/v3/domains/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'domain');
    await domains.remove(id);
    api.audit(caller, 'domain.delete', { id });
    return c.body(null, 204);
  });
  return app;
}
