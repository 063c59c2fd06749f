/** /v3/projects/ID/tags: labels of a project, one by one or all at once, and lists filtered by them. */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { decodeExtra, encodeExtra } from '#identity/extra.ts';
import type { Project } from '#identity/records.ts';
import { type KeystoneApi, pathId, readBody } from './api.ts';

const MAX_TAGS = 80;

const tagSchema = z
  .string()
  .regex(/^[^,/]{1,255}$/, 'a tag has 1 to 255 characters, no comma or slash');
export const tagsSchema = z
  .array(tagSchema)
  .max(MAX_TAGS)
  .refine((tags) => new Set(tags).size === tags.length, 'tags must differ');

/** In the order that they were given in. */
export function tagsOf({ extra }: Pick<Project, 'extra'>): string[] {
  const { tags } = decodeExtra(extra);
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [];
}

/** `tags`: has all of these; `tags-any`: one of them; `not-tags`, `not-tags-any`: the opposites. */
export function hasWantedTags(c: Context, project: Project): boolean {
  const tags = new Set(tagsOf(project));
  const wanted = (name: string): string[] | undefined =>
    c.req
      .query(name)
      ?.split(',')
      .filter((tag) => tag !== '');
  const all = (names: string[]): boolean => names.every((tag) => tags.has(tag));
  const any = (names: string[]): boolean => names.some((tag) => tags.has(tag));
  const holds = (name: string, test: (names: string[]) => boolean): boolean => {
    const names = wanted(name);
    return names === undefined || test(names);
  };
  return (
    holds('tags', all) &&
    holds('tags-any', any) &&
    holds('not-tags', (names) => !all(names)) &&
    holds('not-tags-any', (names) => !any(names))
  );
}

export function tagRoutes(
  api: KeystoneApi,
  maySee: (c: Context, id: string) => Promise<void>,
): Hono {
  const app = new Hono();
  const [all, one] = ['/v3/projects/:id/tags', '/v3/projects/:id/tags/:tag'];
  const { projects } = api.identity;
  const shown = (c: Context, id: string, tags: readonly string[]) =>
    c.json({
      tags,
      links: { self: api.url(c, `/projects/${id}/tags`), previous: null, next: null },
    });

  const change = async (c: Context, make: (tags: string[]) => string[]): Promise<Project> => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'project');
    const project = await projects.update(id, (stored) => ({
      extra: encodeExtra({ tags: checked(make(tagsOf(stored))) }),
    }));
    api.audit(caller, 'project.tag', { id });
    return project;
  };

  app.get(all, async (c) => {
    const id = pathId(c, 'id', 'project');
    await maySee(c, id);
    return shown(c, id, tagsOf(await projects.get(id)));
  });

  app.put(all, async (c) => {
    api.admin(c);
    const { tags } = await readBody(c, z.object({ tags: tagsSchema }));
    const project = await change(c, () => tags);
    return shown(c, project.id, tagsOf(project));
  });

  app.delete(all, async (c) => {
    await change(c, () => []);
    return c.body(null, 204);
  });

  app.get(one, async (c) => {
    const id = pathId(c, 'id', 'project');
    await maySee(c, id);
    if (!tagsOf(await projects.get(id)).includes(tagIn(c))) throw noTag();
    return c.body(null, 204);
  });

  app.put(one, async (c) => {
    const tag = tagIn(c);
    const { id } = await change(c, (tags) => (tags.includes(tag) ? tags : [...tags, tag]));
    c.header('Location', api.url(c, `/projects/${id}/tags/${encodeURIComponent(tag)}`));
    return c.body(null, 201);
  });

  app.delete(one, async (c) => {
    const unwanted = tagIn(c);
    await change(c, (tags) => {
      if (!tags.includes(unwanted)) throw noTag();
      return tags.filter((tag) => tag !== unwanted);
    });
    return c.body(null, 204);
  });
  return app;
}

function tagIn(c: Context): string {
  return c.req.param('tag') ?? '';
}

/** @throws OperatingError `bad-request` */
function checked(tags: string[]): string[] {
  const parsed = tagsSchema.safeParse(tags);
  if (parsed.success) return parsed.data;
  throw new OperatingError('bad-request', parsed.error.issues[0]?.message ?? 'Invalid tags.');
}

function noTag(): OperatingError {
  return new OperatingError('not-found', 'Could not find project tag.');
}
