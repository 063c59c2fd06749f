/**
 * The names of things. A name is kept as the string the client sent (any UTF-8); the ring hashes
 * its UTF-8 bytes. `/account`, `/account/container`, `/account/container/object` with no escaping:
 * an account and a container have no slash, so the form is unambiguous.
 */
export interface ObjectName {
  readonly account: string;
  readonly container: string;
  readonly object: string;
}

export interface ContainerName {
  readonly account: string;
  readonly container: string;
}

export function objectPath(name: ObjectName): string {
  return `/${name.account}/${name.container}/${name.object}`;
}

export function containerPath(name: ContainerName): string {
  return `/${name.account}/${name.container}`;
}

export function accountPath(account: string): string {
  return `/${account}`;
}

const OF_USER = '.user_';

/**
 * The account in which is counted what a user has written: its containers are those that the user wrote
 * in, each with what there is of that. Users' quotas are this account's.
 */
export function userAccount(userId: string): string {
  return OF_USER + userId;
}

/** Undefined: it is not a user's. */
export function userOfAccount(account: string): string | undefined {
  return isUserAccount(account) ? account.slice(OF_USER.length) : undefined;
}

export function isUserAccount(account: string): boolean {
  return account.startsWith(OF_USER);
}

/** Accounts of the store's own, which are no project's. */
export function isInternal(account: string): boolean {
  return account.startsWith('.');
}

/**
 * The first half of every index key: which ring an entry belongs to. Object rings have their policy's
 * number; the two row rings have the numbers above, so that log, digests and completeness treat all alike.
 */
export type PolicyIndex = number;
export const CONTAINER_RING: PolicyIndex = 0xfffe;
export const ACCOUNT_RING: PolicyIndex = 0xffff;
export const MAX_POLICY_INDEX: PolicyIndex = 0xfff0;
