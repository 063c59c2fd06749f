/**
 * What an operator asks of a storage node over its admin HTTP, beside /status:
 *
 *   GET    /durability?maxAgeMs=N     the durability meter, at most so old
 *   POST   /audit/run    {device?}    reads everything again, now
 *   POST   /audit/rate   {device?, bytesPerSecond: N|null}
 *   GET    /repair                   limits in force, progress, debt
 *   POST   /repair       {concurrency: 8, paused: null, ...}   changes limits (ring/repair-limits.ts)
 *   POST   /repair/hold {seconds}     no background job works for so long; 0: they go on
 *   GET    /loss?device=N            what keeps a device from being complete (repair/loss.ts)
 *   POST   /loss         {device}     accepts that: complete with what is left
 *   GET    /import                   how far the import of a removed device is
 *   POST   /import       {path, prefix?, dryRun?}   begins one
 *   GET    /quarantine?limit=N        what was found damaged and kept
 *   DELETE /quarantine   {device?}    removes that
 *
 * What changes something takes JSON only, so that no web page can send it from a browser.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { Device } from '#device/contract.ts';
import type { Auditor } from '#object/auditor.ts';
import type { DurabilityReport } from '#object/durability-report.ts';
import type { RingLoss } from '#repair/loss.ts';
import { repairChangesSchema } from '#ring/repair-limits.ts';
import type { DeviceImport } from './device-import.ts';
import type { RepairSettings } from './repair-settings.ts';

export interface StorageAdmin {
  readonly auditor: Auditor;
  durability(maxAgeMs: number): Promise<DurabilityReport>;
  devices(): ReadonlyMap<number, Device>;
  readonly repair: RepairSettings;
  repairStatus(): unknown;
  hold(ms: number): void;
  loss(device: number): RingLoss[] | undefined;
  acceptLoss(device: number): void;
  readonly imports: DeviceImport;
}

const deviceSchema = z.object({ device: z.number().int().nonnegative().optional() });
const rateSchema = deviceSchema.extend({
  bytesPerSecond: z.number().positive().max(1e11).nullable(),
});
const holdSchema = z.object({ seconds: z.number().min(0).max(3_600) });
const lossSchema = z.object({ device: z.number().int().nonnegative() });
const importSchema = z.object({
  path: z.string().startsWith('/').max(4_096),
  prefix: z.string().startsWith('/').max(4_096).optional(),
  dryRun: z.boolean().optional(),
});
const MAX_AGE_MS = 3_600_000;
const MAX_ITEMS = 10_000;

export function createStorageAdmin(storage: StorageAdmin): Hono {
  const { auditor, durability, devices } = storage;
  const app = new Hono();
  const chosen = (id: number | undefined): Device[] =>
    [...devices().values()].filter((device) => id === undefined || device.id === id);

  app.get('/durability', async (context) => {
    return context.json(await durability(numberOf(context, 'maxAgeMs', 0, MAX_AGE_MS)));
  });
  app.post('/audit/run', async (context) => {
    const { device } = await bodyOf(context, deviceSchema);
    auditor.run(device);
    return context.json({ devices: chosen(device).map(({ id }) => id) });
  });
  app.post('/audit/rate', async (context) => {
    const { device, bytesPerSecond } = await bodyOf(context, rateSchema);
    await auditor.setRate(device, bytesPerSecond ?? undefined);
    return context.json({ devices: chosen(device).map(({ id }) => id) });
  });
  app.get('/quarantine', async (context) => {
    const limit = numberOf(context, 'limit', 1000, MAX_ITEMS);
    const found = chosen(undefined).map(async ({ id, name, path, quarantined }) => {
      const items = await quarantined.list(limit);
      return { device: id, name, path, count: quarantined.count, items };
    });
    return context.json({ devices: await Promise.all(found) });
  });
  app.delete('/quarantine', async (context) => {
    const { device } = await bodyOf(context, deviceSchema);
    const cleared = chosen(device).map(async ({ id, quarantined }) => {
      return { device: id, cleared: await quarantined.clear() };
    });
    return context.json({ devices: await Promise.all(cleared) });
  });
  app.get('/repair', (context) => context.json(storage.repairStatus()));
  app.post('/repair', async (context) => {
    const changes = await bodyOf(context, repairChangesSchema);
    return context.json({ limits: await storage.repair.change(changes).catch(asWrongUse) });
  });
  app.post('/repair/hold', async (context) => {
    const { seconds } = await bodyOf(context, holdSchema);
    storage.hold(seconds * 1_000);
    return context.json({ seconds });
  });
  app.get('/loss', (context) => {
    const device = numberOf(context, 'device', 0, Number.MAX_SAFE_INTEGER);
    return context.json({ device, rings: storage.loss(device) ?? null });
  });
  app.post('/loss', async (context) => {
    const { device } = await bodyOf(context, lossSchema);
    const rings = storage.loss(device) ?? null;
    if (rings?.some(({ short }) => short > 0)) storage.acceptLoss(device);
    return context.json({ device, rings });
  });
  app.get('/import', (context) => context.json(storage.imports.status()));
  app.post('/import', async (context) => {
    const order = await bodyOf(context, importSchema);
    await storage.imports.start(order).catch(asWrongUse);
    return context.json(storage.imports.status());
  });
  app.onError((error, context) =>
    error instanceof WrongUse
      ? context.json({ error: error.message }, 400)
      : context.json({ error: error.message }, 500),
  );
  return app;
}

class WrongUse extends Error {}

function asWrongUse(error: unknown): never {
  throw error instanceof OperatingError ? new WrongUse(error.message) : error;
}

async function bodyOf<Value>(context: Context, schema: z.ZodType<Value>): Promise<Value> {
  if (context.req.header('content-type') !== 'application/json') throw new WrongUse('not JSON');
  const parsed = schema.safeParse(await context.req.json().catch(() => undefined));
  if (!parsed.success) throw new WrongUse(z.prettifyError(parsed.error));
  return parsed.data;
}

function numberOf(context: Context, name: string, otherwise: number, most: number): number {
  const text = context.req.query(name);
  if (text === undefined) return otherwise;
  if (!/^\d{1,15}$/.test(text)) throw new WrongUse(`${name} is no number`);
  return Math.min(most, Number(text));
}
