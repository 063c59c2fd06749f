/**
 * The service catalogue: the cluster's own services, one region per site, and what operators
 * registered beside them (Glance, Cinder). The region of the proxy that was asked comes first,
 * because clients that name no region take the first.
 */
import { createHash } from 'node:crypto';
import type { Identity } from '#identity/identity.ts';
import { type Endpoint, INTERFACES, type Service } from '#identity/records.ts';

/** Base URLs of one site's services: `http://host:port`. */
export interface CatalogueSite {
  /** The site's name: lngs, bari, padova. */
  readonly region: string;
  readonly objectStore: string;
  readonly identity: string;
  readonly s3?: string;
}

export interface CatalogueService {
  readonly service: Service;
  readonly endpoints: readonly Endpoint[];
}

const MAX_BUILT = 64;

export class Catalogue {
  readonly #sites: () => readonly CatalogueSite[];
  readonly #built = new Map<string, readonly CatalogueService[]>();

  /** `sites` is asked every time: ports and sites may change while we run. */
  constructor(sites: () => readonly CatalogueSite[]) {
    this.#sites = sites;
  }

  /** Sites, that of `home` first. */
  sites(home?: string): CatalogueSite[] {
    const sites = this.#sites();
    return [
      ...sites.filter(({ region }) => region === home),
      ...sites.filter(({ region }) => region !== home),
    ];
  }

  /** The cluster's own services. Ids are made from what they name: the same in every process. */
  builtIn(home?: string): readonly CatalogueService[] {
    const sites = this.sites(home);
    const key = JSON.stringify(sites);
    const known = this.#built.get(key);
    if (known !== undefined) return known;
    const built = ownServices(sites);
    // One per home region; more only when sites have changed.
    if (this.#built.size >= MAX_BUILT) this.#built.clear();
    this.#built.set(key, built);
    return built;
  }

  async all(identity: Identity, home?: string): Promise<CatalogueService[]> {
    const { services, endpoints } = identity.context.store;
    const registered = await endpoints.list();
    const others = (await services.list()).map(({ fields: service }) => ({
      service,
      endpoints: registered
        .map(({ fields }) => fields)
        .filter(({ serviceId }) => serviceId === service.id),
    }));
    return [...this.builtIn(home), ...others];
  }

  /** As a token's `catalog`: only what is enabled, URLs filled in. */
  async render(
    identity: Identity,
    home: string | undefined,
    values: { readonly projectId?: string; readonly userId: string },
  ): Promise<unknown[]> {
    const services = await this.all(identity, home);
    return services
      .filter(({ service }) => service.enabled)
      .map(({ service, endpoints }) => ({
        id: service.id,
        type: service.type,
        name: service.name,
        endpoints: endpoints.flatMap((endpoint) => {
          const url = fillIn(endpoint.url, values);
          return url === undefined || !endpoint.enabled ? [] : [renderEndpoint(endpoint, url)];
        }),
      }))
      .filter(({ endpoints }) => endpoints.length > 0);
  }
}

function ownServices(sites: readonly CatalogueSite[]): CatalogueService[] {
  return [
    ownService(
      'object-store',
      'swift',
      sites,
      (site) => `${site.objectStore}/v1/AUTH_%(project_id)s`,
    ),
    ownService('identity', 'keystone', sites, (site) => `${site.identity}/v3`),
    ownService('s3', 's3', sites, (site) => site.s3),
  ].filter(({ endpoints }) => endpoints.length > 0);
}

function ownService(
  type: string,
  name: string,
  sites: readonly CatalogueSite[],
  urlOf: (site: CatalogueSite) => string | undefined,
): CatalogueService {
  const id = madeId(type);
  const endpoints = sites.flatMap((site) => {
    const url = urlOf(site);
    if (url === undefined) return [];
    return INTERFACES.map((kind) => ({
      id: madeId(type, site.region, kind),
      serviceId: id,
      interface: kind,
      regionId: site.region,
      url,
      enabled: true,
    }));
  });
  return { service: { id, type, name, enabled: true, description: '' }, endpoints };
}

function madeId(...parts: readonly string[]): string {
  return createHash('sha256')
    .update(`anello catalogue\0${parts.join('\0')}`)
    .digest('hex')
    .slice(0, 32);
}

function renderEndpoint(endpoint: Endpoint, url: string): Record<string, unknown> {
  const { id, regionId = null } = endpoint;
  return { id, interface: endpoint.interface, region_id: regionId, region: regionId, url };
}

/** Undefined: it needs a project and there is none, so an unscoped token does not see it. */
function fillIn(
  url: string,
  values: { readonly projectId?: string; readonly userId: string },
): string | undefined {
  let missing = false;
  const filled = url.replace(/[%$]\((project_id|tenant_id|user_id)\)s/g, (_, name: string) => {
    const value = name === 'user_id' ? values.userId : values.projectId;
    missing ||= value === undefined;
    return value ?? '';
  });
  return missing ? undefined : filled;
}
