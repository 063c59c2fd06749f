/**
 * Trusts (OS-TRUST): a user lets another act in their name, in one project, with some of their roles.
 * Glance and Heat use them to go on with work when the user's own token has ended.
 *
 * A log-in by trust is the trustor's when the trust impersonates, else the trustee's. It never
 * carries a role that the trustor no longer has.
 */
import {
  badRequest,
  commit,
  forbidden,
  type IdentityContext,
  makeId,
  notFound,
  nowMs,
} from './context.ts';
import type { Trust } from './records.ts';
import { revoke } from './revocations.ts';

export interface NewTrust {
  readonly trustorId: string;
  readonly trusteeId: string;
  readonly projectId?: string;
  readonly roleIds: readonly string[];
  readonly impersonation: boolean;
  readonly expiresMs?: number;
  readonly remainingUses?: number;
}

export class Trusts {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async create(wanted: NewTrust): Promise<Trust> {
    const { trusts, users, projects } = this.#context.store;
    const { projectId, roleIds, remainingUses } = wanted;
    if (projectId !== undefined && roleIds.length === 0) throw badRequest('A trust needs a role.');
    if (remainingUses !== undefined && remainingUses < 1) throw badRequest('A trust has a use.');
    const trust: Trust = {
      ...wanted,
      id: makeId(this.#context),
      roleIds: [...roleIds],
      redelegationCount: 0,
      allowRedelegation: false,
      createdMs: nowMs(this.#context),
    };
    const transaction = {
      compare: [
        users.exists(true, wanted.trustorId),
        users.exists(true, wanted.trusteeId),
        ...(projectId === undefined ? [] : [projects.exists(true, projectId)]),
      ],
      success: [trusts.put(trust, trust.id)],
    };
    await commit(this.#context, transaction, 'No such user or project.');
    return trust;
  }

  async get(id: string): Promise<Trust> {
    const stored = await this.#context.store.trusts.get(id);
    if (stored === undefined || this.#isOver(stored.fields)) throw notFound('trust', id);
    return stored.fields;
  }

  async list(): Promise<Trust[]> {
    const stored = await this.#context.store.trusts.list();
    return stored.map(({ fields }) => fields).filter((trust) => !this.#isOver(trust));
  }

  /** Takes one of its uses, where they are counted. @throws OperatingError `forbidden` */
  async use(id: string): Promise<void> {
    const { trusts } = this.#context.store;
    const stored = await trusts.get(id);
    if (stored === undefined || this.#isOver(stored.fields)) throw notFound('trust', id);
    const { remainingUses } = stored.fields;
    if (remainingUses === undefined) return;
    if (remainingUses === 0) throw forbidden('The trust has no uses left.');
    const transaction = {
      compare: [trusts.unchanged(stored)],
      success: [trusts.put({ ...stored.fields, remainingUses: remainingUses - 1 }, id)],
    };
    await commit(this.#context, transaction, 'The trust was used at the same time.');
  }

  async remove(id: string): Promise<void> {
    const { trusts } = this.#context.store;
    const stored = await trusts.get(id);
    if (stored === undefined) throw notFound('trust', id);
    const transaction = {
      compare: [trusts.unchanged(stored)],
      success: [trusts.remove(id), revoke(this.#context, { kind: 'trust', id })],
    };
    await commit(this.#context, transaction, 'The trust was changed at the same time.');
  }

  #isOver({ expiresMs }: Trust): boolean {
    return expiresMs !== undefined && expiresMs <= nowMs(this.#context);
  }
}
