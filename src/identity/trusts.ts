/**
 * Trusts (OS-TRUST): a user lets another act in their name, in one project, with some of their roles.
 * Glance and Heat use them to go on with work when the user's own token has ended.
 *
 * A log-in by trust is the trustor's when the trust impersonates, else the trustee's. It never
 * carries a role that the trustor no longer has.
 *
 * A trust that allows it can be handed on: from a token that it gave, its holder makes a further trust,
 * never wider, longer or deeper than this one (`redelegationCount` says how many more links there may
 * be). A chain counts as long as every link of it does.
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
import { descendantsOf, revoke } from './revocations.ts';

export interface NewTrust {
  readonly trustorId: string;
  readonly trusteeId: string;
  readonly projectId?: string;
  readonly roleIds: readonly string[];
  readonly impersonation: boolean;
  readonly expiresMs?: number;
  readonly remainingUses?: number;
  readonly allowRedelegation?: boolean;
  /** How often it may be handed on; the most there is when it is not said. */
  readonly redelegationCount?: number;
  /** The trust whose token makes this one. */
  readonly parent?: Trust;
}

const MAX_REDELEGATIONS = 3;
/** Of one transaction, with the revocation of each. */
const MAX_REMOVED = 50;

export class Trusts {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async create(wanted: NewTrust): Promise<Trust> {
    const { trusts, users, projects } = this.#context.store;
    const { projectId, roleIds, remainingUses, parent, allowRedelegation, ...fields } = wanted;
    if (projectId !== undefined && roleIds.length === 0) throw badRequest('A trust needs a role.');
    if (remainingUses !== undefined && remainingUses < 1) throw badRequest('A trust has a use.');
    const redelegationCount = depthOf(wanted);
    const trust: Trust = {
      ...fields,
      ...{ id: makeId(this.#context), projectId, roleIds: [...roleIds], remainingUses },
      ...{ redelegationCount, allowRedelegation: redelegationCount > 0 },
      createdMs: nowMs(this.#context),
      ...(parent && withinParent(parent, wanted)),
    };
    const transaction = {
      compare: [
        users.exists(true, wanted.trustorId),
        users.exists(true, wanted.trusteeId),
        ...(projectId === undefined ? [] : [projects.exists(true, projectId)]),
        ...(parent ? [trusts.exists(true, parent.id)] : []),
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

  /** With what was made from it. */
  async remove(id: string): Promise<void> {
    const { trusts } = this.#context.store;
    const stored = await trusts.get(id);
    if (stored === undefined) throw notFound('trust', id);
    const all = (await trusts.list()).map(({ fields }) => fields);
    // What does not fit into one transaction is ended by its broken chain.
    const gone = [id, ...descendantsOf(id, all)].slice(0, MAX_REMOVED);
    const transaction = {
      compare: [trusts.unchanged(stored)],
      success: gone.flatMap((each) => [
        trusts.remove(each),
        revoke(this.#context, { kind: 'trust', id: each }),
      ]),
    };
    await commit(this.#context, transaction, 'The trust was changed at the same time.');
  }

  /** From this trust to the one that a user made with roles of their own. Undefined: a link is gone or over. */
  async chainOf(trust: Trust): Promise<Trust[] | undefined> {
    const chain = [trust];
    for (let last = trust; last.redelegatedTrustId !== undefined; last = chain.at(-1)!) {
      const parent = (await this.#context.store.trusts.get(last.redelegatedTrustId))?.fields;
      const holds = parent && last.roleIds.every((id) => parent.roleIds.includes(id));
      if (!holds || chain.length > MAX_REDELEGATIONS) return undefined;
      chain.push(parent);
    }
    return chain.some((link) => this.#isOver(link)) ? undefined : chain;
  }

  #isOver({ expiresMs }: Trust): boolean {
    return expiresMs !== undefined && expiresMs <= nowMs(this.#context);
  }
}

/** @throws OperatingError `bad-request`, `forbidden` */
function depthOf({
  parent,
  allowRedelegation,
  redelegationCount,
  remainingUses,
}: NewTrust): number {
  const most = parent === undefined ? MAX_REDELEGATIONS : parent.redelegationCount - 1;
  if (most < 0) throw forbidden('The trust does not allow to be handed on.');
  if (allowRedelegation !== true || redelegationCount === 0) return 0;
  if (remainingUses !== undefined)
    throw badRequest('remaining_uses must not be set if redelegation is allowed.');
  const wanted = redelegationCount ?? most;
  if (wanted > most)
    throw forbidden(`The requested redelegation depth of ${wanted} is greater than ${most}.`);
  return wanted;
}

/** @throws OperatingError `forbidden`: it would give more than what it is made from */
function withinParent(
  parent: Trust,
  wanted: NewTrust,
): Pick<Trust, 'redelegatedTrustId' | 'expiresMs'> {
  const { expiresMs = parent.expiresMs } = wanted;
  if (wanted.projectId !== parent.projectId) throw forbidden('The trust is for another project.');
  if (!wanted.roleIds.every((id) => parent.roleIds.includes(id)))
    throw forbidden('Some of the requested roles are not in the trust.');
  if (wanted.impersonation && !parent.impersonation)
    throw forbidden('The trust does not allow impersonation.');
  if ((expiresMs ?? Infinity) > (parent.expiresMs ?? Infinity))
    throw forbidden('The trust ends before the requested time.');
  return { redelegatedTrustId: parent.id, expiresMs };
}
