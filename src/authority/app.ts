/** The authority's HTTP: `GET /v1/bundle?have=N` gives the bundle in force, 204 when N is it. */

import { Hono } from 'hono';
import type { State } from '#state/state.ts';
import { readBundle } from './publisher.ts';

export function createAuthorityApp(state: State): Hono {
  const app = new Hono();
  app.get('/healthcheck', (context) => context.text('OK'));
  app.get('/v1/bundle', async (context) => {
    const have = Number(context.req.query('have') ?? '0');
    if (!Number.isSafeInteger(have) || have < 0)
      return context.json({ error: 'have: a version number' }, 400);
    const bytes = await readBundle(state, have);
    if (bytes === undefined) return context.body(null, 204);
    return context.body(new Uint8Array(bytes), 200, { 'content-type': 'application/octet-stream' });
  });
  return app;
}
