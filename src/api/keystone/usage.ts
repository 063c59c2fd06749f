/**
 * GET /v3/anello/usage, beyond Keystone: what the project of the caller's token holds, also for users who
 * may not ask the object store for its account themselves.
 */
import { type Context, Hono } from 'hono';
import { OperatingError } from '#base/errors.ts';
import { isAdmin, type KeystoneApi, notAuthorized } from './api.ts';

export interface ProjectUsage {
  readonly containers: number;
  readonly objects: number;
  readonly bytes: number;
}

export function usageRoutes(api: KeystoneApi): Hono {
  return new Hono().get('/v3/anello/usage', async (c) => {
    const project = projectOf(api, c);
    const { usage } = api.deps;
    if (usage === undefined)
      throw new OperatingError('not-found', 'There is no object store behind this address.');
    const { containers, objects, bytes } = await usage(project);
    return c.json({ usage: { project_id: project, containers, objects, bytes } });
  });
}

/** One's own; another one's (?project_id=) for administrators. */
function projectOf(api: KeystoneApi, c: Context): string {
  const caller = api.caller(c);
  const wanted = c.req.query('project_id') ?? caller.project?.id;
  if (wanted === undefined) throw new OperatingError('bad-request', 'The token has no project.');
  if (wanted !== caller.project?.id && !isAdmin(caller)) throw notAuthorized();
  if (!api.identity.directory.projects.has(wanted))
    throw new OperatingError('not-found', 'Could not find project.');
  return wanted;
}
