/**
 * Users and groups that a project makes for itself. They are ordinary users and groups of identity, in a
 * domain of the project's own: their names collide with nobody's, and nothing but S3 keys and the
 * project's policies makes them anybody. Users and groups that an administrator gave a role in the project
 * can have policies there, too; keys and membership of theirs are not the project's to change.
 */
import { codeOf } from '#base/errors.ts';
import { type IdentityContext, nowMs } from '../context.ts';
import type { Credentials, KeyFacts, KeyPair } from '../credentials.ts';
import type { Domains } from '../domains.ts';
import type { Groups } from '../groups.ts';
import type { Group, Project, User } from '../records.ts';
import type { Grants } from '../roles.ts';
import type { Users } from '../users.ts';
import { alreadyExists, deleteConflict, limitExceeded, noSuchEntity } from './faults.ts';
import { iamDomainId, iamDomainName } from './names.ts';
import type { PolicyBook } from './policy-book.ts';

export interface PeopleParts {
  readonly users: Users;
  readonly groups: Groups;
  readonly domains: Domains;
  readonly grants: Grants;
  readonly credentials: Credentials;
  readonly book: PolicyBook;
}

export interface Person {
  readonly id: string;
  readonly name: string;
  /** Absent of who was not made here. */
  readonly createdMs?: number;
}

const MAX_USERS = 5000;
export const MAX_GROUPS = 300;
const MAX_KEYS_PER_USER = 2;
const MAX_GROUPS_PER_USER = 10;

export class People {
  readonly #context: IdentityContext;
  readonly #parts: PeopleParts;

  constructor(context: IdentityContext, parts: PeopleParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async createUser(project: Project, name: string): Promise<Person> {
    const { iamUsers } = this.#context.store;
    const { users } = this.#parts;
    if ((await iamUsers.list(project.id)).length >= MAX_USERS)
      throw limitExceeded('UsersPerAccount', MAX_USERS);
    // Both would be `user/NAME` to the project's policies.
    if ((await this.#granted(project, 'user', name)) !== undefined)
      throw alreadyExists('user', name);
    const domainId = await this.#domain(project);
    const { id } = await making('user', name, () => users.create({ name, domainId }));
    const createdMs = nowMs(this.#context);
    await iamUsers.save({ createdMs }, project.id, id);
    return { id, name, createdMs };
  }

  async createGroup(project: Project, name: string): Promise<Person> {
    const { iamGroups } = this.#context.store;
    if ((await iamGroups.list(project.id)).length >= MAX_GROUPS)
      throw limitExceeded('GroupsPerAccount', MAX_GROUPS);
    if ((await this.#granted(project, 'group', name)) !== undefined)
      throw alreadyExists('group', name);
    const domainId = await this.#domain(project);
    const { groups } = this.#parts;
    const { id } = await making('group', name, () => groups.create({ name, domainId }));
    const createdMs = nowMs(this.#context);
    await iamGroups.save({ createdMs }, project.id, id);
    return { id, name, createdMs };
  }

  /** Undefined: the project made none of this name. */
  async find(project: Project, name: string): Promise<Person | undefined> {
    const user = await this.#parts.users.find(name, iamDomainId(project.id));
    const made = user && (await this.#context.store.iamUsers.get(project.id, user.id));
    return made && { id: user.id, name, createdMs: made.fields.createdMs };
  }

  /** @throws OperatingError `iam-no-such-entity` */
  async user(project: Project, name: string): Promise<Person> {
    const user = await this.find(project, name);
    if (user === undefined) throw noSuchEntity('user', name);
    return user;
  }

  async group(project: Project, name: string): Promise<Person> {
    const group = await this.#parts.groups.find(name, iamDomainId(project.id));
    const made = group && (await this.#context.store.iamGroups.get(project.id, group.id));
    if (group === undefined || made === undefined) throw noSuchEntity('group', name);
    return { id: group.id, name, createdMs: made.fields.createdMs };
  }

  /** Also one to whom an administrator gave a role in the project: who may have policies in it. */
  async owner(project: Project, kind: 'user' | 'group', name: string): Promise<Person> {
    try {
      return await (kind === 'user' ? this.user(project, name) : this.group(project, name));
    } catch (error) {
      const granted = await this.#granted(project, kind, name);
      if (granted === undefined) throw error;
      return { id: granted.id, name };
    }
  }

  async users(project: Project): Promise<Person[]> {
    const { iamUsers, users } = this.#context.store;
    return this.#named(await iamUsers.list(project.id), (id) => users.get(id));
  }

  async groups(project: Project): Promise<Person[]> {
    const { iamGroups, groups } = this.#context.store;
    return this.#named(await iamGroups.list(project.id), (id) => groups.get(id));
  }

  async #named(
    listed: readonly { readonly key: string; readonly fields: { readonly createdMs: number } }[],
    get: (id: string) => Promise<{ readonly fields: { readonly name: string } } | undefined>,
  ): Promise<Person[]> {
    const found = await Promise.all(
      listed.map(async ({ key, fields: { createdMs } }) => {
        const id = key.slice(key.lastIndexOf('/') + 1);
        const stored = await get(id);
        return stored && { id, name: stored.fields.name, createdMs };
      }),
    );
    return found.filter((person) => person !== undefined);
  }

  async renameUser(project: Project, name: string, newName: string): Promise<void> {
    const { id } = await this.user(project, name);
    if (newName === name) return;
    await making('user', newName, () => this.#parts.users.update(id, { name: newName }));
  }

  /** As IAM does, only one without keys, policies and groups: nothing goes by mistake. */
  async deleteUser(project: Project, name: string): Promise<void> {
    const { id } = await this.user(project, name);
    const { users, groups, book } = this.#parts;
    if ((await this.keys(project, id)).length > 0)
      throw deleteConflict('Cannot delete entity, must delete access keys first.');
    if ((await book.names(project.id, 'user', id)).length > 0)
      throw deleteConflict('Cannot delete entity, must delete policies first.');
    if ((await groups.ofUser(id)).length > 0)
      throw deleteConflict('Cannot delete entity, must remove users from group first.');
    await users.remove(id);
    await this.#context.store.iamUsers.erase(project.id, id);
  }

  async deleteGroup(project: Project, name: string): Promise<void> {
    const { id } = await this.group(project, name);
    const { groups, book } = this.#parts;
    if ((await groups.members(id)).length > 0)
      throw deleteConflict('Cannot delete entity, must remove users from group first.');
    if ((await book.names(project.id, 'group', id)).length > 0)
      throw deleteConflict('Cannot delete entity, must delete policies first.');
    await groups.remove(id);
    await this.#context.store.iamGroups.erase(project.id, id);
  }

  async join(project: Project, groupName: string, userName: string): Promise<void> {
    const group = await this.group(project, groupName);
    const user = await this.user(project, userName);
    const { groups } = this.#parts;
    const known = await groups.ofUser(user.id);
    if (!known.includes(group.id) && known.length >= MAX_GROUPS_PER_USER)
      throw limitExceeded('GroupsPerUser', MAX_GROUPS_PER_USER);
    await groups.addMember(group.id, user.id);
  }

  async leave(project: Project, groupName: string, userName: string): Promise<void> {
    const group = await this.group(project, groupName);
    const user = await this.user(project, userName);
    if (!(await this.#parts.groups.removeMember(group.id, user.id)))
      throw noSuchEntity('user', userName);
  }

  async groupsOf(project: Project, userName: string): Promise<Person[]> {
    const { id } = await this.user(project, userName);
    const ids = new Set(await this.#parts.groups.ofUser(id));
    return (await this.groups(project)).filter((group) => ids.has(group.id));
  }

  async members(project: Project, groupName: string): Promise<Person[]> {
    const { id } = await this.group(project, groupName);
    const ids = new Set(await this.#parts.groups.members(id));
    return (await this.users(project)).filter((user) => ids.has(user.id));
  }

  keys(project: Project, userId: string): Promise<KeyFacts[]> {
    return this.#parts.credentials.accessKeysOf(userId, project.id);
  }

  async createKey(project: Project, userId: string): Promise<KeyPair> {
    if ((await this.keys(project, userId)).length >= MAX_KEYS_PER_USER)
      throw limitExceeded('AccessKeysPerUser', MAX_KEYS_PER_USER);
    return this.#parts.credentials.createKeyPair({ userId, projectId: project.id });
  }

  /** Of this user, in this project. @throws OperatingError `iam-no-such-entity` */
  async key(project: Project, userId: string, access: string): Promise<KeyFacts> {
    const found = (await this.keys(project, userId)).find((key) => key.access === access);
    if (found === undefined) throw noSuchEntity('access key', access);
    return found;
  }

  async deleteKey(project: Project, userId: string, access: string): Promise<void> {
    const { credentialId } = await this.key(project, userId, access);
    await this.#parts.credentials.remove(credentialId);
  }

  async activateKey(
    project: Project,
    userId: string,
    access: string,
    active: boolean,
  ): Promise<void> {
    await this.key(project, userId, access);
    await this.#parts.credentials.activate(access, active);
  }

  /** Whom an administrator gave a role in the project, by a name in the project's domain. */
  async #granted(
    project: Project,
    kind: 'user' | 'group',
    name: string,
  ): Promise<User | Group | undefined> {
    const { users, groups, grants } = this.#parts;
    const found = await (kind === 'user' ? users : groups).find(name, project.domainId);
    if (found === undefined) return undefined;
    const assignments = await grants.ofActor({ kind, id: found.id });
    const here = assignments.some(
      ({ target }) => target.id === project.id || target.id === project.domainId,
    );
    return here ? found : undefined;
  }

  async #domain(project: Project): Promise<string> {
    const id = iamDomainId(project.id);
    if ((await this.#context.store.domains.get(id)) !== undefined) return id;
    try {
      const description = 'users and groups that the project makes for itself';
      await this.#parts.domains.create({ id, name: iamDomainName(project.id), description });
    } catch (error) {
      // Made at the same time by another request.
      if (codeOf(error) !== 'conflict') throw error;
    }
    return id;
  }
}

async function making<Thing>(
  kind: 'user' | 'group',
  name: string,
  make: () => Promise<Thing>,
): Promise<Thing> {
  try {
    return await make();
  } catch (error) {
    throw codeOf(error) === 'conflict' ? alreadyExists(kind, name) : error;
  }
}
