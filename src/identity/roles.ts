/** Roles, and who has which one where. */
import type { Compare, Operation } from '#state/state.ts';
import {
  badRequest,
  commit,
  conflict,
  forbidden,
  type IdentityContext,
  makeId,
  notFound,
  nowMs,
} from './context.ts';
import { mergeExtra } from './extra.ts';
import { PRIVATE, type Role } from './records.ts';
import { revoke, revokeTrustsOf } from './revocations.ts';

/** The roles that are always there, with the numbers they have in every token of every cluster. */
export const BUILT_IN_ROLES = [
  'admin',
  'swiftoperator',
  'member',
  'reader',
  'ResellerAdmin',
  'service',
] as const;

const NEXT_NUMBER = `${PRIVATE}next-role-number`;
const FIRST_OWN_NUMBER = 16;
const MAX_ATTEMPTS = 10;
const MAX_IMPLIED_DEPTH = 16;

export interface NewRole {
  readonly name: string;
  readonly domainId?: string;
  readonly description?: string;
  readonly extra?: string;
  /** Built-in roles only. */
  readonly number?: number;
}

export interface Actor {
  readonly kind: 'user' | 'group';
  readonly id: string;
}

export type Target =
  | { readonly kind: 'project'; readonly id: string }
  | { readonly kind: 'domain'; readonly id: string }
  | { readonly kind: 'system'; readonly id: 'all' };

export interface Assignment {
  readonly actor: Actor;
  readonly target: Target;
  readonly roleId: string;
  /** By the projects of the domain (or below the project), not by the target itself. */
  readonly inherited: boolean;
}

export class Roles {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async get(id: string): Promise<Role> {
    const stored = await this.#context.store.roles.get(id);
    if (stored === undefined) throw notFound('role', id);
    return stored.fields;
  }

  async find(name: string, domainId = ''): Promise<Role | undefined> {
    const id = await this.#context.store.names.find('role', domainId, name);
    return id === undefined ? undefined : (await this.#context.store.roles.get(id))?.fields;
  }

  async list(): Promise<Role[]> {
    return (await this.#context.store.roles.list()).map(({ fields }) => fields);
  }

  async create(wanted: NewRole): Promise<Role> {
    const { roles, names, state } = this.#context.store;
    const { name, domainId, description = '', extra } = wanted;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const id = makeId(this.#context);
      const { number, compare, operations } = await this.#takeNumber(wanted.number);
      const role = { id, name, number, domainId, description, extra };
      const scope = domainId ?? '';
      const { succeeded } = await state.txn({
        compare: [names.free('role', scope, name), ...compare],
        success: [names.take('role', scope, name, id), roles.put(role, id), ...operations],
      });
      if (succeeded) return role;
      if ((await names.find('role', scope, name)) !== undefined) {
        throw conflict(
          `Conflict occurred attempting to store role - Duplicate entry found with name ${name}.`,
        );
      }
    }
    throw conflict('Too many roles are created at the same time.');
  }

  async update(
    id: string,
    change: Pick<NewRole, 'description' | 'extra'> & { name?: string },
  ): Promise<Role> {
    const { roles, names } = this.#context.store;
    const stored = await roles.get(id);
    if (stored === undefined) throw notFound('role', id);
    const extra = mergeExtra(stored.fields.extra, change.extra);
    const role = { ...stored.fields, ...change, extra };
    const scope = role.domainId ?? '';
    const renamed = role.name !== stored.fields.name;
    if (renamed && role.number < FIRST_OWN_NUMBER)
      throw forbidden('A built-in role keeps its name.');
    const transaction = {
      compare: [
        roles.unchanged(stored),
        ...(renamed ? [names.free('role', scope, role.name)] : []),
      ],
      success: [
        roles.put(role, id),
        ...(renamed ? [names.release('role', scope, stored.fields.name)] : []),
        ...(renamed ? [names.take('role', scope, role.name, id)] : []),
      ],
    };
    await commit(
      this.#context,
      transaction,
      `Conflict occurred attempting to store role ${role.name}.`,
    );
    return role;
  }

  /** Tokens that carry it end, because its number is then unknown. */
  async remove(id: string): Promise<void> {
    const { roles, names } = this.#context.store;
    const stored = await roles.get(id);
    if (stored === undefined) throw notFound('role', id);
    const { number, name, domainId = '' } = stored.fields;
    if (number < FIRST_OWN_NUMBER) throw forbidden('A built-in role cannot be deleted.');
    const transaction = {
      compare: [roles.unchanged(stored)],
      success: [roles.remove(id), names.release('role', domainId, name)],
    };
    await commit(this.#context, transaction, 'The role was changed at the same time.');
  }

  async imply(priorId: string, impliedId: string): Promise<void> {
    const { roles, impliedRoles } = this.#context.store;
    if (priorId === impliedId) throw badRequest('A role does not imply itself.');
    const transaction = {
      compare: [roles.exists(true, priorId), roles.exists(true, impliedId)],
      success: [impliedRoles.put({ createdMs: nowMs(this.#context) }, priorId, impliedId)],
    };
    await commit(this.#context, transaction, 'No such role.');
  }

  /** False: it was not implied. */
  async unimply(priorId: string, impliedId: string): Promise<boolean> {
    const { state, impliedRoles } = this.#context.store;
    const { succeeded } = await state.txn({
      compare: [impliedRoles.exists(true, priorId, impliedId)],
      success: [impliedRoles.remove(priorId, impliedId)],
    });
    return succeeded;
  }

  /** Ids of the roles that this one implies directly. */
  async impliedBy(priorId: string): Promise<string[]> {
    const { impliedRoles } = this.#context.store;
    const stored = await impliedRoles.list(priorId);
    return stored.map(({ key }) => key.slice(key.lastIndexOf('/') + 1));
  }

  /** The ids with all that they imply, directly or not. */
  async withImplied(ids: Iterable<string>): Promise<Set<string>> {
    const all = new Set(ids);
    let found = [...all];
    for (let depth = 0; found.length > 0 && depth < MAX_IMPLIED_DEPTH; depth++) {
      const next = (await Promise.all(found.map((id) => this.impliedBy(id)))).flat();
      found = next.filter((id) => !all.has(id));
      for (const id of found) all.add(id);
    }
    return all;
  }

  async #takeNumber(
    builtIn: number | undefined,
  ): Promise<{ number: number; compare: Compare[]; operations: Operation[] }> {
    if (builtIn !== undefined) return { number: builtIn, compare: [], operations: [] };
    const next = await this.#context.store.state.get(NEXT_NUMBER);
    const number = next === undefined ? FIRST_OWN_NUMBER : Number(next.value.toString());
    if (number > 0xffff) throw conflict('All role numbers have been given out.');
    return {
      number,
      compare: [{ key: NEXT_NUMBER, modRevision: next?.modRevision ?? 0 }],
      operations: [{ kind: 'put', key: NEXT_NUMBER, value: Buffer.from(String(number + 1)) }],
    };
  }
}

export class Grants {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async add(assignment: Assignment): Promise<void> {
    const { grants } = this.#context.store;
    const transaction = {
      compare: this.#targetsExist(assignment),
      success: [grants.put({ createdMs: nowMs(this.#context) }, ...partsOf(assignment))],
    };
    const { succeeded } = await this.#context.store.state.txn(transaction);
    if (!succeeded) throw notFound('user, group, role, project or domain', assignment.actor.id);
  }

  async has(assignment: Assignment): Promise<boolean> {
    return (await this.#context.store.grants.get(...partsOf(assignment))) !== undefined;
  }

  /** Ends the tokens that rest on it. False: there was no such grant. */
  async remove(assignment: Assignment): Promise<boolean> {
    const { grants, state } = this.#context.store;
    const { actor, target, roleId } = assignment;
    const targetId = target.kind === 'system' ? 'system' : target.id;
    const event =
      actor.kind === 'user'
        ? revoke(this.#context, { kind: 'user-target', userId: actor.id, targetId })
        : revoke(this.#context, { kind: 'target-role', targetId, roleId });
    const trusts = actor.kind === 'user' ? await revokeTrustsOf(this.#context, actor.id) : [];
    const { succeeded } = await state.txn({
      compare: [grants.exists(true, ...partsOf(assignment))],
      success: [grants.remove(...partsOf(assignment)), event, ...trusts],
    });
    return succeeded;
  }

  async ofActor(actor: Actor): Promise<Assignment[]> {
    const { grants } = this.#context.store;
    const stored = await grants.listSurely(actor.kind, actor.id);
    return stored.map(({ key }) => assignmentOf(key.slice(grants.prefix.length)));
  }

  async list(): Promise<Assignment[]> {
    const { grants } = this.#context.store;
    const stored = await grants.list();
    return stored.map(({ key }) => assignmentOf(key.slice(grants.prefix.length)));
  }

  #targetsExist({ actor, target, roleId }: Assignment): Compare[] {
    const { users, groups, roles, projects, domains } = this.#context.store;
    return [
      roles.exists(true, roleId),
      actor.kind === 'user' ? users.exists(true, actor.id) : groups.exists(true, actor.id),
      ...(target.kind === 'project' ? [projects.exists(true, target.id)] : []),
      ...(target.kind === 'domain' ? [domains.exists(true, target.id)] : []),
    ];
  }
}

function partsOf({ actor, target, inherited, roleId }: Assignment): string[] {
  return [actor.kind, actor.id, target.kind, target.id, inherited ? 'inherited' : 'direct', roleId];
}

function assignmentOf(parts: string): Assignment {
  const [actorKind, actorId, targetKind, targetId, inherited, roleId] = parts.split('/');
  return {
    actor: { kind: actorKind as Actor['kind'], id: actorId! },
    target: { kind: targetKind, id: targetId } as Target,
    roleId: roleId!,
    inherited: inherited === 'inherited',
  };
}
