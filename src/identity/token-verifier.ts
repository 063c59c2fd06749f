/**
 * From a token's text to who it speaks for, without network: signature, expiry, revocations and
 * names from the directory. What was verified is remembered, so that the next request with the same
 * token costs one map look-up; any change of the directory has the cheap part checked again.
 */
import type { Clock } from '#env/env.ts';
import type { Directory, NamedEntry, RoleEntry } from './directory.ts';
import { iamDomainId } from './iam/names.ts';
import { isForS3Only, openSession, type SessionFacts } from './session-facts.ts';
import { type DecodedToken, decodeToken, signatureMatches, type TokenFields } from './token.ts';

export type TokenRejection =
  | 'malformed'
  | 'unknown-key'
  | 'bad-signature'
  | 'expired'
  | 'revoked'
  /** Of a user made for policies, or a session with one, shown elsewhere than with S3's signature. */
  | 'for-s3-only'
  /** Signed by us, but it names a user, project or role that the directory does not have (yet). */
  | 'stale';

export interface VerifiedToken {
  readonly fields: TokenFields;
  readonly user: NamedEntry;
  /** Present for a token scoped to a project. */
  readonly project?: NamedEntry;
  readonly roles: readonly RoleEntry[];
  readonly session?: SessionFacts;
  /** Policies say what it may, and only S3 keeps to them. */
  readonly forS3Only?: boolean;
}

export type Verification =
  | { readonly valid: true; readonly token: VerifiedToken }
  | { readonly valid: false; readonly rejected: TokenRejection };

export interface VerifyOptions {
  /** Believes an expired token that expired at most this long ago (`allow_expired`). */
  readonly graceMs?: number;
  /** Who asks keeps to what narrows a session: its policy, or the policies of its role. */
  readonly keepsToPolicies?: boolean;
}

/** As Keystone: how long a service may still use a user's token that has ended. */
export const ALLOW_EXPIRED_MS = 48 * 3600 * 1000;
const DEFAULT_CACHE_ENTRIES = 20_000;

interface CacheEntry {
  readonly decoded: DecodedToken;
  generation: number;
  verification: Verification;
}

export class TokenVerifier {
  readonly #clock: Pick<Clock, 'wallMicros'>;
  readonly #directory: Directory;
  readonly #capacity: number;
  /** Only tokens whose signature matched; the least recently used one first. */
  readonly #cache = new Map<string, CacheEntry>();

  constructor(
    clock: Pick<Clock, 'wallMicros'>,
    directory: Directory,
    capacity = DEFAULT_CACHE_ENTRIES,
  ) {
    this.#clock = clock;
    this.#directory = directory;
    this.#capacity = capacity;
  }

  verify(text: string, options: VerifyOptions = {}): Verification {
    const entry = this.#recall(text) ?? this.#admit(text);
    if ('valid' in entry) return entry;
    if (entry.generation !== this.#directory.generation) {
      entry.verification = this.#resolve(entry.decoded);
      entry.generation = this.#directory.generation;
    }
    const { expiresMs } = entry.decoded.fields;
    const nowMs = this.#clock.wallMicros() / 1000;
    if (nowMs >= expiresMs + (options.graceMs ?? 0)) return reject('expired');
    const { verification } = entry;
    const elsewhere = options.keepsToPolicies !== true;
    if (elsewhere && verification.valid && verification.token.forS3Only)
      return reject('for-s3-only');
    return verification;
  }

  /** A token that this process has just signed itself. */
  remember(text: string): void {
    const decoded = decodeToken(text);
    if (decoded !== undefined) this.#keep(text, decoded);
  }

  #recall(text: string): CacheEntry | undefined {
    const entry = this.#cache.get(text);
    if (entry === undefined) return undefined;
    this.#cache.delete(text);
    this.#cache.set(text, entry);
    return entry;
  }

  #admit(text: string): CacheEntry | Verification {
    const decoded = decodeToken(text);
    if (decoded === undefined) return reject('malformed');
    const key = this.#directory.keys.get(decoded.keyId);
    if (key === undefined) return reject('unknown-key');
    if (!signatureMatches(decoded, key.key)) return reject('bad-signature');
    return this.#keep(text, decoded);
  }

  #keep(text: string, decoded: DecodedToken): CacheEntry {
    const entry = { decoded, generation: -1, verification: reject('stale') };
    if (this.#cache.size >= this.#capacity) {
      const [oldest] = this.#cache.keys();
      this.#cache.delete(oldest!);
    }
    this.#cache.set(text, entry);
    return entry;
  }

  /** Everything but the signature and the expiry: what a change of the directory can change. */
  #resolve(decoded: DecodedToken): Verification {
    const { fields, keyId } = decoded;
    const key = this.#directory.keys.get(keyId);
    if (key === undefined || fields.expiresMs > key.notAfterMs) return reject('unknown-key');
    const { users, projects, domains, rolesByNumber, iamRoles } = this.#directory;
    const { scope } = fields;
    const user = users.get(fields.userId);
    const project = scope.kind === 'project' ? projects.get(scope.id) : undefined;
    if (user === undefined || (scope.kind === 'project' && project === undefined)) {
      return reject('stale');
    }
    const domainIds = [user.domainId, project?.domainId, scope.kind === 'domain' && scope.id];
    const disabled = domainIds.some((id) => id && domains.get(id)?.enabled !== true);
    if (disabled || !user.enabled || project?.enabled === false) return reject('revoked');
    if (this.#isRevoked(fields, user, project)) return reject('revoked');
    const roles = fields.roles.map((number) => rolesByNumber.get(number));
    if (roles.includes(undefined)) return reject('stale');
    const session = fields.session && openSession(fields.session);
    if (fields.session !== undefined && session === undefined) return reject('malformed');
    if (session?.role && iamRoles.get(session.role.id)?.projectId !== project?.id) {
      return reject('stale');
    }
    const known = { fields, user, project, roles: roles as RoleEntry[] };
    const madeForPolicies = project !== undefined && user.domainId === iamDomainId(project.id);
    const forS3Only = madeForPolicies || (session !== undefined && isForS3Only(session));
    return {
      valid: true,
      token: { ...known, ...(session && { session }), ...(forS3Only && { forS3Only }) },
    };
  }

  #isRevoked(fields: TokenFields, user: NamedEntry, project: NamedEntry | undefined): boolean {
    const { revocations, rolesByNumber } = this.#directory;
    if (revocations.size === 0) return false;
    const revoked = (key: string): boolean => (revocations.get(key) ?? 0) > fields.revision;
    const scopeId = 'id' in fields.scope ? fields.scope.id : fields.scope.kind;
    const { applicationCredentialId, trustId } = fields;
    return (
      revoked(`audit/${fields.auditId}`) ||
      revoked(`user/${user.id}`) ||
      revoked(`user-target/${user.id}/${scopeId}`) ||
      (project !== undefined && revoked(`user-target/${user.id}/${project.domainId}`)) ||
      revoked(`target/${scopeId}`) ||
      (applicationCredentialId !== undefined && revoked(`app-cred/${applicationCredentialId}`)) ||
      (trustId !== undefined && revoked(`trust/${trustId}`)) ||
      fields.roles.some((number) => {
        const role = rolesByNumber.get(number)?.id;
        if (role === undefined) return false;
        if (revoked(`target-role/${scopeId}/${role}`)) return true;
        return project !== undefined && revoked(`target-role/${project.domainId}/${role}`);
      })
    );
  }
}

function reject(rejected: TokenRejection): Verification {
  return { valid: false, rejected };
}
