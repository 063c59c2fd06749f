/** What a client says when it logs in, and what its proofs have shown. */
import { OperatingError } from '#base/errors.ts';
import type { User } from './records.ts';
import type { SessionFacts } from './session-facts.ts';
import type { Method, Scope } from './token.ts';

export type DomainReference = { readonly id: string } | { readonly name: string };
export type UserReference =
  | { readonly id: string }
  | { readonly name: string; readonly domain: DomainReference };

export interface LogInRequest {
  readonly password?: { readonly user: UserReference; readonly password: string };
  readonly token?: string;
  readonly applicationCredential?: {
    readonly id?: string;
    readonly name?: string;
    readonly user?: UserReference;
    readonly secret: string;
  };
  /** Without one: the user's default project when there is a role in it, else none. */
  readonly scope?: ScopeRequest;
  /** Where the request comes from, to limit guessing. */
  readonly address: string;
  /** The token ends then at the latest. */
  readonly untilMs?: number;
  /** No other roles: such a token is limited, and gives only itself again. */
  readonly onlyRoleIds?: readonly string[];
  /** A session policy: the token counts for S3 only, and for what this allows, too. */
  readonly policy?: string;
}

export type ScopeRequest =
  | { readonly kind: 'none' }
  | { readonly kind: 'system' }
  | { readonly kind: 'domain'; readonly domain: DomainReference }
  | { readonly kind: 'trust'; readonly id: string }
  | { readonly kind: 'project'; readonly id: string }
  | { readonly kind: 'project'; readonly name: string; readonly domain: DomainReference };

export type PasswordProof = NonNullable<LogInRequest['password']>;
export type ApplicationCredentialProof = NonNullable<LogInRequest['applicationCredential']>;

/** What the proofs of one request have shown. */
export interface Proof {
  readonly user: User;
  readonly methods: readonly Method[];
  readonly expiresMs?: number;
  readonly chainId?: string;
  readonly applicationCredentialId?: string;
  readonly trustId?: string;
  /** Only this scope may be asked for, and it is the default. */
  readonly boundTo?: Scope;
  /** Roles beyond these are left out. */
  readonly roleIds?: readonly string[];
  readonly session?: SessionFacts;
}

/** One answer to whatever was wrong: clients learn no more. */
export function unauthorized(): OperatingError {
  return new OperatingError('unauthorized', 'The request you have made requires authentication.');
}
