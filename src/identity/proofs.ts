/**
 * Proofs of identity: password, token, application credential, alone or together, and what a trust
 * makes of them. Whatever is wrong, the answer is the same `unauthorized`, after the same time.
 */
import { OperatingError } from '#base/errors.ts';
import type { ApplicationCredentials } from './application-credentials.ts';
import { type IdentityContext, nowMs } from './context.ts';
import type { LogInGuard, Suspect } from './log-in-guard.ts';
import {
  type ApplicationCredentialProof,
  type LogInRequest,
  type PasswordProof,
  type Proof,
  type UserReference,
  unauthorized,
} from './log-in-request.ts';
import type { Trust, User } from './records.ts';
import type { Scopes } from './scopes.ts';
import type { Method, Scope, TokenFields } from './token.ts';
import type { TokenVerifier } from './token-verifier.ts';
import type { Trusts } from './trusts.ts';
import type { Users } from './users.ts';

export interface ProofParts {
  readonly users: Users;
  readonly scopes: Scopes;
  readonly applicationCredentials: ApplicationCredentials;
  readonly trusts: Trusts;
  readonly verifier: TokenVerifier;
  readonly guard: LogInGuard;
}

export class Proofs {
  readonly #context: IdentityContext;
  readonly #parts: ProofParts;

  constructor(context: IdentityContext, parts: ProofParts) {
    this.#context = context;
    this.#parts = parts;
  }

  async prove(request: LogInRequest): Promise<Proof> {
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
    const { users, guard } = this.#parts;
    const label = labelOf(proof.user);
    const user = await this.#findUser(proof.user);
    const suspect: Suspect = { id: user?.id ?? label, exists: user !== undefined };
    await guard.check(suspect, address);
    const matches = await users.passwordMatches(user?.id, proof.password);
    if (!matches || user === undefined || !(await this.#parts.scopes.isEnabled(user))) {
      guard.failed(suspect, address);
      this.#context.env.log.warn('identity.log-in-failed', { user: label, address });
      throw unauthorized();
    }
    guard.succeeded(suspect, address);
    return user;
  }

  async #byToken(text: string): Promise<Proof> {
    const verification = this.#parts.verifier.verify(text);
    if (!verification.valid) throw unauthorized();
    const { fields } = verification.token;
    await this.#mustNotBeRevoked(fields);
    const user = (await this.#context.store.users.get(fields.userId))?.fields;
    if (user === undefined || !(await this.#parts.scopes.isEnabled(user))) throw unauthorized();
    const { applicationCredentialId } = fields;
    // A trust's token is not exchanged: its roles would outlive the trustor's.
    if (fields.trustId !== undefined) throw unauthorized();
    // Mapped roles are in no grant, limited ones are not all: such a token gives only itself again.
    const bound =
      applicationCredentialId !== undefined ||
      fields.methods.includes('mapped') ||
      fields.methods.includes('limited');
    return {
      user,
      methods: [...new Set<Method>([...fields.methods, 'token'])],
      expiresMs: fields.expiresMs,
      chainId: fields.chainId ?? fields.auditId,
      applicationCredentialId,
      session: verification.token.session,
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
      revocations.key('app-cred', fields.applicationCredentialId ?? ''),
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
    proof: ApplicationCredentialProof,
    address: string,
  ): Promise<Proof> {
    const { applicationCredentials, guard } = this.#parts;
    const label = proof.id ?? `${proof.user ? labelOf(proof.user) : ''} ${proof.name}`;
    const owner = proof.user && (await this.#findUser(proof.user));
    const found =
      proof.id !== undefined
        ? await applicationCredentials.find(proof.id)
        : owner && (await applicationCredentials.findByName(owner.id, proof.name ?? ''));
    const suspect: Suspect = { id: found?.id ?? label, exists: found !== undefined };
    await guard.check(suspect, address);
    const matches = await this.#context.passwords.matches(proof.secret, found?.hash);
    const user = found && (await this.#context.store.users.get(found.userId))?.fields;
    const over = found?.expiresMs !== undefined && found.expiresMs <= nowMs(this.#context);
    if (!matches || !found || !user || over || !(await this.#parts.scopes.isEnabled(user))) {
      guard.failed(suspect, address);
      this.#context.env.log.warn('identity.log-in-failed', { credential: label, address });
      throw unauthorized();
    }
    guard.succeeded(suspect, address);
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
  async throughTrust(own: Proof, trustId: string): Promise<Proof> {
    const { trusts } = this.#parts;
    const trust = (await this.#context.store.trusts.get(trustId))?.fields;
    const trustor = trust && (await this.#context.store.users.get(trust.trustorId))?.fields;
    const over = trust?.expiresMs !== undefined && trust.expiresMs <= nowMs(this.#context);
    if (!trust || !trustor || over || trust.trusteeId !== own.user.id) throw unauthorized();
    // What is bound already (an application credential, another trust) does not widen itself.
    if (own.boundTo !== undefined || !(await this.#parts.scopes.isEnabled(trustor)))
      throw unauthorized();
    const scope: Scope =
      trust.projectId === undefined ? { kind: 'none' } : { kind: 'project', id: trust.projectId };
    if (!(await this.#chainHolds(trust, scope))) throw unauthorized();
    await trusts.use(trustId);
    return {
      ...own,
      user: trust.impersonation ? trustor : own.user,
      methods: [...new Set<Method>([...own.methods, 'trust'])],
      expiresMs: Math.min(own.expiresMs ?? Infinity, trust.expiresMs ?? Infinity),
      ...{ trustId, boundTo: scope, roleIds: trust.roleIds },
    };
  }

  /** Everybody in it is enabled, and whoever made the first one still has the roles. */
  async #chainHolds(trust: Trust, scope: Scope): Promise<boolean> {
    const chain = await this.#parts.trusts.chainOf(trust);
    for (const { trustorId } of chain ?? []) {
      const user = (await this.#context.store.users.get(trustorId))?.fields;
      if (user === undefined || !(await this.#parts.scopes.isEnabled(user))) return false;
    }
    const root = chain?.at(-1);
    if (root === undefined) return false;
    const stillHas = await this.#parts.scopes.effectiveRoles(root.trustorId, scope);
    return trust.roleIds.every((id) => stillHas.has(id));
  }

  async #findUser(reference: UserReference): Promise<User | undefined> {
    if ('id' in reference) return (await this.#context.store.users.get(reference.id))?.fields;
    const domainId = await this.#parts.scopes.domainId(reference.domain);
    return domainId === undefined ? undefined : this.#parts.users.find(reference.name, domainId);
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

function labelOf(user: UserReference): string {
  if ('id' in user) return user.id;
  return `${'id' in user.domain ? user.domain.id : user.domain.name} ${user.name}`;
}
