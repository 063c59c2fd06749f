/** /v3/domains */
import type { Hono } from 'hono';
import { z } from 'zod';
import { nameSchema } from '#identity/id.ts';
import { extraOf, type KeystoneApi, nullable } from './api.ts';
import { tagsSchema } from './project-tags.ts';
import { Renderer } from './render.ts';
import { resourceRoutes } from './resource.ts';

const fields = z.looseObject({
  name: nameSchema.max(64),
  description: nullable(z.string().max(4096)).optional(),
  enabled: z.boolean().optional(),
  tags: tagsSchema.optional(),
});
const KNOWN = ['id', 'name', 'description', 'enabled', 'options', 'links'];

export function domainRoutes(api: KeystoneApi): Hono {
  const renderer = new Renderer(api);
  return resourceRoutes(api, {
    kind: 'domain',
    fields,
    store: api.identity.domains,
    wanted: (body) => ({ ...valuesOf(body), name: body.name }),
    change: valuesOf,
    render: (c, domain) => renderer.domain(c, domain),
    maySee: (c, id) => {
      if (api.caller(c).user.domainId !== id) api.admin(c);
    },
  });
}

function valuesOf(body: Partial<z.output<typeof fields>>) {
  const { name, description, enabled } = body;
  return { name, description, enabled, extra: extraOf(body, KNOWN) };
}
