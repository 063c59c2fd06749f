/** The identity service of one process, put together. */
import { messageOf } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import { cacheState } from '#state/cached-state.ts';
import { mirrorRange } from '#state/mirror.ts';
import type { State } from '#state/state.ts';
import { ApplicationCredentials } from './application-credentials.ts';
import { DEFAULT_SETTINGS, type IdentityContext, type IdentitySettings } from './context.ts';
import { Credentials } from './credentials.ts';
import { Directory } from './directory.ts';
import { Domains, Projects } from './domains.ts';
import { Enrolments } from './enrolments.ts';
import { Groups, publishGroups } from './groups.ts';
import { People } from './iam/people.ts';
import { PolicyBook } from './iam/policy-book.ts';
import { RoleBook } from './iam/role-book.ts';
import { LogInGuard } from './log-in-guard.ts';
import { LogIns } from './log-ins.ts';
import { MappedUsers } from './mapped-users.ts';
import { Passwords } from './password.ts';
import { Proofs } from './proofs.ts';
import { IDENTITY, PUBLIC } from './records.ts';
import { purgeRevocations, type RevocationSubject, revoke } from './revocations.ts';
import { Grants, Roles } from './roles.ts';
import { S3Keys } from './s3-keys.ts';
import { Scopes } from './scopes.ts';
import { SigningKeys } from './signing-keys.ts';
import { openIdentityStore } from './store.ts';
import { TokenVerifier } from './token-verifier.ts';
import { Trusts } from './trusts.ts';
import { Users } from './users.ts';
import { createVault } from './vault.ts';

const MAINTAIN_EVERY_MS = 10 * 60_000;
const RETRY_MS = 2000;
const CATCH_UP_MS = 2000;

export interface IdentityOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly state: State;
  /** 32 bytes from a file outside state: loadMasterKey(). */
  readonly masterKey: Uint8Array;
  readonly settings?: Partial<IdentitySettings>;
}

export interface Identity {
  readonly domains: Domains;
  readonly projects: Projects;
  readonly users: Users;
  readonly groups: Groups;
  readonly roles: Roles;
  readonly grants: Grants;
  readonly credentials: Credentials;
  readonly applicationCredentials: ApplicationCredentials;
  readonly trusts: Trusts;
  readonly logIns: LogIns;
  readonly proofs: Proofs;
  readonly scopes: Scopes;
  readonly s3Keys: S3Keys;
  readonly enrolments: Enrolments;
  /** What projects make for themselves: users, groups, roles and policies. */
  readonly iam: {
    readonly people: People;
    readonly roles: RoleBook;
    readonly policies: PolicyBook;
  };
  readonly signingKeys: SigningKeys;
  readonly verifier: TokenVerifier;
  readonly directory: Directory;
  readonly context: IdentityContext;
  /** Resolves when tokens can be issued; until then log-ins answer `state-unavailable`. */
  readonly ready: Promise<void>;
  /** Ready once. It stays so when state is away: tokens known here can still be validated. */
  readonly isReady: boolean;
  /** Records the event and returns when this process has heard of it. */
  revoke(subject: RevocationSubject): Promise<void>;
  close(): Promise<void>;
}

/** Starts at once; never fails because state is away: it waits and tries again. */
export function createIdentity(options: IdentityOptions): Identity {
  const { env } = options;
  const state = cacheState(env, options.state, IDENTITY);
  const directory = new Directory(env);
  const settings = { ...DEFAULT_SETTINGS, ...options.settings };
  const context: IdentityContext = {
    env,
    directory,
    store: openIdentityStore(state),
    vault: createVault(env.random, options.masterKey),
    passwords: new Passwords(env.random, settings.passwordLn),
    settings,
  };
  const records = {
    domains: new Domains(context),
    projects: new Projects(context),
    users: new Users(context),
    groups: new Groups(context),
    roles: new Roles(context),
    grants: new Grants(context),
    applicationCredentials: new ApplicationCredentials(context),
    trusts: new Trusts(context),
  };
  const signing = {
    signingKeys: new SigningKeys(context),
    verifier: new TokenVerifier(env.clock, directory),
  };
  const scopes = new Scopes(context, records);
  const guard = new LogInGuard(context);
  const proofs = new Proofs(context, { ...records, ...signing, scopes, guard });
  const mappedUsers = new MappedUsers({ ...records, scopes });
  const upkeep = new Upkeep(context, signing.signingKeys, guard);
  const credentials = new Credentials(context);
  const logIns = new LogIns(context, { ...signing, proofs, scopes, mappedUsers });
  const book = new PolicyBook(context);
  const people = new People(context, { ...records, credentials, book });
  return {
    iam: { people, roles: new RoleBook(context, book), policies: book },
    ...{ ...records, ...signing, scopes, proofs, credentials, logIns },
    enrolments: new Enrolments(context, { ...records, guard }),
    s3Keys: new S3Keys(context, credentials, logIns, signing.verifier),
    directory,
    context,
    ready: upkeep.ready,
    get isReady() {
      return upkeep.isReady;
    },
    async revoke(subject) {
      const { revision } = await state.txn({ success: [revoke(context, subject)] });
      await directory.reached(env.clock, revision, CATCH_UP_MS);
    },
    async close() {
      await upkeep.close();
      await guard.close();
      await state.close();
    },
  };
}

/** Keeps the directory, the signing keys and the revocations in order while the process runs. */
class Upkeep {
  readonly ready: Promise<void>;
  readonly #context: IdentityContext;
  readonly #signingKeys: SigningKeys;
  readonly #guard: LogInGuard;
  readonly #mirror: ReturnType<typeof mirrorRange>;
  #timer: Timer | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;
  isReady = false;
  #tellReady: () => void = () => undefined;

  constructor(context: IdentityContext, signingKeys: SigningKeys, guard: LogInGuard) {
    this.#context = context;
    this.#guard = guard;
    this.#signingKeys = signingKeys;
    this.ready = new Promise((resolve) => {
      this.#tellReady = resolve;
    });
    const { directory, env, store } = context;
    this.#mirror = mirrorRange(
      env,
      store.state,
      { prefix: PUBLIC },
      {
        onSnapshot: (items, revision) => directory.onSnapshot(items, revision),
        onEvents: (events, revision) => {
          directory.onEvents(events, revision);
          if (signingKeys.lacksOne()) this.#soon(0);
        },
      },
    );
    this.#mirror.ready.then(
      () => this.#soon(0),
      () => undefined, // closed before state was reached
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    this.#mirror.close();
    await this.#running;
  }

  #soon(ms: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#context.env.clock.setTimer(ms, () => {
      this.#running = this.#running.then(() => this.#maintain());
    });
  }

  async #maintain(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#signingKeys.maintain();
      await this.#keyIsPublic();
      this.isReady = true;
      this.#tellReady();
      await purgeRevocations(this.#context);
      await publishGroups(this.#context);
      await this.#guard.purge();
      this.#soon(MAINTAIN_EVERY_MS);
    } catch (error) {
      this.#context.env.log.warn('identity.upkeep-failed', { error: messageOf(error) });
      this.#soon(RETRY_MS);
    }
  }

  /** A new key may sign when this process has seen it come back through the watch. */
  async #keyIsPublic(): Promise<void> {
    const { directory, env } = this.#context;
    if (directory.keys.size === 0) await directory.changed(env.clock, CATCH_UP_MS);
    this.#signingKeys.current();
  }
}
