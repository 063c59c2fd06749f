/**
 * /v3/services, /v3/endpoints, /v3/regions: what operators register beside the cluster's own
 * services (Glance, Cinder). The cluster's own are listed too and cannot be changed here.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { idSchema } from '#identity/id.ts';
import { INTERFACES } from '#identity/records.ts';
import {
  defined,
  extraOf,
  filterListed,
  type KeystoneApi,
  nullable,
  pathId,
  readBody,
} from './api.ts';
import { Renderer } from './render.ts';

const text = nullable(z.string().max(4096)).optional();
const serviceFields = z.looseObject({
  type: z.string().min(1).max(255),
  name: nullable(z.string().max(255)).optional(),
  description: text,
  enabled: z.boolean().optional(),
});
const endpointFields = z.looseObject({
  service_id: idSchema,
  interface: z.enum(INTERFACES),
  region_id: nullable(z.string().max(255)).optional(),
  region: nullable(z.string().max(255)).optional(),
  url: z.string().min(1).max(2048),
  enabled: z.boolean().optional(),
});
const regionFields = z.looseObject({
  id: z.string().min(1).max(255).optional(),
  parent_region_id: nullable(z.string().max(255)).optional(),
  description: text,
});
const KNOWN_SERVICE = ['id', 'type', 'name', 'description', 'enabled', 'links'];
const KNOWN_ENDPOINT = [
  'id',
  'service_id',
  'interface',
  'region_id',
  'region',
  'url',
  'enabled',
  'links',
];
const KNOWN_REGION = ['id', 'parent_region_id', 'description', 'links'];

export function serviceRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { services } = api.identity.context.store;
  const newId = () => api.identity.context.env.random.bytes(16).toString('hex');
  const all = () => api.deps.catalogue.all(api.identity);

  app.get('/v3/services', async (c) => {
    api.admin(c);
    const type = c.req.query('type');
    const found = filterListed(
      c,
      (await all()).map(({ service }) => service),
    );
    const items = found.filter((service) => type === undefined || service.type === type);
    return renderer.list(
      c,
      'services',
      items.map((service) => renderer.service(c, service)),
    );
  });

  app.post('/v3/services', async (c) => {
    const caller = api.admin(c);
    const { service: wanted } = await readBody(c, z.object({ service: serviceFields }));
    const { type, name = '', description = '', enabled = true } = wanted;
    const id = newId();
    const service = { id, type, name, description, enabled, extra: extraOf(wanted, KNOWN_SERVICE) };
    await services.save(service, id);
    api.audit(caller, 'service.create', { id, type });
    return c.json({ service: renderer.service(c, service) }, 201);
  });

  app.get('/v3/services/:id', async (c) => {
    api.admin(c);
    const id = pathId(c, 'id', 'service');
    const found = (await all()).find(({ service }) => service.id === id);
    if (found === undefined) throw notFound('service', id);
    return c.json({ service: renderer.service(c, found.service) });
  });

  app.patch('/v3/services/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'service');
    const { service: change } = await readBody(c, z.object({ service: serviceFields.partial() }));
    const { type, name, description, enabled } = change;
    const stored = await services.get(id);
    if (stored === undefined) throw await fixedOrMissing(api, 'service', id);
    const service = { ...stored.fields, ...defined({ type, name, description, enabled }) };
    await services.save(service, id);
    api.audit(caller, 'service.update', { id });
    return c.json({ service: renderer.service(c, service) });
  });

  app.delete('/v3/services/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'service');
    const { endpoints } = api.identity.context.store;
    if (!(await services.erase(id))) throw await fixedOrMissing(api, 'service', id);
    for (const { fields } of await endpoints.list()) {
      if (fields.serviceId === id) await endpoints.erase(fields.id);
    }
    api.audit(caller, 'service.delete', { id });
    return c.body(null, 204);
  });
  return app.route('/', endpointRoutes(api)).route('/', regionRoutes(api));
}

function endpointRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { endpoints, services } = api.identity.context.store;
  const newId = () => api.identity.context.env.random.bytes(16).toString('hex');
  const all = async () =>
    (await api.deps.catalogue.all(api.identity)).flatMap((entry) => entry.endpoints);

  app.get('/v3/endpoints', async (c) => {
    api.admin(c);
    const asked = [
      ['service_id', 'serviceId'],
      ['region_id', 'regionId'],
      ['interface', 'interface'],
    ] as const;
    const found = (await all()).filter((endpoint) =>
      asked.every(([query, field]) => [undefined, endpoint[field]].includes(c.req.query(query))),
    );
    return renderer.list(
      c,
      'endpoints',
      found.map((endpoint) => renderer.endpoint(c, endpoint)),
    );
  });

  app.post('/v3/endpoints', async (c) => {
    const caller = api.admin(c);
    const { endpoint: wanted } = await readBody(c, z.object({ endpoint: endpointFields }));
    const { service_id: serviceId, url, enabled = true } = wanted;
    if ((await services.get(serviceId)) === undefined)
      throw await fixedOrMissing(api, 'service', serviceId);
    const id = newId();
    const endpoint = {
      ...{ id, serviceId, interface: wanted.interface, url, enabled },
      regionId: wanted.region_id ?? wanted.region,
      extra: extraOf(wanted, KNOWN_ENDPOINT),
    };
    await endpoints.save(endpoint, id);
    api.audit(caller, 'endpoint.create', { id, serviceId, url });
    return c.json({ endpoint: renderer.endpoint(c, endpoint) }, 201);
  });

  app.get('/v3/endpoints/:id', async (c) => {
    api.admin(c);
    const id = pathId(c, 'id', 'endpoint');
    const found = (await all()).find((endpoint) => endpoint.id === id);
    if (found === undefined) throw notFound('endpoint', id);
    return c.json({ endpoint: renderer.endpoint(c, found) });
  });

  app.patch('/v3/endpoints/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'endpoint');
    const { endpoint: change } = await readBody(
      c,
      z.object({ endpoint: endpointFields.partial() }),
    );
    const stored = await endpoints.get(id);
    if (stored === undefined) throw await fixedOrMissing(api, 'endpoint', id);
    const { url, enabled, service_id: serviceId } = change;
    const regionId = change.region_id ?? change.region;
    const sent = defined({ url, enabled, serviceId, regionId, interface: change.interface });
    const endpoint = { ...stored.fields, ...sent };
    await endpoints.save(endpoint, id);
    api.audit(caller, 'endpoint.update', { id });
    return c.json({ endpoint: renderer.endpoint(c, endpoint) });
  });

  app.delete('/v3/endpoints/:id', async (c) => {
    const caller = api.admin(c);
    const id = pathId(c, 'id', 'endpoint');
    if (!(await endpoints.erase(id))) throw await fixedOrMissing(api, 'endpoint', id);
    api.audit(caller, 'endpoint.delete', { id });
    return c.body(null, 204);
  });
  return app;
}

function regionRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { regions } = api.identity.context.store;
  const sites = () =>
    api.deps.catalogue.sites().map(({ region }) => ({ id: region, description: '' }));
  const all = async () => [...sites(), ...(await regions.list()).map(({ fields }) => fields)];

  app.get('/v3/regions', async (c) => {
    api.caller(c);
    return renderer.list(
      c,
      'regions',
      (await all()).map((region) => renderer.region(c, region)),
    );
  });

  app.post('/v3/regions', async (c) => {
    const caller = api.admin(c);
    const { region: wanted } = await readBody(c, z.object({ region: regionFields }));
    const id = wanted.id ?? api.identity.context.env.random.bytes(16).toString('hex');
    if ((await all()).some((region) => region.id === id)) {
      throw new OperatingError('conflict', `Duplicate region: ${id}.`);
    }
    const { description = '', parent_region_id: parentId } = wanted;
    const region = { id, description, parentId, extra: extraOf(wanted, KNOWN_REGION) };
    await regions.save(region, keyOf(id));
    api.audit(caller, 'region.create', { id });
    return c.json({ region: renderer.region(c, region) }, 201);
  });

  app.get('/v3/regions/:id', async (c) => {
    api.caller(c);
    const id = c.req.param('id');
    const found = (await all()).find((region) => region.id === id);
    if (found === undefined) throw notFound('region', id);
    return c.json({ region: renderer.region(c, found) });
  });

  app.patch('/v3/regions/:id', async (c) => {
    const caller = api.admin(c);
    const id = c.req.param('id');
    const { region: change } = await readBody(c, z.object({ region: regionFields }));
    const stored = await regions.get(keyOf(id));
    if (stored === undefined) throw notFound('region', id);
    const { description, parent_region_id: parentId } = change;
    const region = { ...stored.fields, ...defined({ description, parentId }) };
    await regions.save(region, keyOf(id));
    api.audit(caller, 'region.update', { id });
    return c.json({ region: renderer.region(c, region) });
  });

  app.delete('/v3/regions/:id', async (c) => {
    const caller = api.admin(c);
    const id = c.req.param('id');
    if (!(await regions.erase(keyOf(id)))) throw notFound('region', id);
    api.audit(caller, 'region.delete', { id });
    return c.body(null, 204);
  });
  return app;
}

/** A region's id is free text: as hex it fits a state key. */
function keyOf(id: string): string {
  return Buffer.from(id.slice(0, 255)).toString('hex');
}

async function fixedOrMissing(
  api: KeystoneApi,
  what: 'service' | 'endpoint',
  id: string,
): Promise<OperatingError> {
  const own = api.deps.catalogue.builtIn();
  const ids = own.flatMap(({ service, endpoints }) => [service.id, ...endpoints.map((e) => e.id)]);
  if (!ids.includes(id)) return notFound(what, id);
  return new OperatingError(
    'forbidden',
    `This ${what} belongs to the cluster and follows its sites.`,
  );
}

function notFound(what: string, id: string): OperatingError {
  return new OperatingError('not-found', `Could not find ${what}: ${id.slice(0, 255)}.`);
}
