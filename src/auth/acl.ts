/**
 * Container ACLs and who may do what, as Swift's clients know them.
 *
 *   ACL       element *("," element)
 *   element   ".r:" ["-"] host        referrers: "*", a host, or ".domain" for all hosts in it
 *             ".rlistings"            referrers may list too
 *             project ":" user        ids, or names where all are in the default domain; "*" for any
 *             role                    callers of the account's own project who have that role
 */
import { OperatingError } from '#base/errors.ts';
import { type Caller, projectOf, type UserCaller } from './caller.ts';

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
  readonly roles?: RoleLists;
}

/** Role names, compared without regard to case. */
export interface RoleLists {
  /** Own their project's account. */
  readonly operator: readonly string[];
  /** Read everything in their project's account. */
  readonly reader: readonly string[];
  /** Own every account. */
  readonly reseller: readonly string[];
}

const DEFAULT_ROLE_LISTS: RoleLists = {
  operator: ['admin', 'swiftoperator'],
  reader: ['reader'],
  reseller: ['ResellerAdmin'],
};

/** owner: may see what only owners see (ACLs, sync keys). Otherwise the status to answer. */
export type Decision =
  | { readonly allowed: true; readonly owner: boolean }
  | { readonly allowed: false; readonly status: 401 | 403 };

export interface Acl {
  readonly referrers: readonly string[];
  readonly listings: boolean;
  /** Everything else, as written. */
  readonly grants: readonly string[];
}

const MAX_ACL_LENGTH = 8192;
const REFERRER_NAMES = new Set(['.r', '.ref', '.referer', '.referrer']);
const DEFAULT_DOMAIN_ID = 'default';

/**
 * Checks an ACL header's value and gives the form to store.
 * @throws OperatingError `bad-acl`: answer 400 with its message
 */
export function cleanAcl(kind: 'read' | 'write', value: string): string {
  if (value.length > MAX_ACL_LENGTH) {
    throw new OperatingError('bad-acl', `ACL longer than ${MAX_ACL_LENGTH} characters`);
  }
  const elements = value.split(',').map((element) => element.trim());
  return elements
    .filter((element) => element !== '')
    .map((element) => cleanElement(kind, element))
    .join(',');
}

function cleanElement(kind: 'read' | 'write', element: string): string {
  const colon = element.indexOf(':');
  if (colon < 0) return element;
  const designator = element.slice(0, colon).trim();
  if (!designator.startsWith('.')) return element;
  if (!REFERRER_NAMES.has(designator)) {
    throw badAcl('Unknown designator', designator, `in ACL: ${quote(element)}`);
  }
  if (kind === 'write') throw badAcl('Referrers not allowed in write ACL:', element);
  const host = element.slice(colon + 1).trim();
  const negated = host.startsWith('-');
  const bare = negated ? host.slice(1).trim() : host;
  const name = bare !== '*' && bare.startsWith('*') ? bare.slice(1).trim() : bare;
  if (name === '' || name === '.') {
    throw badAcl('No host/domain value after referrer designation in ACL:', element);
  }
  return `.r:${negated ? '-' : ''}${name}`;
}

function badAcl(what: string, element: string, rest = ''): OperatingError {
  return new OperatingError('bad-acl', `${what} ${quote(element)}${rest && ` ${rest}`}`);
}

function quote(text: string): string {
  return `'${text}'`;
}

function parseAcl(value: string | undefined): Acl {
  const elements = (value ?? '').split(',').filter((element) => element !== '');
  return {
    referrers: elements.filter((e) => e.startsWith('.r:')).map((e) => e.slice(3)),
    listings: elements.includes('.rlistings'),
    grants: elements.filter((e) => !e.startsWith('.r:') && e !== '.rlistings'),
  };
}

export function decide(request: AccessRequest): Decision {
  const { caller, account, operation } = request;
  const { operator, reader, reseller } = request.roles ?? DEFAULT_ROLE_LISTS;
  if (caller.kind === 'user') {
    if (hasRole(caller, reseller)) return { allowed: true, owner: true };
    const own = caller.projectId !== undefined && caller.projectId === projectOf(account);
    if (own && hasRole(caller, operator)) return { allowed: true, owner: true };
    if (own && hasRole(caller, reader) && isReading(operation)) return ALLOWED;
    if (aclGrants(request, caller, own)) return ALLOWED;
  }
  if (referrerMay(request)) return ALLOWED;
  return { allowed: false, status: caller.kind === 'anonymous' ? 401 : 403 };
}

const ALLOWED: Decision = { allowed: true, owner: false };

function isReading(operation: AclOperation): boolean {
  return operation === 'read' || operation === 'list' || operation === 'account-read';
}

function hasRole(caller: UserCaller, roles: readonly string[]): boolean {
  const wanted = roles.map((role) => role.toLowerCase());
  return caller.roles.some((role) => wanted.includes(role.toLowerCase()));
}

function aclFor({ operation, readAcl, writeAcl }: AccessRequest): Acl | undefined {
  if (operation === 'read' || operation === 'list') return parseAcl(readAcl);
  return operation === 'write' ? parseAcl(writeAcl) : undefined;
}

function aclGrants(request: AccessRequest, caller: UserCaller, own: boolean): boolean {
  const { grants } = aclFor(request) ?? { grants: [] };
  if (grants.length === 0) return false;
  const pairs = pairsOf(caller, request.accountDomainId);
  if (grants.some((grant) => pairs.has(grant))) return true;
  // A bare element is a role, and roles count only inside the account's own project.
  return (
    own &&
    hasRole(
      caller,
      grants.filter((grant) => !grant.includes(':')),
    )
  );
}

/**
 * Every way in which an element can name this caller. Names are unique only within a domain, so
 * they count only where account, project and user are all in the default one.
 */
function pairsOf(caller: UserCaller, accountDomainId: string | undefined): Set<string> {
  const { projectId, projectName, userId, userName } = caller;
  const domains = [caller.domainId, caller.projectDomainId ?? caller.domainId, accountDomainId];
  const byName = domains.every((domain) => domain === DEFAULT_DOMAIN_ID);
  const users = byName ? [userId, userName, '*'] : [userId, '*'];
  const projects = projectId === undefined ? [] : [projectId];
  if (byName && projectName !== undefined) projects.push(projectName);
  return new Set([...projects, '*'].flatMap((p) => users.map((user) => `${p}:${user}`)));
}

function referrerMay(request: AccessRequest): boolean {
  const { operation, referrer } = request;
  if (operation !== 'read' && operation !== 'list') return false;
  const { referrers, listings } = parseAcl(request.readAcl);
  if (operation === 'list' && !listings) return false;
  return referrerMatches(referrers, referrer);
}

/** The last element that fits decides. */
export function referrerMatches(
  referrers: readonly string[],
  referrer: string | undefined,
): boolean {
  const host = hostOf(referrer);
  let allowed = false;
  for (const element of referrers) {
    const negated = element.startsWith('-');
    const pattern = negated ? element.slice(1) : element;
    const fits = pattern === host || (pattern.startsWith('.') && host.endsWith(pattern));
    if (negated) allowed &&= !(fits || pattern === '*');
    else allowed ||= fits || pattern === '*';
  }
  return allowed;
}

function hostOf(referrer: string | undefined): string {
  const url = referrer === undefined ? null : URL.parse(referrer);
  return url?.hostname || 'unknown';
}
