/**
 * S3's access control lists. Kept as text beside the bucket (header `s3-acl`) or the object (group
 * `acl`), with a version in it:
 *
 *     {"v":1,"grants":[["id:CANONICAL","READ"],["uri:http://acs.amazonaws.com/groups/global/AllUsers","READ"]]}
 *
 * The project that owns the bucket may everything whatever the lists say. An object that somebody else
 * wrote is its writer's besides (object-ownership.ts). Projects are told by their canonical ids.
 */
import { projectOf } from '#auth/caller.ts';
import { canonicalIdOf } from '#identity/credentials.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export const PERMISSIONS = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** `id:` and a canonical id, or `uri:` and a group. */
export type Grantee = string;

export interface Grant {
  readonly grantee: Grantee;
  readonly permission: Permission;
}

const ALL_USERS = 'uri:http://acs.amazonaws.com/groups/global/AllUsers';
const AUTHENTICATED_USERS = 'uri:http://acs.amazonaws.com/groups/global/AuthenticatedUsers';
const LOG_DELIVERY = 'uri:http://acs.amazonaws.com/groups/s3/LogDelivery';
export const GROUPS: ReadonlySet<Grantee> = new Set([ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY]);

const VERSION = 1;

export function ownerIdOf(account: string): string {
  return canonicalIdOf(projectOf(account) ?? account);
}

/** What a canned ACL grants to others than the owner. */
const CANNED: Readonly<Record<string, readonly Grant[]>> = {
  private: [],
  'public-read': [{ grantee: ALL_USERS, permission: 'READ' }],
  'public-read-write': [
    { grantee: ALL_USERS, permission: 'READ' },
    { grantee: ALL_USERS, permission: 'WRITE' },
  ],
  'authenticated-read': [{ grantee: AUTHENTICATED_USERS, permission: 'READ' }],
  'aws-exec-read': [],
  'log-delivery-write': [
    { grantee: LOG_DELIVERY, permission: 'WRITE' },
    { grantee: LOG_DELIVERY, permission: 'READ_ACP' },
  ],
};

const FOR_BUCKET_OWNERS: Readonly<Record<string, Permission>> = {
  'bucket-owner-read': 'READ',
  'bucket-owner-full-control': 'FULL_CONTROL',
};

/** Who owns what an ACL is about, and the bucket. */
export interface Owners {
  readonly own: string;
  readonly bucket: string;
}

/** @throws S3Error InvalidArgument */
export function grantsOfCanned(canned: string, owners: Owners): Grant[] {
  const granted = grantedByCanned(canned, owners);
  if (granted !== undefined) {
    return [{ grantee: `id:${owners.own}`, permission: 'FULL_CONTROL' }, ...granted];
  }
  throw refuse('InvalidArgument', undefined, {
    ArgumentName: 'x-amz-acl',
    ArgumentValue: canned,
  });
}

function grantedByCanned(canned: string, { own, bucket }: Owners): readonly Grant[] | undefined {
  const permission = FOR_BUCKET_OWNERS[canned];
  if (permission === undefined) return Object.hasOwn(CANNED, canned) ? CANNED[canned] : undefined;
  return own === bucket ? [] : [{ grantee: `id:${bucket}`, permission }];
}

export function encodeGrants(grants: readonly Grant[]): string {
  const list = grants.map(({ grantee, permission }) => [grantee, permission]);
  return JSON.stringify({ v: VERSION, grants: list });
}

/** What can't be read grants nothing. */
export function decodeGrants(text: string | undefined): Grant[] {
  if (text === undefined) return [];
  const value = parseJson(text) as { v?: unknown; grants?: unknown } | undefined;
  if (value?.v !== VERSION || !Array.isArray(value.grants)) return [];
  return (value.grants as unknown[]).flatMap((item) => {
    const [grantee, name] = Array.isArray(item) ? (item as unknown[]) : [];
    const permission = PERMISSIONS.find((known) => known === name);
    return typeof grantee === 'string' && permission !== undefined ? [{ grantee, permission }] : [];
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Text that is damaged grants nothing, as said above.
  }
}

export function isPublicGrantee(grantee: Grantee): boolean {
  return grantee === ALL_USERS || grantee === AUTHENTICATED_USERS;
}

/** As whom a caller is granted things; `isProject`: also as their project. */
export function granteesFor(request: S3Request, isProject: boolean): Set<Grantee> {
  const { caller } = request;
  if (caller.kind !== 'user') return new Set([ALL_USERS]);
  const own =
    caller.projectId === undefined || !isProject ? [] : [`id:${canonicalIdOf(caller.projectId)}`];
  return new Set([ALL_USERS, AUTHENTICATED_USERS, ...own]);
}

export function isGranted(
  grants: readonly Grant[],
  grantees: ReadonlySet<Grantee>,
  permission: Permission,
): boolean {
  return grants.some(
    (grant) =>
      grantees.has(grant.grantee) &&
      (grant.permission === permission || grant.permission === 'FULL_CONTROL'),
  );
}
