/** Users and their passwords. */
import { badRequest, commit, type IdentityContext, makeId, notFound, nowMs } from './context.ts';
import { mergeExtra } from './extra.ts';
import { DEFAULT_DOMAIN_ID } from './id.ts';
import { MAX_PASSWORD_BYTES } from './password.ts';
import type { User } from './records.ts';
import { revoke, revokeTrustsOf } from './revocations.ts';

export interface NewUser {
  readonly name: string;
  readonly domainId?: string;
  readonly password?: string;
  readonly email?: string;
  readonly description?: string;
  readonly defaultProjectId?: string;
  readonly enabled?: boolean;
  readonly extra?: string;
}

export type UserChange = Partial<
  Pick<User, 'name' | 'enabled' | 'email' | 'description' | 'defaultProjectId' | 'extra'>
> & { readonly password?: string };

export class Users {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async get(id: string): Promise<User> {
    const stored = await this.#context.store.users.get(id);
    if (stored === undefined) throw notFound('user', id);
    return stored.fields;
  }

  async find(name: string, domainId = DEFAULT_DOMAIN_ID): Promise<User | undefined> {
    const id = await this.#context.store.names.find('user', domainId, name);
    return id === undefined ? undefined : (await this.#context.store.users.get(id))?.fields;
  }

  async list(): Promise<User[]> {
    return (await this.#context.store.users.list()).map(({ fields }) => fields);
  }

  async create(wanted: NewUser): Promise<User> {
    const { domains, users, names, passwords } = this.#context.store;
    const { name, domainId = DEFAULT_DOMAIN_ID, password, ...rest } = wanted;
    if ((await domains.get(domainId)) === undefined) throw badRequest('No such domain.');
    const id = makeId(this.#context);
    const user: User = { enabled: true, description: '', ...rest, id, name, domainId };
    const record = password === undefined ? undefined : await this.#passwordRecord(password);
    const transaction = {
      compare: [names.free('user', domainId, name), domains.exists(true, domainId)],
      success: [
        names.take('user', domainId, name, id),
        users.put(user, id),
        ...(record === undefined ? [] : [passwords.put(record, id)]),
      ],
    };
    await commit(this.#context, transaction, duplicate(name));
    return user;
  }

  async update(id: string, change: UserChange): Promise<User> {
    const { users, names, passwords } = this.#context.store;
    const stored = await users.get(id);
    if (stored === undefined) throw notFound('user', id);
    const { password, ...fields } = change;
    const extra = mergeExtra(stored.fields.extra, change.extra);
    const user = { ...stored.fields, ...fields, extra };
    const { domainId } = user;
    const renamed = user.name !== stored.fields.name;
    const record = password === undefined ? undefined : await this.#passwordRecord(password);
    const trusts = user.enabled ? [] : await revokeTrustsOf(this.#context, id);
    const ends = record !== undefined || !user.enabled;
    const transaction = {
      compare: [
        users.unchanged(stored),
        ...(renamed ? [names.free('user', domainId, user.name)] : []),
      ],
      success: [
        users.put(user, id),
        ...(renamed ? [names.release('user', domainId, stored.fields.name)] : []),
        ...(renamed ? [names.take('user', domainId, user.name, id)] : []),
        ...(record === undefined ? [] : [passwords.put(record, id)]),
        ...(ends ? [revoke(this.#context, { kind: 'user', id })] : []),
        ...trusts,
      ],
    };
    await commit(this.#context, transaction, duplicate(user.name));
    return user;
  }

  async hasPassword(id: string): Promise<boolean> {
    return (await this.#context.store.passwords.get(id)) !== undefined;
  }

  /** When the password stops to log in; undefined: never. */
  async passwordExpiresMs(id: string): Promise<number | undefined> {
    return (await this.#context.store.passwords.get(id))?.fields.expiresMs;
  }

  /** Takes as long for a user that does not exist. */
  async passwordMatches(id: string | undefined, password: string): Promise<boolean> {
    const record = id === undefined ? undefined : await this.#context.store.passwords.get(id);
    return this.#context.passwords.matches(password, record?.fields.hash);
  }

  /** With the user go the password, memberships, grants, S3 keys and application credentials. */
  async remove(id: string): Promise<void> {
    const { users, names, passwords, grants, memberships, members, ...store } = this.#context.store;
    const stored = await users.get(id);
    if (stored === undefined) throw notFound('user', id);
    const { name, domainId } = stored.fields;
    const transaction = {
      compare: [users.unchanged(stored)],
      success: [
        users.remove(id),
        names.release('user', domainId, name),
        passwords.remove(id),
        grants.removeAll('user', id),
        memberships.removeAll(id),
        store.publicMemberships.removeAll(id),
        store.applicationCredentials.removeAll(id),
        revoke(this.#context, { kind: 'user', id }),
        ...(await revokeTrustsOf(this.#context, id)),
      ],
    };
    const groups = await memberships.list(id);
    const credentials = await store.credentials.list();
    await commit(this.#context, transaction, 'The user was changed at the same time.');
    // Leftovers name a user that no longer exists, so they give nobody anything: no need to be atomic.
    for (const { key } of groups) {
      const groupId = key.slice(memberships.key(id).length + 1);
      await store.state.txn({ success: [members.remove(groupId, id)] });
    }
    for (const { fields } of credentials.filter(({ fields }) => fields.userId === id)) {
      const accessKey = fields.access === undefined ? [] : [store.accessKeys.remove(fields.access)];
      await store.state.txn({ success: [store.credentials.remove(fields.id), ...accessKey] });
    }
  }

  async #passwordRecord(password: string) {
    if (password === '' || Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
      throw badRequest(`A password has 1 to ${MAX_PASSWORD_BYTES} bytes.`);
    }
    const hash = await this.#context.passwords.hash(password);
    const changedMs = nowMs(this.#context);
    const { passwordLifetimeMs } = this.#context.settings;
    const expiresMs = passwordLifetimeMs === undefined ? undefined : changedMs + passwordLifetimeMs;
    return { hash, changedMs, expiresMs };
  }
}

function duplicate(name: string): string {
  return `Conflict occurred attempting to store user - Duplicate entry found with name ${name}.`;
}
