/**
 * Events that end tokens before they expire. An event is a record of `identity/public/revocation/`
 * and revokes the tokens that it names whose revision is below its own modRevision (token.ts).
 * It may be removed when the last token it can concern has expired.
 */

import type { Operation } from '#state/state.ts';
import { type IdentityContext, longestTokenMs, nowMs } from './context.ts';
import type { Trust } from './records.ts';

export type RevocationSubject =
  /** One token. */
  | { readonly kind: 'audit'; readonly id: string }
  /** All tokens of a user: a new password, or disabled. */
  | { readonly kind: 'user'; readonly id: string }
  /** A user's tokens for a project or domain (and the projects of that domain): a grant was removed. */
  | { readonly kind: 'user-target'; readonly userId: string; readonly targetId: string }
  /** All tokens for a project or domain. */
  | { readonly kind: 'target'; readonly id: string }
  /** Tokens that carry a role for a project or domain: a group's grant was removed. */
  | { readonly kind: 'target-role'; readonly targetId: string; readonly roleId: string }
  | { readonly kind: 'app-cred'; readonly id: string }
  | { readonly kind: 'trust'; readonly id: string };

/** The two days of `allow_expired`, and clocks that differ: how long an event outlives the tokens. */
const MARGIN_MS = 49 * 3600_000;
const MAX_PURGE = 100;

export function revoke(context: IdentityContext, subject: RevocationSubject): Operation {
  const atMs = nowMs(context);
  const expiresMs = atMs + longestTokenMs(context.settings) + MARGIN_MS;
  return context.store.revocations.put({ atMs, expiresMs }, ...partsOf(subject));
}

/**
 * What rests on a user's roles by trust: ends when they lose one, are disabled or deleted. For the
 * caller's transaction; what it could not hold is revoked at once, for a token may well end too early.
 */
export async function revokeTrustsOf(
  context: IdentityContext,
  trustorId: string,
): Promise<Operation[]> {
  const all = (await context.store.trusts.list()).map(({ fields }) => fields);
  const own = all.filter((trust) => trust.trustorId === trustorId).map(({ id }) => id);
  const ended = new Set(own.flatMap((id) => [id, ...descendantsOf(id, all)]));
  const events = [...ended].map((id) => revoke(context, { kind: 'trust', id }));
  while (events.length > MAX_PURGE)
    await context.store.state.txn({ success: events.splice(0, MAX_PURGE) });
  return events;
}

/** Ids of all trusts that were made from this one, or from those. */
export function descendantsOf(id: string, all: readonly Trust[]): string[] {
  const found = new Set([id]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const trust of all) {
      const { redelegatedTrustId: parent } = trust;
      if (parent !== undefined && found.has(parent)) found.add(trust.id);
    }
  }
  found.delete(id);
  return [...found];
}

function partsOf(subject: RevocationSubject): string[] {
  switch (subject.kind) {
    case 'user-target':
      return [subject.kind, subject.userId, subject.targetId];
    case 'target-role':
      return [subject.kind, subject.targetId, subject.roleId];
    default:
      return [subject.kind, subject.id];
  }
}

/** Removes events that no living token can be named by. Returns how many. */
export async function purgeRevocations(context: IdentityContext): Promise<number> {
  const { revocations, state } = context.store;
  const now = nowMs(context);
  const over = (await revocations.list()).filter(({ fields }) => fields.expiresMs < now);
  for (let i = 0; i < over.length; i += MAX_PURGE) {
    const success = over
      .slice(i, i + MAX_PURGE)
      .map(({ key }): Operation => ({ kind: 'delete', key }));
    await state.txn({ success });
  }
  return over.length;
}
