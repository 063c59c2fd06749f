/**
 * S3's access control lists. Kept as text beside the bucket (header `s3-acl`) or the object (group
 * `acl`), with a version in it:
 *
 *     {"v":1,"grants":[["id:CANONICAL","READ"],["uri:http://acs.amazonaws.com/groups/global/AllUsers","READ"]]}
 *
 * The owner is always the project that owns the bucket, and may everything whatever the list says.
 * Projects are told by their canonical ids.
 */
import { projectOf } from '#auth/caller.ts';
import { canonicalIdOf } from '#identity/credentials.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';
import { element, leaf } from './xml.ts';
import {
  child,
  children,
  onlyChildren,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

export const PERMISSIONS = ['FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP'] as const;
export type Permission = (typeof PERMISSIONS)[number];

/** `id:` and a canonical id, or `uri:` and a group. */
export type Grantee = string;

export interface Grant {
  readonly grantee: Grantee;
  readonly permission: Permission;
}

export const ALL_USERS = 'uri:http://acs.amazonaws.com/groups/global/AllUsers';
export const AUTHENTICATED_USERS = 'uri:http://acs.amazonaws.com/groups/global/AuthenticatedUsers';
const LOG_DELIVERY = 'uri:http://acs.amazonaws.com/groups/s3/LogDelivery';
const GROUPS = new Set([ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY]);

const VERSION = 1;
const MAX_GRANTS = 100;

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
  // The bucket's owner owns what is in it.
  'bucket-owner-read': [],
  'bucket-owner-full-control': [],
  'aws-exec-read': [],
  'log-delivery-write': [
    { grantee: LOG_DELIVERY, permission: 'WRITE' },
    { grantee: LOG_DELIVERY, permission: 'READ_ACP' },
  ],
};

const GRANT_HEADERS: Readonly<Record<string, Permission>> = {
  'x-amz-grant-full-control': 'FULL_CONTROL',
  'x-amz-grant-read': 'READ',
  'x-amz-grant-write': 'WRITE',
  'x-amz-grant-read-acp': 'READ_ACP',
  'x-amz-grant-write-acp': 'WRITE_ACP',
};

/** Of x-amz-acl or the x-amz-grant-* headers; undefined: none of them came. @throws S3Error */
export function grantsOfHeaders(request: S3Request, ownerId: string): Grant[] | undefined {
  const canned = request.header('x-amz-acl');
  const grants: Grant[] = [];
  let given = false;
  for (const [name, permission] of Object.entries(GRANT_HEADERS)) {
    const value = request.header(name);
    if (value === undefined) continue;
    given = true;
    for (const grantee of granteesOf(value)) grants.push({ grantee, permission });
  }
  if (canned === undefined) return given ? checkGrants(grants) : undefined;
  if (given) {
    throw refuse('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed');
  }
  return grantsOfCanned(canned, ownerId);
}

/** @throws S3Error InvalidArgument */
export function grantsOfCanned(canned: string, ownerId: string): Grant[] {
  const found = Object.hasOwn(CANNED, canned) ? CANNED[canned] : undefined;
  if (found === undefined) {
    throw refuse('InvalidArgument', undefined, {
      ArgumentName: 'x-amz-acl',
      ArgumentValue: canned,
    });
  }
  return [{ grantee: `id:${ownerId}`, permission: 'FULL_CONTROL' }, ...found];
}

/** `id="...", uri="..."`. */
function granteesOf(value: string): Grantee[] {
  return value.split(',').map((item) => {
    const [, kind = '', text = ''] = /^\s*(id|uri|emailAddress)="?([^"]*)"?\s*$/i.exec(item) ?? [];
    return granteeOf(kind.toLowerCase(), text);
  });
}

function granteeOf(kind: string, text: string): Grantee {
  if (kind === 'id' && /^[0-9a-f]{64}$/.test(text)) return `id:${text}`;
  if (kind === 'uri' && GROUPS.has(`uri:${text}`)) return `uri:${text}`;
  if (kind === 'emailaddress') {
    throw refuse(
      'UnresolvableGrantByEmailAddress',
      'The e-mail address you provided does not match any account on record.',
    );
  }
  throw refuse('InvalidArgument', kind === 'uri' ? 'Invalid group uri' : 'Invalid id', {
    ArgumentName: kind,
    ArgumentValue: text,
  });
}

function checkGrants(grants: Grant[]): Grant[] {
  if (grants.length > MAX_GRANTS) throw refuse('MalformedACLError');
  return grants;
}

/** `<AccessControlPolicy>`. @throws S3Error MalformedACLError, InvalidArgument, AccessDenied */
export function grantsOfXml(policy: XmlElement, ownerId: string): Grant[] {
  onlyChildren(policy, ['Owner', 'AccessControlList']);
  const owner = child(policy, 'Owner');
  const list = child(policy, 'AccessControlList');
  if (owner === undefined || list === undefined) throw refuse('MalformedACLError');
  const stated = textOf(owner, 'ID');
  if (stated !== undefined && stated !== ownerId) throw refuse('AccessDenied');
  return checkGrants(children(list, 'Grant').map(grantOfXml));
}

function grantOfXml(grant: XmlElement): Grant {
  const grantee = child(grant, 'Grantee');
  const permission = PERMISSIONS.find((known) => known === requiredText(grant, 'Permission'));
  if (grantee === undefined || permission === undefined) throw refuse('MalformedACLError');
  const type = Object.entries(grantee.attributes).find(([name]) => /(^|:)type$/.test(name))?.[1];
  const [kind, text] =
    type === 'Group'
      ? ['uri', requiredText(grantee, 'URI')]
      : type === 'AmazonCustomerByEmail'
        ? ['emailaddress', requiredText(grantee, 'EmailAddress')]
        : ['id', requiredText(grantee, 'ID')];
  return { grantee: granteeOf(kind, text), permission };
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

/** The answer of GetBucketAcl and GetObjectAcl; without a list it is the owner's alone. */
export function aclXml(ownerId: string, grants: readonly Grant[] | undefined): string {
  const shown = grants ?? [{ grantee: `id:${ownerId}`, permission: 'FULL_CONTROL' as const }];
  return (
    element('Owner', leaf('ID', ownerId)) +
    element('AccessControlList', shown.map(grantXml).join(''))
  );
}

function grantXml({ grantee, permission }: Grant): string {
  const at = grantee.indexOf(':') + 1;
  const type = grantee.startsWith('uri:') ? 'Group' : 'CanonicalUser';
  const who = leaf(type === 'Group' ? 'URI' : 'ID', grantee.slice(at));
  const attributes = `xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="${type}"`;
  return element(
    'Grant',
    `<Grantee ${attributes}>${who}</Grantee>${leaf('Permission', permission)}`,
  );
}
