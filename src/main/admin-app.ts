/**
 * A process's admin HTTP, for operators' tools on the machine's own address: /healthcheck, /metrics
 * (Prometheus), /status (JSON), /trace/TXID.
 */

import { Hono } from 'hono';
import type { Registry } from 'prom-client';

export interface AdminSources {
  readonly registry: Registry;
  readonly healthy: () => boolean;
  readonly status: () => unknown;
  /** Steps of a transaction that this process remembers; undefined: none. */
  readonly trace: (txn: string) => unknown;
}

const TXN = /^[\w.:-]{1,128}$/;

export function createAdminApp(sources: AdminSources): Hono {
  const app = new Hono();
  app.get('/healthcheck', (context) =>
    sources.healthy() ? context.text('OK') : context.text('starting', 503),
  );
  app.get('/metrics', async (context) => {
    const text = await sources.registry.metrics();
    return context.text(text, 200, { 'content-type': sources.registry.contentType });
  });
  app.get('/status', (context) => context.json(sources.status()));
  app.get('/trace/:txn', (context) => {
    const txn = context.req.param('txn');
    if (!TXN.test(txn)) return context.json({ error: 'not a transaction id' }, 400);
    const found = sources.trace(txn);
    return found === undefined ? context.json({ error: 'unknown here' }, 404) : context.json(found);
  });
  app.notFound((context) => context.json({ error: 'unknown path' }, 404));
  return app;
}
