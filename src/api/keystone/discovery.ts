/**
 * Version discovery: `/` answers 300 with the one version there is, `/v3` answers 200. `/healthcheck` is
 * for balancers.
 */
import { type Context, Hono } from 'hono';
import type { KeystoneApi } from './api.ts';

const VERSION = 'v3.14';
const UPDATED = '2020-04-07T00:00:00Z';

export function discoveryRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const version = (c: Context) => ({
    id: VERSION,
    status: 'stable',
    updated: UPDATED,
    links: [{ rel: 'self', href: api.url(c, '/') }],
    'media-types': [
      { base: 'application/json', type: 'application/vnd.openstack.identity-v3+json' },
    ],
  });
  const root = (c: Context) => {
    c.header('Vary', 'X-Auth-Token');
    c.header('Location', api.url(c, '/'));
    return c.json({ versions: { values: [version(c)] } }, 300);
  };
  const v3 = (c: Context) => {
    c.header('Vary', 'X-Auth-Token');
    return c.json({ version: version(c) });
  };
  app.get('/healthcheck', (c) =>
    api.identity.isReady ? c.text('OK') : c.text('starting', 503, { 'Retry-After': '2' }),
  );
  return app.get('/', root).get('/v3', v3).get('/v3/', v3);
}
