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

/**
 * The first half of every index key: which ring an entry belongs to. Object rings have their policy's
 * number; the two row rings have the numbers above, so that log, digests and completeness treat all alike.
 */
export type PolicyIndex = number;
export const CONTAINER_RING: PolicyIndex = 0xfffe;
export const ACCOUNT_RING: PolicyIndex = 0xffff;
export const MAX_POLICY_INDEX: PolicyIndex = 0xfff0;
