/**
 * Log-ins: from proofs of identity (password, token, application credential) and a wanted scope to a
 * signed token.
 *
 * The order of reads matters: the state's revision is read first, then everything the decision rests
 * on, and the token carries that revision (token.ts says why). A token made from a token is checked
 * against the revocations in state itself, not only those this service has heard of, and never
 * outlives the first.
 */
import { OperatingError } from '#base/errors.ts';
import { type IdentityContext, nowMs } from './context.ts';
import { iamDomainId } from './iam/names.ts';
import { ID_BYTES } from './id.ts';
import { type LogInRequest, type Proof, unauthorized } from './log-in-request.ts';
import type { MappedUsers } from './mapped-users.ts';
import type { Mapped } from './mapping.ts';
import type { Proofs } from './proofs.ts';
import { type IamRole, PUBLIC } from './records.ts';
import type { Scopes } from './scopes.ts';
import { packSession } from './session-facts.ts';
import type { SigningKeys } from './signing-keys.ts';
import { MAX_TOKEN_ROLES, type Method, type Scope, signToken, type TokenFields } from './token.ts';
import type { TokenVerifier } from './token-verifier.ts';

export interface IssuedToken {
  readonly text: string;
  readonly fields: TokenFields;
}

export interface LogInParts {
  readonly proofs: Proofs;
  readonly scopes: Scopes;
  readonly mappedUsers: MappedUsers;
  readonly signingKeys: SigningKeys;
  readonly verifier: TokenVerifier;
}

export class LogIns {
  readonly #context: IdentityContext;
  readonly #parts: LogInParts;

  constructor(context: IdentityContext, parts: LogInParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * @throws OperatingError `unauthorized` (whatever was wrong: clients learn no more),
   *   `too-many-attempts`, `busy`, `state-unavailable`, `forbidden`
   */
  async logIn(request: LogInRequest): Promise<IssuedToken> {
    const revision = await this.#revision();
    const own = await this.#parts.proofs.prove(request);
    const byTrust = request.scope?.kind === 'trust';
    const whole = byTrust ? await this.#parts.proofs.throughTrust(own, request.scope.id) : own;
    const scope = await this.#parts.scopes.resolve(byTrust ? undefined : request.scope, whole);
    const allRoleIds = await this.#parts.scopes.rolesFor(whole, scope);
    const { proof, roleIds } = narrowed(whole, allRoleIds, request.onlyRoleIds);
    const expiresMs = Math.min(request.untilMs ?? Infinity, proof.expiresMs ?? Infinity);
    const session = { ...proof.session, policy: request.policy };
    const token = await this.#issue({ ...proof, expiresMs, session }, scope, roleIds, revision);
    this.#context.env.log.info('identity.log-in', {
      user: proof.user.id,
      scope: 'id' in scope ? scope.id : scope.kind,
      methods: proof.methods.join(','),
      audit: token.fields.auditId,
      address: request.address,
    });
    return token;
  }

  /**
   * A token for who owns an S3 key pair, whose signature was or will be checked elsewhere. Undefined:
   * the user or project is disabled, or has no role left.
   */
  async byKeyPair(owner: {
    readonly userId: string;
    readonly projectId: string;
    readonly expiresMs?: number;
    readonly onlyRoleIds?: readonly string[];
    readonly policy?: string;
  }): Promise<IssuedToken | undefined> {
    const revision = await this.#revision();
    const user = (await this.#context.store.users.get(owner.userId))?.fields;
    const project = (await this.#context.store.projects.get(owner.projectId))?.fields;
    if (user === undefined || project === undefined) return undefined;
    if (!(await this.#parts.scopes.isEnabled(user)) || !(await this.#parts.scopes.isOpen(project)))
      return undefined;
    const scope: Scope = { kind: 'project', id: project.id };
    const effective = await this.#parts.scopes.effectiveRoles(user.id, scope);
    // A user that was made for policies alone needs no role.
    if (effective.size === 0 && user.domainId !== iamDomainId(project.id)) return undefined;
    const { expiresMs, policy } = owner;
    const whole: Proof = { user, methods: ['ec2credential'], expiresMs, session: { policy } };
    const { proof, roleIds } = narrowed(whole, [...effective], owner.onlyRoleIds);
    return this.#issue(proof, scope, roleIds, revision, expiresMs);
  }

  /** A session in a role of a project, for whom its trust policy names: its policies are all it has. */
  async inRole(wanted: {
    readonly userId: string;
    readonly role: IamRole;
    readonly session: string;
    readonly expiresMs: number;
    readonly policy?: string;
  }): Promise<IssuedToken> {
    const { role, expiresMs, policy } = wanted;
    const revision = await this.#revision();
    const user = (await this.#context.store.users.get(wanted.userId))?.fields;
    const project = (await this.#context.store.projects.get(role.projectId))?.fields;
    if (user === undefined || project === undefined) throw unauthorized();
    if (!(await this.#parts.scopes.isEnabled(user)) || !(await this.#parts.scopes.isOpen(project)))
      throw unauthorized();
    const session = { role: { id: role.id, session: wanted.session }, policy };
    const proof: Proof = { user, methods: ['ec2credential', 'limited'], expiresMs, session };
    const scope: Scope = { kind: 'project', id: project.id };
    return this.#issue(proof, scope, [], revision, expiresMs);
  }

  /**
   * Who was proven by a certificate and mapped by rules. The user is made on first sight, without a
   * password; the project must exist. Roles are the mapped ones, those of the mapped groups, and what
   * the user was granted besides.
   */
  async byMapping(proof: {
    readonly mapped: Mapped;
    readonly expiresMs: number;
    readonly limited: boolean;
    readonly address: string;
    readonly policy?: string;
  }): Promise<IssuedToken> {
    const { mapped, limited, expiresMs } = proof;
    const revision = await this.#revision();
    const project = await this.#parts.mappedUsers.projectOf(mapped);
    if (project === undefined || !(await this.#parts.scopes.isOpen(project))) throw unauthorized();
    const user = await this.#parts.mappedUsers.find(mapped);
    if (!(await this.#parts.scopes.isEnabled(user))) throw unauthorized();
    const scope: Scope = { kind: 'project', id: project.id };
    const groups = await this.#parts.mappedUsers.groupsOf(mapped);
    const roleIds = await this.#parts.mappedUsers.rolesOf(mapped, user, scope, groups);
    if (roleIds.size === 0) throw unauthorized();
    const methods: Method[] = limited ? ['mapped', 'limited'] : ['mapped'];
    const whole: Proof = { user, methods, expiresMs, session: { groups, policy: proof.policy } };
    const token = await this.#issue(whole, scope, [...roleIds], revision);
    this.#context.env.log.info('identity.log-in', {
      ...{ user: user.id, scope: project.id, methods: methods.join(','), rule: mapped.rule },
      ...{ audit: token.fields.auditId, address: proof.address },
    });
    return token;
  }

  async #revision(): Promise<number> {
    return (await this.#context.store.state.range({ prefix: `${PUBLIC}domain/` }, { limit: 1 }))
      .revision;
  }

  async #issue(
    proof: Proof,
    scope: Scope,
    roleIds: readonly string[],
    revision: number,
    until = nowMs(this.#context) + this.#context.settings.tokenLifetimeMs,
  ): Promise<IssuedToken> {
    const { env, store } = this.#context;
    const issuedMs = nowMs(this.#context);
    const expiresMs = Math.min(until, proof.expiresMs ?? Infinity);
    // A proof can end while the password is checked.
    if (expiresMs <= issuedMs) throw unauthorized();
    const roles = (await Promise.all(roleIds.map((id) => store.roles.get(id)))).filter(
      (role) => role !== undefined,
    );
    const numbers = roles.map(({ fields }) => fields.number).sort((a, b) => a - b);
    if (numbers.length > MAX_TOKEN_ROLES) {
      throw new OperatingError('forbidden', `More than ${MAX_TOKEN_ROLES} roles in one scope.`);
    }
    const fields: TokenFields = {
      userId: proof.user.id,
      ...{ scope, methods: proof.methods, issuedMs, expiresMs, revision, roles: numbers },
      auditId: env.random.bytes(ID_BYTES).toString('hex'),
      chainId: proof.chainId,
      applicationCredentialId: proof.applicationCredentialId,
      trustId: proof.trustId,
      session: packSession(proof.session ?? {}),
    };
    const text = signToken(fields, this.#parts.signingKeys.current());
    this.#parts.verifier.remember(text);
    return { text, fields };
  }
}

/** @throws OperatingError `unauthorized`: nothing is left */
function narrowed(
  proof: Proof,
  roleIds: readonly string[],
  only: readonly string[] | undefined,
): { readonly proof: Proof; readonly roleIds: readonly string[] } {
  if (only === undefined) return { proof, roleIds };
  const left = roleIds.filter((id) => only.includes(id));
  if (left.length === 0) throw unauthorized();
  const methods = [...new Set<Method>([...proof.methods, 'limited'])];
  return { proof: { ...proof, methods }, roleIds: left };
}
