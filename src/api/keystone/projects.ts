/** /v3/projects */
import { Hono } from 'hono';
import { z } from 'zod';
import { domainIdSchema, nameSchema } from '#identity/id.ts';
import {
  defined,
  extraOf,
  filterListed,
  isAdmin,
  isService,
  type KeystoneApi,
  notAuthorized,
  nullable,
  pathId,
  readBody,
} from './api.ts';
import { Renderer } from './render.ts';

const fields = z.looseObject({
  name: nameSchema.max(64),
  domain_id: nullable(domainIdSchema).optional(),
  parent_id: nullable(domainIdSchema).optional(),
  description: nullable(z.string().max(4096)).optional(),
  enabled: z.boolean().optional(),
  is_domain: z.literal(false, 'use /v3/domains').optional(),
});
const newProject = z.object({ project: fields });
const changedProject = z.object({ project: fields.partial() });
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
  const app = new Hono();
  const renderer = new Renderer(api);
  const { projects } = api.identity;

  app.get('/v3/projects', async (c) => {
    api.admin(c);
    const parentId = c.req.query('parent_id');
    const found = filterListed(c, await projects.list()).filter(
      (project) => parentId === undefined || (project.parentId ?? project.domainId) === parentId,
    );
    return renderer.list(
      c,
      'projects',
      found.map((project) => renderer.project(c, project)),
    );
  });

  app.post('/v3/projects', async (c) => {
    const caller = api.admin(c);
    const { project: wanted } = await readBody(c, newProject);
    const { name, description, enabled } = wanted;
    const project = await projects.create({
      ...{ name, description, enabled, extra: extraOf(wanted, KNOWN) },
      domainId: wanted.domain_id ?? caller.user.domainId,
      parentId: wanted.parent_id,
    });
    api.audit(caller, 'project.create', { id: project.id, name });
    return c.json({ project: renderer.project(c, project) }, 201);
  });

  app.get('/v3/projects/:id', async (c) => {
    const caller = api.caller(c);
    const id = pathId(c, 'id', 'project');
    const project = await projects.get(id);
    if (!isAdmin(caller) && !isService(caller) && caller.project?.id !== id) {
      const roles = await api.identity.scopes.effectiveRoles(caller.user.id, {
        kind: 'project',
        id,
      });
      if (roles.size === 0) throw notAuthorized();
    }
    return c.json({ project: renderer.project(c, project) });
  });

  app.patch('/v3/projects/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'project');
    const { project: change } = await readBody(c, changedProject);
    const { name, description, enabled } = change;
    const extra = extraOf(change, KNOWN);
    const project = await projects.update(id, defined({ name, description, enabled, extra }));
    api.audit(caller, 'project.update', { id });
    return c.json({ project: renderer.project(c, project) });
  });

  app.delete('/v3/projects/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'project');
    await projects.remove(id);
    api.audit(caller, 'project.delete', { id });
    return c.body(null, 204);
  });
  return app;
}
