/**
 * Where things lie, over the admin HTTP of any process that may ask replicas:
 *
 *   GET /copies?path=/account/container/object&verify=1&handoffs=6
 *   GET /dispersion          how far apart the replicas of each ring's partitions are
 */
import { Hono } from 'hono';
import { codeOf, messageOf } from '#base/errors.ts';
import { Copies, type CopiesSources, MAX_HANDOFFS } from '#proxy/copies.ts';
import { type Dispersion, dispersionOf } from '#ring/dispersion.ts';
import type { Ring } from '#ring/ring.ts';
import { ringNames } from './status.ts';

const DEFAULT_HANDOFFS = 6;

export function createPlacementAdmin(sources: CopiesSources): Hono {
  const app = new Hono();
  const copies = new Copies(sources);
  app.get('/copies', async (context) => {
    const handoffs = Number(context.req.query('handoffs') ?? DEFAULT_HANDOFFS);
    if (!Number.isSafeInteger(handoffs) || handoffs < 0 || handoffs > MAX_HANDOFFS)
      return context.json({ error: `handoffs: a number up to ${MAX_HANDOFFS}` }, 400);
    const verify = context.req.query('verify') === '1';
    const { signal } = context.req.raw;
    try {
      const path = context.req.query('path') ?? '';
      return context.json(await copies.find(path, { verify, handoffs, signal }));
    } catch (error) {
      const status = codeOf(error) === 'bad-name' ? 400 : 500;
      return context.json({ error: messageOf(error) }, status);
    }
  });
  const measured = new WeakMap<Ring, Dispersion>();
  app.get('/dispersion', (context) => {
    const view = sources.cluster.current();
    const names = Object.keys(ringNames(view));
    const rings = [...view.rings.values()].map((ring, i) => {
      const dispersion = measured.get(ring) ?? dispersionOf(ring);
      measured.set(ring, dispersion);
      return { ring: names[i]!, ...dispersion };
    });
    return context.json({ version: view.version, rings });
  });
  return app;
}
