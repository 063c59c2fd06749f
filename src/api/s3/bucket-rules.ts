/**
 * A bucket's own rules about access, parsed from its configuration once per text: the policy, the public
 * access block, who owns what others store. They stand in container headers; a bucket is looked up for
 * every request, its texts change seldom.
 */
import { isPublic, type Policy, parsePolicy } from '#auth/policy/policy.ts';
import type { Bucket } from './bucket.ts';

export const POLICY_HEADER = 's3-policy';
export const ACCESS_BLOCK_HEADER = 's3-public-access-block';
export const OWNERSHIP_HEADER = 's3-ownership';

export const ACCESS_BLOCK_SWITCHES = [
  'BlockPublicAcls',
  'IgnorePublicAcls',
  'BlockPublicPolicy',
  'RestrictPublicBuckets',
] as const;
export type AccessBlockSwitch = (typeof ACCESS_BLOCK_SWITCHES)[number];

export const OWNERSHIPS = ['BucketOwnerEnforced', 'BucketOwnerPreferred', 'ObjectWriter'] as const;
export type Ownership = (typeof OWNERSHIPS)[number];

export interface ParsedPolicy {
  readonly policy: Policy;
  readonly isPublic: boolean;
}

export function resourceOf(bucket: string, key = ''): string {
  return key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
}

const MAX_PARSED = 1000;

/** Policies by their text: the same text means the same in every bucket. */
export class PolicyCache {
  readonly #parsed = new Map<string, ParsedPolicy>();

  of({ info }: Bucket): ParsedPolicy | undefined {
    const text = info.headers[POLICY_HEADER];
    if (text === undefined) return undefined;
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const policy = parsePolicy(text, { principals: true });
    const parsed = { policy, isPublic: isPublic(policy) };
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(text, parsed);
    return parsed;
  }
}

export function isBlocked({ info }: Bucket, what: AccessBlockSwitch): boolean {
  return (info.headers[ACCESS_BLOCK_HEADER] ?? '').split(',').includes(what);
}

/** Undefined: nobody chose; ACLs count. */
export function ownershipOf({ info }: Bucket): Ownership | undefined {
  return OWNERSHIPS.find((known) => known === info.headers[OWNERSHIP_HEADER]);
}

export function acceptsAcls(bucket: Bucket): boolean {
  return ownershipOf(bucket) !== 'BucketOwnerEnforced';
}
