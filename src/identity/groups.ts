/** Groups of users: a grant to a group is one to each of its members. */
import type { State } from '#state/state.ts';
import { commit, type IdentityContext, makeId, notFound, nowMs } from './context.ts';
import { mergeExtra } from './extra.ts';
import { DEFAULT_DOMAIN_ID } from './id.ts';
import type { Group } from './records.ts';
import { revoke } from './revocations.ts';
import type { Table } from './table.ts';

export interface NewGroup {
  readonly name: string;
  readonly domainId?: string;
  readonly description?: string;
  readonly extra?: string;
}

export class Groups {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async get(id: string): Promise<Group> {
    const stored = await this.#context.store.groups.get(id);
    if (stored === undefined) throw notFound('group', id);
    return stored.fields;
  }

  async find(name: string, domainId = DEFAULT_DOMAIN_ID): Promise<Group | undefined> {
    const id = await this.#context.store.names.find('group', domainId, name);
    return id === undefined ? undefined : (await this.#context.store.groups.get(id))?.fields;
  }

  async list(): Promise<Group[]> {
    return (await this.#context.store.groups.list()).map(({ fields }) => fields);
  }

  async create(wanted: NewGroup): Promise<Group> {
    const { groups, publicGroups, names, domains } = this.#context.store;
    const { name, domainId = DEFAULT_DOMAIN_ID, description = '', extra } = wanted;
    const id = makeId(this.#context);
    const group = { id, name, domainId, description, extra };
    const transaction = {
      compare: [names.free('group', domainId, name), domains.exists(true, domainId)],
      success: [
        names.take('group', domainId, name, id),
        groups.put(group, id),
        publicGroups.put(group, id),
      ],
    };
    await commit(this.#context, transaction, duplicate(name));
    return group;
  }

  async update(id: string, change: Partial<Omit<NewGroup, 'domainId'>>): Promise<Group> {
    const { groups, publicGroups, names } = this.#context.store;
    const stored = await groups.get(id);
    if (stored === undefined) throw notFound('group', id);
    const extra = mergeExtra(stored.fields.extra, change.extra);
    const group = { ...stored.fields, ...change, extra };
    const { domainId } = group;
    const renamed = group.name !== stored.fields.name;
    const transaction = {
      compare: [
        groups.unchanged(stored),
        ...(renamed ? [names.free('group', domainId, group.name)] : []),
      ],
      success: [
        groups.put(group, id),
        publicGroups.put(group, id),
        ...(renamed ? [names.release('group', domainId, stored.fields.name)] : []),
        ...(renamed ? [names.take('group', domainId, group.name, id)] : []),
      ],
    };
    await commit(this.#context, transaction, duplicate(group.name));
    return group;
  }

  async remove(id: string): Promise<void> {
    const { groups, publicGroups, names, grants } = this.#context.store;
    const stored = await groups.get(id);
    if (stored === undefined) throw notFound('group', id);
    for (const userId of await this.members(id)) await this.removeMember(id, userId);
    const { name, domainId } = stored.fields;
    const transaction = {
      compare: [groups.unchanged(stored)],
      success: [
        groups.remove(id),
        publicGroups.remove(id),
        names.release('group', domainId, name),
        grants.removeAll('group', id),
      ],
    };
    await commit(this.#context, transaction, 'The group was changed at the same time.');
  }

  async addMember(id: string, userId: string): Promise<void> {
    const { groups, users, members, memberships, state, ...store } = this.#context.store;
    const record = { createdMs: nowMs(this.#context) };
    const { succeeded } = await state.txn({
      compare: [groups.exists(true, id), users.exists(true, userId)],
      success: [
        members.put(record, id, userId),
        memberships.put(record, userId, id),
        store.publicMemberships.put(record, userId, id),
      ],
    });
    if (!succeeded) throw notFound('user or group', `${userId} ${id}`);
  }

  /** The user's tokens end: they may carry the group's roles. False: was no member. */
  async removeMember(id: string, userId: string): Promise<boolean> {
    const { members, memberships, publicMemberships, state } = this.#context.store;
    const { succeeded } = await state.txn({
      compare: [members.exists(true, id, userId)],
      success: [
        members.remove(id, userId),
        memberships.remove(userId, id),
        publicMemberships.remove(userId, id),
        revoke(this.#context, { kind: 'user', id: userId }),
      ],
    });
    return succeeded;
  }

  async isMember(id: string, userId: string): Promise<boolean> {
    return (await this.#context.store.members.get(id, userId)) !== undefined;
  }

  /** User ids. */
  async members(id: string): Promise<string[]> {
    return lastParts(await this.#context.store.members.list(id));
  }

  /** Group ids. */
  async ofUser(userId: string): Promise<string[]> {
    return lastParts(await this.#context.store.memberships.list(userId));
  }
}

/**
 * Groups and memberships from before proxies knew of them are told now. What is missing is written if the
 * private record is still there, so that nobody who leaves meanwhile is made a member again.
 */
export async function publishGroups({ store }: Pick<IdentityContext, 'store'>): Promise<void> {
  const { groups, publicGroups, memberships, publicMemberships, state } = store;
  await publish(state, groups, publicGroups);
  await publish(state, memberships, publicMemberships);
}

async function publish<Fields>(
  state: State,
  from: Table<Fields>,
  to: Table<Fields>,
): Promise<void> {
  const known = new Set((await to.list()).map(({ key }) => key.slice(to.prefix.length)));
  for (const stored of await from.list()) {
    const id = stored.key.slice(from.prefix.length);
    if (known.has(id)) continue;
    await state.txn({ compare: [from.unchanged(stored)], success: [to.put(stored.fields, id)] });
  }
}

function lastParts(stored: readonly { readonly key: string }[]): string[] {
  return stored.map(({ key }) => key.slice(key.lastIndexOf('/') + 1));
}

function duplicate(name: string): string {
  return `Conflict occurred attempting to store group - Duplicate entry found with name ${name}.`;
}
