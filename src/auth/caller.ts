/**
 * Who asks. Made by an Authenticator from a request's headers (a token, later an S3 signature) and
 * consumed by the decisions in acl.ts; nothing between changes it.
 */
import type { TokenRejection } from '#identity/token-verifier.ts';

export type Caller = AnonymousCaller | UserCaller;

export interface AnonymousCaller {
  readonly kind: 'anonymous';
  /** Why a token that was sent did not count; absent when none was sent. For logs, not for clients. */
  readonly rejected?: TokenRejection;
}

export interface UserCaller {
  readonly kind: 'user';
  readonly userId: string;
  readonly userName: string;
  /** The user's domain. */
  readonly domainId: string;
  /** Absent for an unscoped token, which owns nothing. */
  readonly projectId?: string;
  readonly projectName?: string;
  readonly projectDomainId?: string;
  /** Names, in the case they were created with. */
  readonly roles: readonly string[];
  /** Unix milliseconds. */
  readonly expires: number;
  /** Made for policies, or in a project's role: what no policy allows is refused. */
  readonly governed?: boolean;
  /** Texts of the policies of the user and their groups, or of the role taken on. */
  readonly policies?: readonly string[];
  /** Narrows all of it: what this does not allow is refused. */
  readonly sessionPolicy?: string;
  /** For principals; a name only where it is no one else's. */
  readonly groups?: readonly { readonly id: string; readonly name?: string }[];
  readonly assumedRole?: { readonly name: string; readonly session: string };
}

export const ANONYMOUS: Caller = { kind: 'anonymous' };

/** The storage account of a project: the same through v1, v3 and S3. */
const ACCOUNT_PREFIX = 'AUTH_';

export function accountOf(projectId: string): string {
  return ACCOUNT_PREFIX + projectId;
}

/** The project that an account belongs to; undefined for a name of another form. */
export function projectOf(account: string): string | undefined {
  if (!account.startsWith(ACCOUNT_PREFIX)) return undefined;
  const project = account.slice(ACCOUNT_PREFIX.length);
  return project === '' ? undefined : project;
}
