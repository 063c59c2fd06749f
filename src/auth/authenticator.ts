/**
 * From a request's headers to its Caller, without network: tokens are verified with public keys and
 * a directory of names that the proxy keeps on its own disk and that the watch on state keeps fresh.
 */
import { join } from 'node:path';
import type { Env } from '#env/env.ts';
import { Directory } from '#identity/directory.ts';
import { DirectoryFile } from '#identity/directory-file.ts';
import { PUBLIC } from '#identity/records.ts';
import type { S3KeyRequest } from '#identity/s3-keys.ts';
import {
  ALLOW_EXPIRED_MS,
  TokenVerifier,
  type VerifiedToken,
  type VerifyOptions,
} from '#identity/token-verifier.ts';
import { type Mirror, mirrorRange } from '#state/mirror.ts';
import type { State } from '#state/state.ts';
import { ANONYMOUS, type Caller, projectOf, type UserCaller } from './caller.ts';
import { callerOf } from './caller-of-token.ts';
import { type AskDirectory, DirectoryRelay } from './directory-relay.ts';
import { type FetchS3Key, S3KeyCache } from './s3-key-cache.ts';
import { S3KeyFile } from './s3-key-file.ts';

/** Node's IncomingHttpHeaders, or any object of lower-case names. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Authenticator {
  /**
   * Reads X-Auth-Token (or X-Storage-Token, or Authorization: Bearer). A bad token makes an
   * anonymous caller that says why, as in Swift: a public container is readable all the same.
   *
   * With X-Service-Token of a caller with role `service`, a token that has ended counts two days more: a
   * service (Glance) finishes what its user began. A bad one spoils the request.
   */
  authenticate(headers: RequestHeaders): Promise<Caller>;
  /** The domain of an account's project: names in ACLs count only where it is the default one. */
  accountDomain(account: string): string | undefined;
  /** Resolves when requests can be told apart: from the file on disk, or from state. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** What a proxy's own authenticator can do beyond tokens. */
export interface ProxyAuthenticator extends Authenticator {
  /**
   * The signing key of an S3 access key and who it speaks for. Undefined: refuse the request.
   * @throws OperatingError `state-unavailable`: not known here, and identity is away
   */
  findS3Key(request: S3KeyRequest): Promise<S3Signer | undefined>;
  /** A project's name by its canonical id, as S3's ACLs name it; undefined: there is no such project. */
  nameOfCanonical(id: string): string | undefined;
  /** Whom a token that identity just made for an S3 signature speaks for. */
  signerOf(token: string): Promise<UserCaller | undefined>;
}

export interface S3Signer {
  readonly signingKey: Buffer;
  readonly caller: UserCaller;
}

export interface AuthenticatorOptions {
  readonly env: Pick<Env, 'clock' | 'disk' | 'log'>;
  readonly state: State;
  /** A folder of this process's own; made when missing. */
  readonly cacheDir: string;
  /**
   * What to do when state was not heard from for so long that a revocation may have been missed.
   * Default: accept for ever, so that an identity outage stops only new log-ins. A number refuses
   * tokens after that many milliseconds of silence.
   */
  readonly refuseAfterMs?: number;
  /** Whom to ask for the directory while state is silent. */
  readonly relay?: AskDirectory;
  /** How S3 signing keys come from identity: `(request) => identity.s3Keys.issue(request)`. */
  readonly fetchS3Key?: FetchS3Key;
}

const SERVICE_ROLE = 'service';
const S3_FILE = 's3-keys.bin';
const DIRECTORY_FILE = 'identity-directory.bin';
/** A token can be here before the news of the user it is for. */
const CATCH_UP_MS = 1000;
const MAX_CATCHING_UP = 500;

export function createAuthenticator(options: AuthenticatorOptions): ProxyAuthenticator {
  return new TokenAuthenticator(options);
}

class TokenAuthenticator implements ProxyAuthenticator {
  readonly ready: Promise<void>;
  readonly #options: AuthenticatorOptions;
  readonly #directory: Directory;
  readonly #file: DirectoryFile;
  readonly #verifier: TokenVerifier;
  readonly #s3File: S3KeyFile;
  #s3: S3KeyCache | undefined;
  readonly #callers = new WeakMap<VerifiedToken, UserCaller>();
  readonly #startedMs: number;
  #mirror: Mirror | undefined;
  #relay: DirectoryRelay | undefined;
  #catchingUp = 0;
  #closed = false;

  constructor(options: AuthenticatorOptions) {
    const { env, cacheDir } = options;
    this.#options = options;
    this.#directory = new Directory(env);
    this.#file = new DirectoryFile(env, join(cacheDir, DIRECTORY_FILE), this.#directory);
    this.#verifier = new TokenVerifier(env.clock, this.#directory);
    this.#s3File = new S3KeyFile(env, join(cacheDir, S3_FILE));
    this.#startedMs = env.clock.monotonicMs();
    this.ready = this.#start();
  }

  async authenticate(headers: RequestHeaders): Promise<Caller> {
    const text = tokenOf(headers);
    if (text === undefined) return ANONYMOUS;
    if (this.#tooSilent()) return { kind: 'anonymous', rejected: 'stale' };
    const serviceText = single(headers['x-service-token']);
    if (serviceText === undefined) return this.#verify(text);
    const service = await this.#verify(serviceText);
    if (service.kind === 'anonymous') return service;
    const isService = service.roles.includes(SERVICE_ROLE);
    return this.#verify(text, isService ? { graceMs: ALLOW_EXPIRED_MS } : {});
  }

  async #verify(text: string, options: VerifyOptions = {}): Promise<Caller> {
    const verification = this.#verifier.verify(text, options);
    if (verification.valid) return this.#callerOf(verification.token);
    if (verification.rejected !== 'stale') {
      return { kind: 'anonymous', rejected: verification.rejected };
    }
    return this.#retry(text, options);
  }

  accountDomain(account: string): string | undefined {
    const projectId = projectOf(account);
    return projectId === undefined ? undefined : this.#directory.projects.get(projectId)?.domainId;
  }

  nameOfCanonical(id: string): string | undefined {
    return this.#directory.projectsByCanonicalId.get(id)?.name;
  }

  async findS3Key(request: S3KeyRequest): Promise<S3Signer | undefined> {
    await this.ready;
    if (this.#tooSilent()) return undefined;
    const found = await this.#s3?.find(request);
    return found && { signingKey: found.signingKey, caller: this.#callerOf(found.token) };
  }

  async signerOf(token: string): Promise<UserCaller | undefined> {
    if (this.#tooSilent()) return undefined;
    const caller = await this.#verify(token, { keepsToPolicies: true });
    return caller.kind === 'user' ? caller : undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#mirror?.close();
    this.#relay?.close();
    await this.ready.catch(() => undefined); // closing while starting is no failure
    await this.#file.close();
    this.#s3?.close();
    await this.#s3File.close();
  }

  async #start(): Promise<void> {
    const { env, state, cacheDir } = this.#options;
    await env.disk.mkdir(cacheDir);
    const loaded = await this.#file.load();
    await this.#openS3Keys();
    if (this.#closed) return;
    const directory = this.#directory;
    this.#mirror = mirrorRange(
      env,
      state,
      { prefix: PUBLIC },
      {
        onSnapshot: (items, revision) => {
          directory.onSnapshot(items, revision);
          this.#file.touch();
        },
        onEvents: (events, revision) => {
          directory.onEvents(events, revision);
          this.#file.touch();
        },
      },
    );
    this.#openRelay();
    if (!loaded) return this.#mirror.ready;
    // The file may be older than a revocation; but without state it is all there is.
    await Promise.race([this.#mirror.ready, env.clock.sleep(CATCH_UP_MS)]);
  }

  async #openS3Keys(): Promise<void> {
    const { env, fetchS3Key: fetch } = this.#options;
    if (fetch === undefined) return;
    await this.#s3File.read();
    const parts = { directory: this.#directory, verifier: this.#verifier, file: this.#s3File };
    this.#s3 = new S3KeyCache({ env, fetch, ...parts });
  }

  /** The signature is right, but the directory does not know the user or role: it may just be new. */
  async #retry(text: string, options: VerifyOptions): Promise<Caller> {
    const { clock } = this.#options.env;
    const deadline = clock.monotonicMs() + CATCH_UP_MS;
    if (this.#catchingUp >= MAX_CATCHING_UP) return { kind: 'anonymous', rejected: 'stale' };
    this.#catchingUp += 1;
    try {
      for (;;) {
        const left = deadline - clock.monotonicMs();
        if (left > 0) await this.#directory.changed(clock, left);
        const verification = this.#verifier.verify(text, options);
        if (verification.valid) return this.#callerOf(verification.token);
        if (verification.rejected !== 'stale' || left <= 0) {
          return { kind: 'anonymous', rejected: verification.rejected };
        }
      }
    } finally {
      this.#catchingUp -= 1;
    }
  }

  #tooSilent(): boolean {
    const { refuseAfterMs, env } = this.#options;
    if (refuseAfterMs === undefined) return false;
    const relayedAtMs = this.#relay?.heardAtMs ?? Number.NEGATIVE_INFINITY;
    return env.clock.monotonicMs() - Math.max(this.#stateHeardAtMs(), relayedAtMs) > refuseAfterMs;
  }

  #stateHeardAtMs(): number {
    return this.#mirror?.heardAtMs() ?? this.#startedMs;
  }

  #openRelay(): void {
    const { env, relay: ask } = this.#options;
    if (ask === undefined) return;
    this.#relay = new DirectoryRelay({
      env,
      directory: this.#directory,
      ask,
      stateHeardAtMs: () => this.#stateHeardAtMs(),
      onNews: () => this.#file.touch(),
    });
  }

  /** The verifier returns the same object for the same token until something changes. */
  #callerOf(token: VerifiedToken): UserCaller {
    const known = this.#callers.get(token);
    if (known !== undefined) return known;
    const caller = callerOf(this.#directory, token);
    this.#callers.set(token, caller);
    return caller;
  }
}

function tokenOf(headers: RequestHeaders): string | undefined {
  const direct = single(headers['x-auth-token']) ?? single(headers['x-storage-token']);
  if (direct !== undefined) return direct;
  const [scheme, token] = (single(headers['authorization']) ?? '').split(' ');
  return scheme?.toLowerCase() === 'bearer' && token !== undefined ? token : undefined;
}

function single(value: string | readonly string[] | undefined): string | undefined {
  const first = typeof value === 'string' ? value : value?.[0];
  return first === undefined || first === '' ? undefined : first;
}
