/**
 * What a caller's own policies say of one request: those of the user, of their groups, or of the role
 * they have taken on, and the policy of the session.
 */
import type { UserCaller } from '../caller.ts';
import { evaluate, type PolicyRequest, type Verdict } from './policy.ts';
import type { PolicyCache } from './policy-cache.ts';

export interface OwnVerdict {
  /** Of user, groups and role together: deny over allow. */
  readonly identity: Verdict;
  /** False: the session's policy does not allow it. */
  readonly inSession: boolean;
}

const NOTHING: OwnVerdict = { identity: 'none', inSession: true };

export function ownVerdict(
  caller: Pick<UserCaller, 'policies' | 'sessionPolicy'>,
  cache: PolicyCache,
  request: PolicyRequest,
): OwnVerdict {
  const { policies = [], sessionPolicy } = caller;
  if (policies.length === 0 && sessionPolicy === undefined) return NOTHING;
  const session =
    sessionPolicy === undefined ? 'allow' : evaluate(cache.of(sessionPolicy), request);
  return {
    identity: joined(policies.map((text) => evaluate(cache.of(text), request))),
    inSession: session === 'allow',
  };
}

function joined(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.includes('deny')) return 'deny';
  return verdicts.includes('allow') ? 'allow' : 'none';
}
