/** /v3/projects */
import type { Context, Hono } from 'hono';
import { z } from 'zod';
import { domainIdSchema, nameSchema } from '#identity/id.ts';
import { extraOf, isAdmin, isService, type KeystoneApi, notAuthorized, nullable } from './api.ts';
import { filterListed, queryFlag } from './filters.ts';
import { hasWantedTags, tagRoutes, tagsSchema } from './project-tags.ts';
import { relatives } from './project-tree.ts';
import { Renderer } from './render.ts';
import { resourceRoutes } from './resource.ts';

const fields = z.looseObject({
  name: nameSchema.max(64),
  domain_id: nullable(domainIdSchema).optional(),
  parent_id: nullable(domainIdSchema).optional(),
  description: nullable(z.string().max(4096)).optional(),
  enabled: z.boolean().optional(),
  tags: tagsSchema.optional(),
  is_domain: z.literal(false, 'use /v3/domains').optional(),
});
const KNOWN = [
  'id',
  'name',
  'domain_id',
  'parent_id',
  'description',
  'enabled',
  'is_domain',
  'links',
];

export function projectRoutes(api: KeystoneApi): Hono {
  const renderer = new Renderer(api);
  const routes = resourceRoutes(api, {
    kind: 'project',
    fields,
    store: api.identity.projects,
    wanted: (body, caller) => ({
      ...valuesOf(body),
      name: body.name,
      // Without a domain: that of the parent, else the caller's.
      domainId: body.domain_id ?? (body.parent_id ? undefined : caller.user.domainId),
      parentId: body.parent_id,
    }),
    change: valuesOf,
    render: (c, project) => renderer.project(c, project),
    listed: (c, projects) => {
      const wanted = c.req.query('parent_id');
      // A project that acts as a domain is a domain here.
      if (queryFlag(c, 'is_domain') === true) return [];
      return filterListed(c, projects).filter(
        (project) =>
          (wanted === undefined || (project.parentId ?? project.domainId) === wanted) &&
          hasWantedTags(c, project),
      );
    },
    maySee: (c, id) => maySee(api, c, id),
    more: (c, project) => relatives(api, c, project),
  });
  return routes.route(
    '/',
    tagRoutes(api, (c, id) => maySee(api, c, id)),
  );
}

function valuesOf(body: Partial<z.output<typeof fields>>) {
  const { name, description, enabled } = body;
  return { name, description, enabled, extra: extraOf(body, KNOWN) };
}

/** Whoever has a role on the project. A project that is not there is not found, whoever asks. */
async function maySee(api: KeystoneApi, c: Context, id: string): Promise<void> {
  const caller = api.caller(c);
  const { projects, scopes } = api.identity;
  await projects.get(id);
  if (isAdmin(caller) || isService(caller) || caller.project?.id === id) return;
  const roles = await scopes.effectiveRoles(caller.user.id, { kind: 'project', id });
  if (roles.size === 0) throw notAuthorized();
}
