/**
 * Policies parsed once per text (the same text means the same, whoever has it), and the names of callers
 * put together once per caller: an authenticator gives the same object for all requests of a key.
 */
import type { Caller } from '../caller.ts';
import { type Policy, type PolicyKind, parsePolicy } from './policy.ts';
import { type Principals, principalsOf } from './principals.ts';

const MAX_PARSED = 2000;

/** What was checked when it was set and can't be read now is of a newer version: it closes, not opens. */
const DENY_ALL: Policy = parsePolicy(
  '{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}',
  { principals: false },
);

export class PolicyCache {
  readonly #parsed = new Map<string, Policy>();
  readonly #principals = new WeakMap<Caller, Principals>();

  principalsOf(caller: Caller): Principals {
    const known = this.#principals.get(caller);
    if (known !== undefined) return known;
    const made = principalsOf(caller);
    this.#principals.set(caller, made);
    return made;
  }

  /** Of a user, group, role or session: without principals. */
  of(text: string): Policy {
    return this.#remember(`i${text}`, text, { principals: false });
  }

  /** Of a bucket. */
  ofBucket(text: string): Policy {
    return this.#remember(`b${text}`, text, { principals: true });
  }

  /** Of a role: who may take it on. */
  ofTrust(text: string): Policy {
    return this.#remember(`t${text}`, text, { principals: true, trust: true });
  }

  #remember(label: string, text: string, kind: PolicyKind): Policy {
    const known = this.#parsed.get(label);
    if (known !== undefined) return known;
    const parsed = parse(text, kind);
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(label, parsed);
    return parsed;
  }
}

function parse(text: string, kind: PolicyKind): Policy {
  try {
    return parsePolicy(text, kind);
  } catch {
    return DENY_ALL; // As said above.
  }
}
