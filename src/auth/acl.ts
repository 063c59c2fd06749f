/** Container ACLs: grammar and decisions (being written; the types are the contract). */
import type { Caller } from './caller.ts';

/**
 * What a request wants to do.
 * read: GET/HEAD of an object. list: GET/HEAD of a container. write: PUT/POST/DELETE/COPY-to of an
 * object. account-read: GET/HEAD of an account. admin: all else (account POST, container
 * PUT/POST/DELETE): the account's owners only.
 */
export type AclOperation = 'read' | 'list' | 'write' | 'account-read' | 'admin';

export interface AccessRequest {
  readonly caller: Caller;
  readonly account: string;
  readonly operation: AclOperation;
  /** X-Container-Read and X-Container-Write as stored. */
  readonly readAcl?: string;
  readonly writeAcl?: string;
  /** The Referer header. */
  readonly referrer?: string;
  /** Authenticator.accountDomain(account). */
  readonly accountDomainId?: string;
}

/** owner: may see what only owners see (ACLs, sync keys). Otherwise the status to answer. */
export type Decision =
  | { readonly allowed: true; readonly owner: boolean }
  | { readonly allowed: false; readonly status: 401 | 403 };
