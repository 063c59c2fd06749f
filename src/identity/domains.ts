/** Domains and projects: where users and accounts belong. */
import {
  badRequest,
  commit,
  conflict,
  forbidden,
  type IdentityContext,
  makeId,
  notFound,
} from './context.ts';
import { mergeExtra } from './extra.ts';
import { DEFAULT_DOMAIN_ID } from './id.ts';
import type { Domain, Project } from './records.ts';
import { revoke } from './revocations.ts';

export interface NewDomain {
  readonly name: string;
  readonly id?: string;
  readonly description?: string;
  readonly enabled?: boolean;
  readonly extra?: string;
}

export interface NewProject {
  readonly name: string;
  readonly domainId?: string;
  readonly parentId?: string;
  readonly description?: string;
  readonly enabled?: boolean;
  readonly extra?: string;
}

type Change<Fields> = Partial<
  Pick<Fields, Extract<keyof Fields, 'name' | 'enabled' | 'description' | 'extra'>>
>;

export class Domains {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async get(id: string): Promise<Domain> {
    const stored = await this.#context.store.domains.get(id);
    if (stored === undefined) throw notFound('domain', id);
    return stored.fields;
  }

  async find(name: string): Promise<Domain | undefined> {
    const id = await this.#context.store.names.find('domain', '', name);
    return id === undefined ? undefined : (await this.#context.store.domains.get(id))?.fields;
  }

  async list(): Promise<Domain[]> {
    return (await this.#context.store.domains.list()).map(({ fields }) => fields);
  }

  async create(wanted: NewDomain): Promise<Domain> {
    const { domains, names } = this.#context.store;
    const { name, description = '', enabled = true, extra } = wanted;
    const domain = { id: wanted.id ?? makeId(this.#context), name, description, enabled, extra };
    const transaction = {
      compare: [names.free('domain', '', name), domains.exists(false, domain.id)],
      success: [names.take('domain', '', name, domain.id), domains.put(domain, domain.id)],
    };
    await commit(this.#context, transaction, duplicate('domain', name));
    return domain;
  }

  async update(id: string, change: Change<Domain>): Promise<Domain> {
    const { domains, names } = this.#context.store;
    const stored = await domains.get(id);
    if (stored === undefined) throw notFound('domain', id);
    if (id === DEFAULT_DOMAIN_ID && change.enabled === false) {
      throw forbidden('The default domain cannot be disabled.');
    }
    const extra = mergeExtra(stored.fields.extra, change.extra);
    const domain = { ...stored.fields, ...change, extra };
    const renamed = domain.name !== stored.fields.name;
    const transaction = {
      compare: [
        domains.unchanged(stored),
        ...(renamed ? [names.free('domain', '', domain.name)] : []),
      ],
      success: [
        domains.put(domain, id),
        ...(renamed ? [names.release('domain', '', stored.fields.name)] : []),
        ...(renamed ? [names.take('domain', '', domain.name, id)] : []),
        ...(domain.enabled ? [] : [revoke(this.#context, { kind: 'target', id })]),
      ],
    };
    await commit(this.#context, transaction, duplicate('domain', domain.name));
    return domain;
  }

  /** Only an empty, disabled one: what is in it must be removed by whoever knows what it is. */
  async remove(id: string): Promise<void> {
    const { domains, names, projects, users, groups } = this.#context.store;
    const stored = await domains.get(id);
    if (stored === undefined) throw notFound('domain', id);
    if (stored.fields.enabled) throw forbidden('A domain must be disabled before it is deleted.');
    const inside = [...(await projects.list()), ...(await users.list()), ...(await groups.list())];
    if (inside.some(({ fields }) => fields.domainId === id)) {
      throw conflict('The domain still has projects, users or groups.');
    }
    const transaction = {
      compare: [domains.unchanged(stored)],
      success: [domains.remove(id), names.release('domain', '', stored.fields.name)],
    };
    await commit(this.#context, transaction, 'The domain was changed at the same time.');
  }
}

export class Projects {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async get(id: string): Promise<Project> {
    const stored = await this.#context.store.projects.get(id);
    if (stored === undefined) throw notFound('project', id);
    return stored.fields;
  }

  async find(name: string, domainId = DEFAULT_DOMAIN_ID): Promise<Project | undefined> {
    const id = await this.#context.store.names.find('project', domainId, name);
    return id === undefined ? undefined : (await this.#context.store.projects.get(id))?.fields;
  }

  async list(): Promise<Project[]> {
    return (await this.#context.store.projects.list()).map(({ fields }) => fields);
  }

  async create(wanted: NewProject): Promise<Project> {
    const { domains, projects, names } = this.#context.store;
    const { name, description = '', enabled = true } = wanted;
    const { domainId, parentId } = await this.#placeOf(wanted);
    if ((await domains.get(domainId)) === undefined) throw badRequest('No such domain.');
    const id = makeId(this.#context);
    const project = { id, name, domainId, parentId, enabled, description, extra: wanted.extra };
    const transaction = {
      compare: [
        names.free('project', domainId, name),
        domains.exists(true, domainId),
        ...(parentId === undefined ? [] : [projects.exists(true, parentId)]),
      ],
      success: [names.take('project', domainId, name, id), projects.put(project, id)],
    };
    await commit(this.#context, transaction, duplicate('project', name));
    return project;
  }

  /** A change may depend on what is stored: it is made of just that, or conflicts. */
  async update(
    id: string,
    wanted: Change<Project> | ((stored: Project) => Change<Project>),
  ): Promise<Project> {
    const { projects, names } = this.#context.store;
    const stored = await projects.get(id);
    if (stored === undefined) throw notFound('project', id);
    const change = typeof wanted === 'function' ? wanted(stored.fields) : wanted;
    const extra = mergeExtra(stored.fields.extra, change.extra);
    const project = { ...stored.fields, ...change, extra };
    const { domainId } = project;
    const renamed = project.name !== stored.fields.name;
    const transaction = {
      compare: [
        projects.unchanged(stored),
        ...(renamed ? [names.free('project', domainId, project.name)] : []),
      ],
      success: [
        projects.put(project, id),
        ...(renamed ? [names.release('project', domainId, stored.fields.name)] : []),
        ...(renamed ? [names.take('project', domainId, project.name, id)] : []),
        ...(project.enabled ? [] : [revoke(this.#context, { kind: 'target', id })]),
      ],
    };
    await commit(this.#context, transaction, duplicate('project', project.name));
    return project;
  }

  /** A parent is another project, or the domain itself. @throws OperatingError `not-found`, `bad-request` */
  async #placeOf(wanted: Pick<NewProject, 'domainId' | 'parentId'>) {
    const { parentId, domainId } = wanted;
    if (parentId === undefined) return { domainId: domainId ?? DEFAULT_DOMAIN_ID };
    if (parentId === domainId) return { domainId };
    const { domains } = this.#context.store;
    if (domainId === undefined && (await domains.get(parentId))) return { domainId: parentId };
    const parent = await this.get(parentId);
    if (domainId !== undefined && parent.domainId !== domainId) {
      throw badRequest('A project belongs to the domain of its parent.');
    }
    return { domainId: parent.domainId, parentId };
  }

  /** The account's data is not touched: its owner is gone, a ResellerAdmin can still remove it. */
  async remove(id: string): Promise<void> {
    const { projects, names } = this.#context.store;
    const stored = await projects.get(id);
    if (stored === undefined) throw notFound('project', id);
    const children = (await this.list()).filter(({ parentId }) => parentId === id);
    if (children.length > 0) throw forbidden('The project has child projects.');
    const { name, domainId } = stored.fields;
    const transaction = {
      compare: [projects.unchanged(stored)],
      success: [projects.remove(id), names.release('project', domainId, name)],
    };
    await commit(this.#context, transaction, 'The project was changed at the same time.');
  }
}

function duplicate(what: string, name: string): string {
  return `Conflict occurred attempting to store ${what} - Duplicate entry found with name ${name}.`;
}
