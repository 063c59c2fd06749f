/**
 * Log-ins: from proofs of identity (password, token, application credential) and a wanted scope to a
 * signed token.
 *
 * The order of reads matters: the state's revision is read first, then everything the decision rests
 * on, and the token carries that revision (token.ts says why). A token made from a token is checked
 * against the revocations in state itself, not only those this service has heard of, and never
 * outlives the first.
 */
import { assert } from '#base/assert.ts';
import { OperatingError } from '#base/errors.ts';
import type { ApplicationCredentials } from './application-credentials.ts';
import { type IdentityContext, nowMs } from './context.ts';
import type { Domains, Projects } from './domains.ts';
import type { Groups } from './groups.ts';
import { ID_BYTES } from './id.ts';
import type { LogInLimiter } from './log-in-limiter.ts';
import { PUBLIC, type User } from './records.ts';
import type { Grants, Roles } from './roles.ts';
import type { SigningKeys } from './signing-keys.ts';
import { MAX_TOKEN_ROLES, type Method, type Scope, signToken, type TokenFields } from './token.ts';
import type { TokenVerifier } from './token-verifier.ts';
import type { Trusts } from './trusts.ts';
import type { Users } from './users.ts';

export type DomainReference = { readonly id: string } | { readonly name: string };
export type UserReference =
  | { readonly id: string }
  | { readonly name: string; readonly domain: DomainReference };

export interface LogInRequest {
  readonly password?: { readonly user: UserReference; readonly password: string };
  readonly token?: string;
  readonly applicationCredential?: {
    readonly id?: string;
    readonly name?: string;
    readonly user?: UserReference;
    readonly secret: string;
  };
  /** Without one: the user's default project when there is a role in it, else none. */
  readonly scope?: ScopeRequest;
  /** Where the request comes from, to limit guessing. */
  readonly address: string;
}

export type ScopeRequest =
  | { readonly kind: 'none' }
  | { readonly kind: 'system' }
  | { readonly kind: 'domain'; readonly domain: DomainReference }
  | { readonly kind: 'trust'; readonly id: string }
  | { readonly kind: 'project'; readonly id: string }
  | { readonly kind: 'project'; readonly name: string; readonly domain: DomainReference };

export interface IssuedToken {
  readonly text: string;
  readonly fields: TokenFields;
}

type PasswordProof = NonNullable<LogInRequest['password']>;

/** What the proofs of one request have shown. */
interface Proof {
  readonly user: User;
  readonly methods: readonly Method[];
  readonly expiresMs?: number;
  readonly chainId?: string;
  readonly applicationCredentialId?: string;
  readonly trustId?: string;
  /** Only this scope may be asked for, and it is the default. */
  readonly boundTo?: Scope;
  /** Roles beyond these are left out. */
  readonly roleIds?: readonly string[];
}

export interface LogInParts {
  readonly users: Users;
  readonly groups: Groups;
  readonly domains: Domains;
  readonly projects: Projects;
  readonly roles: Roles;
  readonly grants: Grants;
  readonly applicationCredentials: ApplicationCredentials;
  readonly trusts: Trusts;
  readonly signingKeys: SigningKeys;
  readonly verifier: TokenVerifier;
  readonly limiter: LogInLimiter;
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
    const own = await this.#prove(request);
    const byTrust = request.scope?.kind === 'trust';
    const proof = byTrust ? await this.#throughTrust(own, request.scope.id) : own;
    const scope = await this.#resolveScope(byTrust ? undefined : request.scope, proof);
    const roleIds = await this.#rolesFor(proof, scope);
    const token = await this.#issue(proof, scope, roleIds, revision);
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
  }): Promise<IssuedToken | undefined> {
    const revision = await this.#revision();
    const user = (await this.#context.store.users.get(owner.userId))?.fields;
    const project = (await this.#context.store.projects.get(owner.projectId))?.fields;
    if (user === undefined || project === undefined) return undefined;
    if (!(await this.#isEnabled(user)) || !(await this.#isOpen(project))) return undefined;
    const scope: Scope = { kind: 'project', id: project.id };
    const roleIds = await this.effectiveRoles(user.id, scope);
    if (roleIds.size === 0) return undefined;
    const { expiresMs } = owner;
    const proof: Proof = { user, methods: ['ec2credential'], expiresMs };
    return this.#issue(proof, scope, [...roleIds], revision, expiresMs);
  }

  /** Ids of the roles in effect, with groups, inheritance and implied roles. */
  async effectiveRoles(userId: string, scope: Scope): Promise<Set<string>> {
    const { groups, grants, roles } = this.#parts;
    const actors = [
      { kind: 'user' as const, id: userId },
      ...(await groups.ofUser(userId)).map((id) => ({ kind: 'group' as const, id })),
    ];
    const inheritedFrom = scope.kind === 'project' ? await this.#ancestors(scope.id) : new Set();
    const assignments = (await Promise.all(actors.map((actor) => grants.ofActor(actor)))).flat();
    const direct = assignments.filter(({ target, inherited }) => {
      if (inherited) return inheritedFrom.has(target.id);
      if (scope.kind === 'system') return target.kind === 'system';
      return 'id' in scope && target.kind === scope.kind && target.id === scope.id;
    });
    return roles.withImplied(direct.map(({ roleId }) => roleId));
  }

  /** Projects in which the user has a role, for GET /v3/auth/projects. */
  async projectsOf(userId: string): Promise<string[]> {
    const { projects } = this.#parts;
    const enabled = (await projects.list()).filter((project) => project.enabled);
    const found: string[] = [];
    for (const { id } of enabled) {
      const roleIds = await this.effectiveRoles(userId, { kind: 'project', id });
      if (roleIds.size > 0) found.push(id);
    }
    return found;
  }

  async #revision(): Promise<number> {
    return (await this.#context.store.state.range({ prefix: `${PUBLIC}domain/` }, { limit: 1 }))
      .revision;
  }

  async #prove(request: LogInRequest): Promise<Proof> {
    const proofs: Proof[] = [];
    if (request.password) proofs.push(await this.#byPassword(request.password, request.address));
    if (request.token !== undefined) proofs.push(await this.#byToken(request.token));
    const { applicationCredential } = request;
    if (applicationCredential) {
      proofs.push(await this.#byApplicationCredential(applicationCredential, request.address));
    }
    const [first, ...others] = proofs;
    if (first === undefined) throw unauthorized();
    if (others.some(({ user }) => user.id !== first.user.id)) throw unauthorized();
    return others.reduce(combine, first);
  }

  /**
   * A user's own new password, with the old one as proof, guarded like a log-in. An expired one will
   * do: that is what it is still for.
   */
  async changePassword(
    userId: string,
    old: string,
    password: string,
    address: string,
  ): Promise<void> {
    const user = await this.#checkPassword({ user: { id: userId }, password: old }, address);
    await this.#parts.users.update(user.id, { password });
    this.#context.env.log.info('identity.password-changed', { user: user.id, address });
  }

  async #byPassword(proof: PasswordProof, address: string): Promise<Proof> {
    const user = await this.#checkPassword(proof, address);
    const expiresMs = await this.#parts.users.passwordExpiresMs(user.id);
    if (expiresMs !== undefined && expiresMs <= nowMs(this.#context)) {
      const message = `The password is expired and needs to be changed for user: ${user.id}.`;
      throw new OperatingError('unauthorized', message);
    }
    return { user, methods: ['password'] };
  }

  async #checkPassword(proof: PasswordProof, address: string): Promise<User> {
    const { users, limiter } = this.#parts;
    const label = labelOf(proof.user);
    limiter.check(label, address);
    const user = await this.#findUser(proof.user);
    const matches = await users.passwordMatches(user?.id, proof.password);
    if (!matches || user === undefined || !(await this.#isEnabled(user))) {
      limiter.failed(label, address);
      this.#context.env.log.warn('identity.log-in-failed', { user: label, address });
      throw unauthorized();
    }
    limiter.succeeded(label, address);
    return user;
  }

  async #byToken(text: string): Promise<Proof> {
    const verification = this.#parts.verifier.verify(text);
    if (!verification.valid) throw unauthorized();
    const { fields } = verification.token;
    await this.#mustNotBeRevoked(fields);
    const user = (await this.#context.store.users.get(fields.userId))?.fields;
    if (user === undefined || !(await this.#isEnabled(user))) throw unauthorized();
    const { applicationCredentialId } = fields;
    // A trust's token is not exchanged: its roles would outlive the trustor's.
    if (fields.trustId !== undefined) throw unauthorized();
    const bound = applicationCredentialId !== undefined;
    return {
      user,
      methods: [...new Set<Method>([...fields.methods, 'token'])],
      expiresMs: fields.expiresMs,
      chainId: fields.chainId ?? fields.auditId,
      applicationCredentialId,
      ...(bound && {
        boundTo: fields.scope,
        roleIds: verification.token.roles.map(({ id }) => id),
      }),
    };
  }

  /** The directory may lag behind state by a moment: a token must not be laundered in it. */
  async #mustNotBeRevoked(fields: TokenFields): Promise<void> {
    const { revocations, state } = this.#context.store;
    const targetId = 'id' in fields.scope ? fields.scope.id : fields.scope.kind;
    const keys = [
      revocations.key('audit', fields.auditId),
      revocations.key('user', fields.userId),
      revocations.key('target', targetId),
      revocations.key('user-target', fields.userId, targetId),
    ];
    const { results } = await state.txn({
      success: keys.map((key) => ({ kind: 'range', range: { start: key, end: `${key}\0` } })),
    });
    for (const result of results) {
      const [event] = result.kind === 'range' ? result.items : [];
      if ((event?.modRevision ?? 0) > fields.revision) throw unauthorized();
    }
  }

  async #byApplicationCredential(
    proof: NonNullable<LogInRequest['applicationCredential']>,
    address: string,
  ): Promise<Proof> {
    const { applicationCredentials, limiter } = this.#parts;
    const label = proof.id ?? `${proof.user ? labelOf(proof.user) : ''} ${proof.name}`;
    limiter.check(label, address);
    const owner = proof.user && (await this.#findUser(proof.user));
    const found =
      proof.id !== undefined
        ? await applicationCredentials.find(proof.id)
        : owner && (await applicationCredentials.findByName(owner.id, proof.name ?? ''));
    const matches = await this.#context.passwords.matches(proof.secret, found?.hash);
    const user = found && (await this.#context.store.users.get(found.userId))?.fields;
    const over = found?.expiresMs !== undefined && found.expiresMs <= nowMs(this.#context);
    if (!matches || !found || !user || over || !(await this.#isEnabled(user))) {
      limiter.failed(label, address);
      this.#context.env.log.warn('identity.log-in-failed', { credential: label, address });
      throw unauthorized();
    }
    limiter.succeeded(label, address);
    return {
      user,
      methods: ['application_credential'],
      expiresMs: found.expiresMs,
      applicationCredentialId: found.id,
      boundTo: { kind: 'project', id: found.projectId },
      roleIds: found.roleIds,
    };
  }

  /** From the trustee's proof to one of what the trust gives. */
  async #throughTrust(own: Proof, trustId: string): Promise<Proof> {
    const { trusts } = this.#parts;
    const trust = (await this.#context.store.trusts.get(trustId))?.fields;
    const trustor = trust && (await this.#context.store.users.get(trust.trustorId))?.fields;
    const over = trust?.expiresMs !== undefined && trust.expiresMs <= nowMs(this.#context);
    if (!trust || !trustor || over || trust.trusteeId !== own.user.id) throw unauthorized();
    // What is bound already (an application credential, another trust) does not widen itself.
    if (own.boundTo !== undefined || !(await this.#isEnabled(trustor))) throw unauthorized();
    const scope: Scope =
      trust.projectId === undefined ? { kind: 'none' } : { kind: 'project', id: trust.projectId };
    const stillHas = await this.effectiveRoles(trustor.id, scope);
    if (!trust.roleIds.every((id) => stillHas.has(id))) throw unauthorized();
    await trusts.use(trustId);
    return {
      ...own,
      user: trust.impersonation ? trustor : own.user,
      methods: [...new Set<Method>([...own.methods, 'trust'])],
      expiresMs: Math.min(own.expiresMs ?? Infinity, trust.expiresMs ?? Infinity),
      ...{ trustId, boundTo: scope, roleIds: trust.roleIds },
    };
  }

  async #findUser(reference: UserReference): Promise<User | undefined> {
    if ('id' in reference) return (await this.#context.store.users.get(reference.id))?.fields;
    const domainId = await this.#domainId(reference.domain);
    return domainId === undefined ? undefined : this.#parts.users.find(reference.name, domainId);
  }

  async #domainId(reference: DomainReference): Promise<string | undefined> {
    if ('id' in reference) return reference.id;
    return (await this.#parts.domains.find(reference.name))?.id;
  }

  async #isEnabled(user: User): Promise<boolean> {
    if (!user.enabled) return false;
    return (await this.#context.store.domains.get(user.domainId))?.fields.enabled === true;
  }

  async #resolveScope(wanted: ScopeRequest | undefined, proof: Proof): Promise<Scope> {
    const { boundTo, user } = proof;
    if (wanted === undefined) return boundTo ?? this.#defaultScope(user);
    const scope = await this.#findScope(wanted);
    if (boundTo !== undefined && !sameScope(scope, boundTo)) throw unauthorized();
    return scope;
  }

  async #defaultScope(user: User): Promise<Scope> {
    const id = user.defaultProjectId;
    if (id === undefined) return { kind: 'none' };
    const project = (await this.#context.store.projects.get(id))?.fields;
    const scope: Scope = { kind: 'project', id };
    if (project === undefined || !(await this.#isOpen(project))) return { kind: 'none' };
    return (await this.effectiveRoles(user.id, scope)).size > 0 ? scope : { kind: 'none' };
  }

  async #findScope(wanted: ScopeRequest): Promise<Scope> {
    switch (wanted.kind) {
      case 'trust':
        throw unauthorized();
      case 'none':
      case 'system':
        return { kind: wanted.kind };
      case 'domain': {
        const id = await this.#domainId(wanted.domain);
        const domain = id === undefined ? undefined : await this.#context.store.domains.get(id);
        if (!domain?.fields.enabled) throw unauthorized();
        return { kind: 'domain', id: domain.fields.id };
      }
      case 'project': {
        const project = await this.#findProject(wanted);
        if (project === undefined || !(await this.#isOpen(project))) throw unauthorized();
        return { kind: 'project', id: project.id };
      }
    }
  }

  async #findProject(wanted: Extract<ScopeRequest, { kind: 'project' }>) {
    if ('id' in wanted) return (await this.#context.store.projects.get(wanted.id))?.fields;
    const domainId = await this.#domainId(wanted.domain);
    return domainId === undefined ? undefined : this.#parts.projects.find(wanted.name, domainId);
  }

  async #isOpen(project: {
    readonly enabled: boolean;
    readonly domainId: string;
  }): Promise<boolean> {
    if (!project.enabled) return false;
    return (await this.#context.store.domains.get(project.domainId))?.fields.enabled === true;
  }

  async #rolesFor(proof: Proof, scope: Scope): Promise<string[]> {
    if (scope.kind === 'none') return [];
    // The trustor was found to have them (#throughTrust), whoever the token is for.
    if (proof.trustId !== undefined)
      return [...(await this.#parts.roles.withImplied(proof.roleIds ?? []))];
    const effective = await this.effectiveRoles(proof.user.id, scope);
    const allowed = proof.roleIds && (await this.#parts.roles.withImplied(proof.roleIds));
    const roleIds = [...effective].filter((id) => allowed === undefined || allowed.has(id));
    // Someone without a role there must not learn whether the project exists: the same answer.
    if (roleIds.length === 0) throw unauthorized();
    return roleIds;
  }

  /** The project's domain and the projects above it: where inherited roles come from. */
  async #ancestors(projectId: string): Promise<Set<string>> {
    const ids = new Set<string>();
    let project = (await this.#context.store.projects.get(projectId))?.fields;
    if (project !== undefined) ids.add(project.domainId);
    while (project?.parentId !== undefined && !ids.has(project.parentId)) {
      ids.add(project.parentId);
      project = (await this.#context.store.projects.get(project.parentId))?.fields;
    }
    return ids;
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
    const roles = (await Promise.all(roleIds.map((id) => store.roles.get(id)))).filter(
      (role) => role !== undefined,
    );
    const numbers = roles.map(({ fields }) => fields.number).sort((a, b) => a - b);
    if (numbers.length > MAX_TOKEN_ROLES) {
      throw new OperatingError('forbidden', `More than ${MAX_TOKEN_ROLES} roles in one scope.`);
    }
    assert(expiresMs >= issuedMs, 'an expired proof was refused before');
    const fields: TokenFields = {
      userId: proof.user.id,
      ...{ scope, methods: proof.methods, issuedMs, expiresMs, revision, roles: numbers },
      auditId: env.random.bytes(ID_BYTES).toString('hex'),
      chainId: proof.chainId,
      applicationCredentialId: proof.applicationCredentialId,
      trustId: proof.trustId,
    };
    const text = signToken(fields, this.#parts.signingKeys.current());
    this.#parts.verifier.remember(text);
    return { text, fields };
  }
}

function combine(a: Proof, b: Proof): Proof {
  return {
    ...a,
    ...b,
    methods: [...new Set([...a.methods, ...b.methods])],
    expiresMs: Math.min(a.expiresMs ?? Infinity, b.expiresMs ?? Infinity),
  };
}

function sameScope(a: Scope, b: Scope): boolean {
  return a.kind === b.kind && ('id' in a ? a.id : '') === ('id' in b ? b.id : '');
}

function labelOf(user: UserReference): string {
  if ('id' in user) return user.id;
  return `${'id' in user.domain ? user.domain.id : user.domain.name} ${user.name}`;
}

function unauthorized(): OperatingError {
  return new OperatingError('unauthorized', 'The request you have made requires authentication.');
}
