/** Who calls IAM or takes on a role, and what their own policies say: owners may all, policies more or less. */
import type { Context } from 'hono';
import { decide } from '#auth/acl.ts';
import { accountOf, type UserCaller } from '#auth/caller.ts';
import type { Facts } from '#auth/policy/conditions.ts';
import type { Verdict } from '#auth/policy/policy.ts';
import { PolicyCache } from '#auth/policy/policy-cache.ts';
import { type Principals, principalsOf } from '#auth/policy/principals.ts';
import { ownVerdict } from '#auth/policy/verdict.ts';
import { arnOf } from '#identity/iam/names.ts';
import type { KeystoneApi } from './api.ts';

export interface Actor {
  readonly caller: UserCaller;
  readonly principals: Principals;
  readonly facts: Facts;
  readonly cache: PolicyCache;
}

export function actorOf(api: KeystoneApi, c: Context, caller: UserCaller): Actor {
  const known: Readonly<Record<string, string | undefined>> = {
    'aws:sourceip': api.deps.address(c),
    'aws:useragent': c.req.header('user-agent'),
    'aws:currenttime': new Date(api.nowMs()).toISOString(),
    'aws:epochtime': String(Math.floor(api.nowMs() / 1000)),
    'aws:username': caller.userName,
    'aws:userid': caller.userId,
    'aws:principalaccount': caller.projectId,
    'aws:principalarn': caller.projectId && arnOf(caller.projectId, 'user', caller.userName),
    'aws:principaltype': 'User',
  };
  const facts: Facts = (key) => {
    const value = Object.hasOwn(known, key) ? known[key] : undefined;
    return value === undefined ? undefined : [value];
  };
  return { caller, principals: principalsOf(caller), facts, cache: new PolicyCache() };
}

/** Owners of the project may all that no policy denies them. */
export function ownDecision(actor: Actor, action: string, resource: string): Verdict {
  const { caller, cache, facts, principals } = actor;
  const asked = { action, resource, facts, principals: principals.all };
  const { identity, inSession } = ownVerdict(caller, cache, asked);
  if (identity === 'deny' || !inSession) return 'deny';
  if (identity === 'allow' || caller.projectId === undefined) return identity;
  const account = accountOf(caller.projectId);
  return decide({ caller, account, operation: 'admin' }).allowed ? 'allow' : 'none';
}
