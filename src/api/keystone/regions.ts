/** /v3/regions: the cluster's sites, and what operators register beside them. */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { mergeExtra } from '#identity/extra.ts';
import type { Region } from '#identity/records.ts';
import { defined, extraOf, type KeystoneApi, nullable, readBody } from './api.ts';
import { Renderer } from './render.ts';

const fields = z.looseObject({
  id: z.string().min(1).max(255).optional(),
  parent_region_id: nullable(z.string().max(255)).optional(),
  description: nullable(z.string().max(4096)).optional(),
});
const KNOWN = ['id', 'parent_region_id', 'description', 'links'];
const body = z.object({ region: fields });

export function regionRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { regions } = api.identity.context.store;

  app.get('/v3/regions', async (c) => {
    api.caller(c);
    const parent = c.req.query('parent_region_id');
    const found = (await allRegions(api)).filter(
      ({ parentId }) => parent === undefined || parentId === parent,
    );
    return renderer.list(
      c,
      'regions',
      found.map((region) => renderer.region(c, region)),
    );
  });

  app.post('/v3/regions', async (c) => {
    const caller = api.admin(c);
    const { region: wanted } = await readBody(c, body);
    const id = wanted.id ?? api.identity.context.env.random.bytes(16).toString('hex');
    const all = await allRegions(api);
    if (all.some((region) => region.id === id)) {
      throw new OperatingError('conflict', `Duplicate region: ${id}.`);
    }
    const { description = '', parent_region_id: parentId } = wanted;
    expectParent(all, id, parentId);
    const region = { id, description, parentId, extra: extraOf(wanted, KNOWN) };
    await regions.save(region, keyOf(id));
    api.audit(caller, 'region.create', { id });
    return c.json({ region: renderer.region(c, region) }, 201);
  });

  app.get('/v3/regions/:id', async (c) => {
    api.caller(c);
    const id = c.req.param('id');
    const found = (await allRegions(api)).find((region) => region.id === id);
    if (found === undefined) throw notFound(id);
    return c.json({ region: renderer.region(c, found) });
  });

  app.patch('/v3/regions/:id', async (c) => {
    const caller = api.admin(c);
    const id = c.req.param('id');
    const { region: change } = await readBody(c, body);
    const stored = await regions.get(keyOf(id));
    if (stored === undefined) throw fixedOrMissing(api, id);
    const { description, parent_region_id: parentId } = change;
    expectParent(await allRegions(api), id, parentId);
    const extra = mergeExtra(stored.fields.extra, extraOf(change, KNOWN));
    const region = { ...stored.fields, ...defined({ description, parentId }), extra };
    await regions.save(region, keyOf(id));
    api.audit(caller, 'region.update', { id });
    return c.json({ region: renderer.region(c, region) });
  });

  app.delete('/v3/regions/:id', async (c) => {
    const caller = api.admin(c);
    const id = c.req.param('id');
    await expectUnused(api, id);
    if (!(await regions.erase(keyOf(id)))) throw fixedOrMissing(api, id);
    api.audit(caller, 'region.delete', { id });
    return c.body(null, 204);
  });
  return app;
}

export async function allRegions(api: KeystoneApi): Promise<Region[]> {
  const registered = await api.identity.context.store.regions.list();
  return [...sites(api), ...registered.map((stored) => stored.fields)];
}

/** Registers a region that is not there yet. */
export async function makeRegion(api: KeystoneApi, id: string): Promise<void> {
  if ((await allRegions(api)).some((region) => region.id === id)) return;
  await api.identity.context.store.regions.save({ id, description: '' }, keyOf(id));
}

function sites(api: KeystoneApi): Region[] {
  return api.deps.catalogue.sites().map(({ region }) => ({ id: region, description: '' }));
}

/** A region's id is free text: as hex it fits a state key. */
function keyOf(id: string): string {
  return Buffer.from(id.slice(0, 255)).toString('hex');
}

/** @throws OperatingError `not-found`, and `bad-request` where regions would be within each other */
function expectParent(all: readonly Region[], id: string, parentId: string | undefined): void {
  for (let next = parentId, steps = 0; next !== undefined; steps++) {
    if (next === id || steps > all.length) {
      throw new OperatingError('bad-request', 'A region is not within itself.');
    }
    const parent = all.find((region) => region.id === next);
    if (parent === undefined) throw notFound(next);
    next = parent.parentId;
  }
}

/** @throws OperatingError `forbidden` */
async function expectUnused(api: KeystoneApi, id: string): Promise<void> {
  const endpoints = await api.identity.context.store.endpoints.list();
  const isUsed = endpoints.some(({ fields: { regionId } }) => regionId === id);
  const isParent = (await allRegions(api)).some(({ parentId }) => parentId === id);
  if (!isUsed && !isParent) return;
  const what = `Unable to delete region ${id}: it has endpoints or regions within it.`;
  throw new OperatingError('forbidden', what);
}

function fixedOrMissing(api: KeystoneApi, id: string): OperatingError {
  if (!sites(api).some((site) => site.id === id)) return notFound(id);
  return new OperatingError(
    'forbidden',
    'This region belongs to the cluster and follows its sites.',
  );
}

function notFound(id: string): OperatingError {
  return new OperatingError('not-found', `Could not find region: ${id.slice(0, 255)}.`);
}
