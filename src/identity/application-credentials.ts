/** Application credentials: a user's password for a program, for one project and some of its roles. */
import { badRequest, commit, type IdentityContext, makeId, notFound, nowMs } from './context.ts';
import type { ApplicationCredential } from './records.ts';
import { revoke } from './revocations.ts';
import { secretText } from './secret-text.ts';

const SECRET_LENGTH = 64;

export interface NewApplicationCredential {
  readonly name: string;
  readonly userId: string;
  readonly projectId: string;
  readonly roleIds: readonly string[];
  readonly secret?: string;
  readonly description?: string;
  readonly expiresMs?: number;
  /** May make further application credentials and trusts. */
  readonly unrestricted?: boolean;
}

export class ApplicationCredentials {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  /** The secret is shown this once; kept is its hash. */
  async create(
    wanted: NewApplicationCredential,
  ): Promise<{ readonly credential: ApplicationCredential; readonly secret: string }> {
    const { applicationCredentials, names, users, projects } = this.#context.store;
    const { name, userId, projectId, roleIds, description = '', unrestricted = false } = wanted;
    if (roleIds.length === 0) throw badRequest('An application credential needs a role.');
    const secret = wanted.secret ?? secretText(this.#context.env.random, SECRET_LENGTH);
    const id = makeId(this.#context);
    const credential: ApplicationCredential = {
      ...{ id, name, userId, projectId, roleIds: [...roleIds], description, unrestricted },
      hash: await this.#context.passwords.hash(secret),
      createdMs: nowMs(this.#context),
      expiresMs: wanted.expiresMs,
    };
    const transaction = {
      compare: [
        names.free('app-cred', userId, name),
        users.exists(true, userId),
        projects.exists(true, projectId),
      ],
      success: [
        names.take('app-cred', userId, name, id),
        names.take('app-cred', '', id, userId),
        applicationCredentials.put(credential, userId, id),
      ],
    };
    await commit(this.#context, transaction, `Duplicate application credential: ${name}.`);
    return { credential, secret };
  }

  async get(userId: string, id: string): Promise<ApplicationCredential> {
    const stored = await this.#context.store.applicationCredentials.get(userId, id);
    if (stored === undefined) throw notFound('application credential', id);
    return stored.fields;
  }

  async ofUser(userId: string): Promise<ApplicationCredential[]> {
    const stored = await this.#context.store.applicationCredentials.list(userId);
    return stored.map(({ fields }) => fields);
  }

  /** By its id alone, as clients log in with it. */
  async find(id: string): Promise<ApplicationCredential | undefined> {
    const { names, applicationCredentials } = this.#context.store;
    const userId = await names.find('app-cred', '', id);
    if (userId === undefined) return undefined;
    return (await applicationCredentials.get(userId, id))?.fields;
  }

  async findByName(userId: string, name: string): Promise<ApplicationCredential | undefined> {
    const { names, applicationCredentials } = this.#context.store;
    const id = await names.find('app-cred', userId, name);
    return id === undefined ? undefined : (await applicationCredentials.get(userId, id))?.fields;
  }

  async remove(userId: string, id: string): Promise<void> {
    const { applicationCredentials, names } = this.#context.store;
    const stored = await applicationCredentials.get(userId, id);
    if (stored === undefined) throw notFound('application credential', id);
    const transaction = {
      compare: [applicationCredentials.unchanged(stored)],
      success: [
        applicationCredentials.remove(userId, id),
        names.release('app-cred', userId, stored.fields.name),
        names.release('app-cred', '', id),
        revoke(this.#context, { kind: 'app-cred', id }),
      ],
    };
    await commit(this.#context, transaction, 'It was changed at the same time.');
  }
}
