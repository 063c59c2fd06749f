/** Records as Keystone's JSON. Absent values are null where Keystone has null. */
import type { Context } from 'hono';
import { decodeExtra } from '#identity/extra.ts';
import type {
  ApplicationCredential,
  Domain,
  Endpoint,
  Group,
  Project,
  Region,
  Role,
  Service,
  User,
} from '#identity/records.ts';
import { isoTime, type KeystoneApi } from './api.ts';

type Json = Record<string, unknown>;

export class Renderer {
  readonly #api: KeystoneApi;

  constructor(api: KeystoneApi) {
    this.#api = api;
  }

  list(c: Context, name: string, items: readonly Json[]): Response {
    const self = this.#api.url(c, c.req.path.replace(/^\/v3/, ''));
    return c.json({ [name]: items, links: { self, previous: null, next: null } });
  }

  #links(c: Context, path: string): Json {
    return { links: { self: this.#api.url(c, path) } };
  }

  domain(c: Context, domain: Domain): Json {
    const { id, name, enabled, description, extra } = domain;
    const links = this.#links(c, `/domains/${id}`);
    return {
      ...{ tags: [], options: {}, ...decodeExtra(extra), id, name, enabled, description },
      ...links,
    };
  }

  project(c: Context, project: Project): Json {
    const { id, name, enabled, description, domainId, parentId, extra } = project;
    return {
      ...{ tags: [], options: {}, ...decodeExtra(extra), id, name, enabled, description },
      ...{ domain_id: domainId, parent_id: parentId ?? domainId, is_domain: false },
      ...this.#links(c, `/projects/${id}`),
    };
  }

  user(c: Context, user: User): Json {
    const { id, name, enabled, description, domainId, email, defaultProjectId, extra } = user;
    return {
      ...{ options: {}, ...decodeExtra(extra), id, name, enabled, domain_id: domainId },
      ...(description !== '' && { description }),
      ...(email !== undefined && { email }),
      ...(defaultProjectId !== undefined && { default_project_id: defaultProjectId }),
      ...{ password_expires_at: null, ...this.#links(c, `/users/${id}`) },
    };
  }

  group(c: Context, group: Group): Json {
    const { id, name, description, domainId, extra } = group;
    const links = this.#links(c, `/groups/${id}`);
    return { ...decodeExtra(extra), id, name, description, domain_id: domainId, ...links };
  }

  role(c: Context, role: Role): Json {
    const { id, name, description, domainId = null, extra } = role;
    const links = this.#links(c, `/roles/${id}`);
    return {
      options: {},
      ...decodeExtra(extra),
      id,
      name,
      description,
      domain_id: domainId,
      ...links,
    };
  }

  service(c: Context, service: Service): Json {
    const { id, type, name, enabled, description, extra } = service;
    const links = this.#links(c, `/services/${id}`);
    return { ...decodeExtra(extra), id, type, name, enabled, description, ...links };
  }

  endpoint(c: Context, endpoint: Endpoint): Json {
    const { id, serviceId, regionId = null, url, enabled, extra } = endpoint;
    return {
      ...{ ...decodeExtra(extra), id, interface: endpoint.interface, service_id: serviceId },
      ...{ region_id: regionId, region: regionId, url: url.replaceAll('%(', '$('), enabled },
      ...this.#links(c, `/endpoints/${id}`),
    };
  }

  region(c: Context, region: Region): Json {
    const { id, parentId = null, description, extra } = region;
    const links = this.#links(c, `/regions/${encodeURIComponent(id)}`);
    return { ...decodeExtra(extra), id, description, parent_region_id: parentId, ...links };
  }

  applicationCredential(
    c: Context,
    credential: ApplicationCredential,
    roles: readonly { readonly id: string; readonly name: string }[],
  ): Json {
    const { id, name, description, projectId, userId, expiresMs, unrestricted } = credential;
    return {
      ...{ id, name, description, project_id: projectId, user_id: userId, unrestricted },
      expires_at: expiresMs === undefined ? null : isoTime(expiresMs),
      roles: roles.map((role) => ({ id: role.id, name: role.name })),
      ...this.#links(c, `/users/${userId}/application_credentials/${id}`),
    };
  }
}
