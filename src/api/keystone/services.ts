/**
 * /v3/services and /v3/endpoints: what operators register beside the cluster's own
 * services (Glance, Cinder). The cluster's own are listed too and cannot be changed here.
 */
import { Hono } from 'hono';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { mergeExtra } from '#identity/extra.ts';
import { idSchema } from '#identity/id.ts';
import { INTERFACES } from '#identity/records.ts';
import { defined, extraOf, type KeystoneApi, nullable, pathId, readBody } from './api.ts';
import { filterListed } from './filters.ts';
import { allRegions, makeRegion } from './regions.ts';
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
    const extra = mergeExtra(stored.fields.extra, extraOf(change, KNOWN_SERVICE));
    const sent = defined({ type, name, description, enabled });
    const service = { ...stored.fields, ...sent, extra };
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
  return app.route('/', endpointRoutes(api));
}

function endpointRoutes(api: KeystoneApi): Hono {
  const app = new Hono();
  const renderer = new Renderer(api);
  const { endpoints } = api.identity.context.store;
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
    // `region` is the older name, and one that was not made before was no mistake then.
    if (wanted.region !== undefined) await makeRegion(api, wanted.region);
    const regionId = wanted.region_id ?? wanted.region;
    await expectPlace(api, serviceId, regionId);
    const id = newId();
    const endpoint = {
      ...{ id, serviceId, interface: wanted.interface, url, enabled, regionId },
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
    await expectPlace(api, serviceId, regionId);
    const extra = mergeExtra(stored.fields.extra, extraOf(change, KNOWN_ENDPOINT));
    const endpoint = { ...stored.fields, ...sent, extra };
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

/** What an endpoint is of must be there. @throws OperatingError `not-found`, `forbidden`, `bad-request` */
async function expectPlace(
  api: KeystoneApi,
  serviceId: string | undefined,
  regionId: string | undefined,
): Promise<void> {
  const { services } = api.identity.context.store;
  if (serviceId !== undefined && (await services.get(serviceId)) === undefined) {
    throw await fixedOrMissing(api, 'service', serviceId);
  }
  if (regionId === undefined || (await allRegions(api)).some(({ id }) => id === regionId)) return;
  throw new OperatingError('bad-request', `Could not find region: ${regionId}.`);
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
