/**
 * May this caller do this? The owners of an account are recognised from the token alone; only for
 * others the container is asked for its ACLs.
 */
import { type AccessRequest, type AclOperation, type Decision, decide } from '#auth/acl.ts';
import type { ContainerName } from '#base/names.ts';
import { isPartsAccount } from '#proxy/multipart/names.ts';
import { percentEncodePath } from '../http/utf8.ts';
import { type Refusal, refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

/** For accounts and for all that only owners may do. @throws Refusal 401, 403 */
export function authorizeAccount(request: SwiftRequest, operation: AclOperation): void {
  const decision = decideFor(request, request.account, operation, {});
  if (!decision.allowed) throw denied(request, decision.status);
  request.owner = decision.owner;
}

/** For the request's own container. @throws Refusal 401, 403 */
export async function authorize(request: SwiftRequest, operation: AclOperation): Promise<void> {
  const decision = await decideAt(request, request.containerName, operation);
  if (!decision.allowed) throw denied(request, decision.status);
  request.owner = decision.owner;
}

/** Another container: the source of a copy, the parts of a large object. */
export async function authorizeOther(
  request: SwiftRequest,
  name: ContainerName,
  operation: AclOperation,
): Promise<void> {
  const decision = await decideAt(request, name, operation);
  if (!decision.allowed) throw denied(request, decision.status);
}

/** A check that remembers: a large object asks it for every part. */
export function mayRead(request: SwiftRequest): (name: ContainerName) => Promise<boolean> {
  const known = new Map<string, Promise<Decision>>();
  return async ({ account, container }) => {
    // Parts of an upload belong to the object alone, and no client can name them.
    if (isPartsAccount(account)) return true;
    const key = `${account}/${container}`;
    let decision = known.get(key);
    if (decision === undefined) {
      decision = decideAt(request, { account, container }, 'read');
      known.set(key, decision);
    }
    return (await decision).allowed;
  };
}

const ALLOWED: Decision = { allowed: true, owner: false };

export async function decideAt(
  request: SwiftRequest,
  name: ContainerName,
  operation: AclOperation,
): Promise<Decision> {
  const { tempUrl } = request;
  if (tempUrl !== undefined) {
    return tempUrl.allows(name, operation) ? ALLOWED : { allowed: false, status: 401 };
  }
  const plain = decideFor(request, name.account, operation, {});
  if (plain.allowed || operation === 'admin') return plain;
  const info = await request.service.store.containerInfo(request, name, false);
  const readAcl = info?.headers['x-container-read'];
  const writeAcl = info?.headers['x-container-write'];
  if (readAcl === undefined && writeAcl === undefined) return plain;
  return decideFor(request, name.account, operation, { readAcl, writeAcl });
}

/** An account of no project: only the roles that own all accounts may do this there. */
export function ownsEveryAccount(request: SwiftRequest): boolean {
  return decideFor(request, '', 'admin', {}).allowed;
}

function decideFor(
  request: SwiftRequest,
  account: string,
  operation: AclOperation,
  acls: Pick<AccessRequest, 'readAcl' | 'writeAcl'>,
): Decision {
  const { service, caller } = request;
  return decide({
    caller,
    account,
    operation,
    ...acls,
    referrer: request.header('referer'),
    accountDomainId: service.authenticator.accountDomain(account),
    roles: service.roles,
  });
}

function denied(request: SwiftRequest, status: 401 | 403): Refusal {
  if (status === 403) return refuse('forbidden');
  return refuse('unauthorized', undefined, challenge(request));
}

export function challenge(request: SwiftRequest): string[] {
  const realm = percentEncodePath(request.account) || 'unknown';
  return ['WWW-Authenticate', `Swift realm="${realm}"`];
}
