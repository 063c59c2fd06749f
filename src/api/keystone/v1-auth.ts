/** Old Swift clients: GET /auth/v1.0 with X-Auth-User `project:user` and X-Auth-Key. */
import { type Context, Hono } from 'hono';
import { accountOf } from '#auth/caller.ts';
import { OperatingError } from '#base/errors.ts';
import type { KeystoneApi } from './api.ts';

const DEFAULT_DOMAIN = { id: 'default' } as const;

export function v1AuthRoutes(api: KeystoneApi): Hono {
  const logIn = async (c: Context): Promise<Response> => {
    const { project, user, password } = credentialsOf(c);
    const { text, fields } = await api.identity.logIns.logIn({
      password: { user: { name: user, domain: DEFAULT_DOMAIN }, password },
      scope: { kind: 'project', name: project, domain: DEFAULT_DOMAIN },
      address: api.deps.address(c),
    });
    const projectId = 'id' in fields.scope ? fields.scope.id : '';
    const [site] = api.deps.catalogue.sites(api.deps.homeRegion(c));
    const lifetime = Math.floor((fields.expiresMs - fields.issuedMs) / 1000);
    c.header(
      'X-Storage-Url',
      `${site?.objectStore ?? api.deps.baseUrl(c)}/v1/${accountOf(projectId)}`,
    );
    c.header('X-Auth-Token', text);
    c.header('X-Storage-Token', text);
    c.header('X-Auth-Token-Expires', String(lifetime));
    return c.text('', 200, { 'Content-Length': '0' });
  };
  const app = new Hono();
  for (const path of ['/auth/v1.0', '/auth/v1', '/v1.0']) app.get(path, logIn);
  return app;
}

function credentialsOf(c: Context): { project: string; user: string; password: string } {
  const name = header(c, 'X-Auth-User') ?? header(c, 'X-Storage-User') ?? '';
  const password = header(c, 'X-Auth-Key') ?? header(c, 'X-Storage-Pass');
  const colon = name.indexOf(':');
  if (colon < 1 || password === undefined) {
    throw new OperatingError('unauthorized', 'X-Auth-User is project:user, with X-Auth-Key.');
  }
  return { project: name.slice(0, colon), user: name.slice(colon + 1), password };
}

/** Header bytes are UTF-8 as clients send them; Node hands them over as Latin-1. */
function header(c: Context, name: string): string | undefined {
  const value = c.req.header(name);
  return value === undefined ? undefined : Buffer.from(value, 'latin1').toString();
}
