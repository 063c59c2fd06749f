/**
 * GET /v3/anello/usage, beyond Keystone: what the project of the caller's token holds, and may hold, also
 * for users who may not ask the object store for its account themselves.
 */
import { type Context, Hono } from 'hono';
import { OperatingError } from '#base/errors.ts';
import { isAdmin, type KeystoneApi, notAuthorized } from './api.ts';

export interface ProjectUsage {
  readonly containers: number;
  readonly objects: number;
  readonly bytes: number;
  /** Of the account: its quota stands among them. */
  readonly headers: Readonly<Record<string, string>>;
}

export function usageRoutes(api: KeystoneApi): Hono {
  return new Hono().get('/v3/anello/usage', async (c) => {
    const project = projectOf(api, c);
    const { usage } = api.deps;
    if (usage === undefined)
      throw new OperatingError('not-found', 'There is no object store behind this address.');
    const { containers, objects, bytes, headers } = await usage(project);
    const quota = { bytes: limitOf(headers, 'bytes'), objects: limitOf(headers, 'count') };
    return c.json({ usage: { project_id: project, containers, objects, bytes, quota } });
  });
}

/** Null: there is no limit. */
function limitOf(headers: ProjectUsage['headers'], what: 'bytes' | 'count'): number | null {
  const text = headers[`x-account-meta-quota-${what}`];
  return text === undefined ? null : Number(text);
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
