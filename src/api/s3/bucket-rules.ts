/**
 * A bucket's own rules about access: the policy, the public access block, who owns what others store.
 * They stand in container headers.
 */
import type { Policy } from '#auth/policy/policy.ts';
import type { PolicyCache } from '#auth/policy/policy-cache.ts';
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

export function resourceOf(bucket: string, key = ''): string {
  return key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
}

/** Undefined: the bucket has none. */
export function policyOf({ info }: Bucket, cache: PolicyCache): Policy | undefined {
  const text = info.headers[POLICY_HEADER];
  return text === undefined ? undefined : cache.ofBucket(text);
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
