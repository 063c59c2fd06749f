/**
 * The far links of a cluster on one machine, cut and mended over the admin HTTP. Only where links are made
 * long (`anello up --rtt`): a real network is cut where it is real.
 *
 *   POST /links/cut {sites: ["bari"]}    these sites are cut off from all others, and no other site is
 */
import { Hono } from 'hono';
import { z } from 'zod';
import type { NodeConfig } from '#config/node-config.ts';
import type { Address } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';

export interface LinkAdminSources {
  readonly config: Pick<NodeConfig, 'site' | 'rttMs' | 'siteRttMs' | 'proxyWorkers'>;
  readonly cluster: ClusterSource;
  readonly env: { readonly network: { cut(addresses: readonly Address[]): void } };
}

const CANNOT = 'only links made long (--rtt) can be cut, and only where there are no proxy workers';
const schema = z.object({ sites: z.array(z.string().max(64)).max(64) }).strict();

export function createLinkAdmin({ config, cluster, env }: LinkAdminSources): Hono {
  const app = new Hono();
  app.post('/links/cut', async (context) => {
    const isJson = context.req.header('content-type') === 'application/json';
    const body = isJson ? await context.req.json().catch(() => undefined) : undefined;
    const parsed = schema.safeParse(body);
    if (!parsed.success) return context.json({ error: 'not {"sites": [...]} as JSON' }, 400);
    const nodes = [...cluster.current().nodes.values()];
    const { sites } = parsed.data;
    const unknown = sites.find((site) => !nodes.some((node) => node.site === site));
    if (unknown !== undefined) return context.json({ error: `no node is at "${unknown}"` }, 400);
    if (!canCut(config)) return context.json({ error: CANNOT }, 400);
    const isCut = (site: string): boolean =>
      site !== config.site && (sites.includes(site) || sites.includes(config.site));
    const cut = nodes.filter(({ site }) => isCut(site));
    env.network.cut(cut.map(({ wire }) => wire));
    return context.json({ cut: cut.map(({ name }) => name) });
  });
  return app;
}

/** Workers have connections of their own, which nobody would cut. */
function canCut({ rttMs, siteRttMs, proxyWorkers }: LinkAdminSources['config']): boolean {
  return rttMs > 0 && Object.values(siteRttMs).every((ms) => ms > 0) && proxyWorkers === 0;
}
