/** Roles of a project: taken on for a session by whom their trust policies name. */
import { codeOf } from '#base/errors.ts';
import { commit, type IdentityContext, makeId, nowMs } from '../context.ts';
import type { IamRole, Project } from '../records.ts';
import { alreadyExists, deleteConflict, limitExceeded, noSuchEntity } from './faults.ts';
import type { PolicyBook } from './policy-book.ts';

const MAX_ROLES = 1000;

export interface NewIamRole {
  readonly name: string;
  readonly trust: string;
  readonly description?: string;
  readonly maxSessionSeconds?: number;
}

export class RoleBook {
  readonly #context: IdentityContext;
  readonly #book: PolicyBook;

  constructor(context: IdentityContext, book: PolicyBook) {
    this.#context = context;
    this.#book = book;
  }

  async create(project: Project, wanted: NewIamRole): Promise<IamRole> {
    const { iamRoles, names } = this.#context.store;
    const { name, trust, description = '', maxSessionSeconds = 3600 } = wanted;
    if ((await this.list(project.id)).length >= MAX_ROLES)
      throw limitExceeded('RolesPerAccount', MAX_ROLES);
    const id = makeId(this.#context);
    const createdMs = nowMs(this.#context);
    const role: IamRole = {
      ...{ id, name, trust, description, createdMs, maxSessionSeconds },
      projectId: project.id,
    };
    const transaction = {
      compare: [names.free('iam-role', project.id, name)],
      success: [names.take('iam-role', project.id, name, id), iamRoles.put(role, project.id, id)],
    };
    try {
      await commit(this.#context, transaction, name);
    } catch (error) {
      throw codeOf(error) === 'conflict' ? alreadyExists('role', name) : error;
    }
    return role;
  }

  async find(projectId: string, name: string): Promise<IamRole | undefined> {
    const { iamRoles, names } = this.#context.store;
    const id = await names.find('iam-role', projectId, name);
    return id === undefined ? undefined : (await iamRoles.get(projectId, id))?.fields;
  }

  /** @throws OperatingError `iam-no-such-entity` */
  async get(project: Project, name: string): Promise<IamRole> {
    const role = await this.find(project.id, name);
    if (role === undefined) throw noSuchEntity('role', name);
    return role;
  }

  async list(projectId: string): Promise<IamRole[]> {
    return (await this.#context.store.iamRoles.list(projectId)).map(({ fields }) => fields);
  }

  async update(
    project: Project,
    name: string,
    change: Partial<Pick<IamRole, 'trust' | 'description' | 'maxSessionSeconds'>>,
  ): Promise<IamRole> {
    const { iamRoles } = this.#context.store;
    const { id } = await this.get(project, name);
    const stored = await iamRoles.get(project.id, id);
    if (stored === undefined) throw noSuchEntity('role', name);
    const role = { ...stored.fields, ...change };
    const transaction = {
      compare: [iamRoles.unchanged(stored)],
      success: [iamRoles.put(role, project.id, id)],
    };
    await commit(this.#context, transaction, 'The role was changed at the same time.');
    return role;
  }

  /** Sessions in it end: proxies know it no longer. */
  async remove(project: Project, name: string): Promise<void> {
    const { iamRoles, names } = this.#context.store;
    const { id } = await this.get(project, name);
    if ((await this.#book.names(project.id, 'role', id)).length > 0)
      throw deleteConflict('Cannot delete entity, must delete policies first.');
    const transaction = {
      compare: [iamRoles.exists(true, project.id, id)],
      success: [iamRoles.remove(project.id, id), names.release('iam-role', project.id, name)],
    };
    await commit(this.#context, transaction, 'The role was changed at the same time.');
  }
}
