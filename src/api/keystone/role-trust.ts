/** Roles of projects, and who may take one on: their trust policies decide. */
import type { Context } from 'hono';
import { callerOf } from '#auth/caller-of-token.ts';
import type { Facts } from '#auth/policy/conditions.ts';
import { evaluate } from '#auth/policy/policy.ts';
import { arnOf } from '#identity/iam/names.ts';
import type { IamRole } from '#identity/records.ts';
import { type KeystoneApi, notAuthorized } from './api.ts';
import { type Actor, actorOf, ownDecision } from './iam-actor.ts';
import type { StsCaller } from './sts-caller.ts';

const ARN = /^arn:aws:iam::([^:]+):role\/([\w+=,.@-]{1,64})$/;

/** Undefined: the ARN names none that a project has made. */
export async function namedRole(api: KeystoneApi, arn: string): Promise<IamRole | undefined> {
  const [, projectId, name] = ARN.exec(arn) ?? [];
  if (projectId === undefined || name === undefined) return undefined;
  return api.identity.iam.roles.find(projectId, name);
}

/**
 * The trust policy must allow it. One that names a whole project leaves it to that project's own policies
 * (its owners need none); in another project than the role's, these must allow it in any case.
 *
 * @throws OperatingError `forbidden`
 */
export function mustBeTrusted(
  api: KeystoneApi,
  c: Context,
  given: {
    readonly caller: StsCaller;
    readonly role: IamRole;
    readonly externalId: string | undefined;
  },
): void {
  const { role, externalId } = given;
  const actor = actorOf(api, c, callerOf(api.identity.directory, given.caller.token));
  const facts: Facts = (key) =>
    key === 'sts:externalid' && externalId !== undefined ? [externalId] : actor.facts(key);
  const resource = arnOf(role.projectId, 'role', role.name);
  const asked = { action: 'sts:AssumeRole', resource, facts };
  const own = ownDecision(actor, asked.action, resource);
  const trust = actor.cache.ofTrust(role.trust);
  const { all, personal } = actor.principals;
  const trusts = (principals: ReadonlySet<string>): boolean =>
    evaluate(trust, { ...asked, principals }) === 'allow';
  const needed = own === 'allow' ? all : personal;
  // What denies counts for everybody whom it names, the project too.
  const may = own !== 'deny' && trusts(all) && trusts(needed);
  if (!may || (own !== 'allow' && !isAtHome(actor, role))) throw notAuthorized();
}

function isAtHome({ caller }: Actor, { projectId }: IamRole): boolean {
  return caller.projectId === projectId;
}
