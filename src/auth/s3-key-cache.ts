/**
 * S3 signing keys at a proxy: fetched from identity once per access key, day, region and service, and
 * used offline from then on, also after a restart (s3-key-file.ts). With each comes a token for the
 * key's user and project; it is verified like any other at every use, so roles, disabling and
 * revocation are as fresh as for tokens. A key that the directory no longer has is refused at once.
 *
 * From noon on, tomorrow's key of whatever was used today is fetched in the background, a few at a time:
 * midnight then needs no identity.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Env, Timer } from '#env/env.ts';
import type { Directory } from '#identity/directory.ts';
import type { S3Key, S3KeyRequest } from '#identity/s3-keys.ts';
import { MAX_TOKEN_LENGTH } from '#identity/token.ts';
import type { TokenVerifier, VerifiedToken } from '#identity/token-verifier.ts';
import type { S3KeyFile, StoredS3Key } from './s3-key-file.ts';

/** Identity's answer, in this process or over the network. Undefined: no such key. */
export type FetchS3Key = (request: S3KeyRequest) => Promise<S3Key | undefined>;

export interface S3Identity {
  readonly signingKey: Buffer;
  readonly token: VerifiedToken;
}

const MAX_ENTRIES = 20_000;
/** A signer can name any region: without a bound each name would be a call to identity. Of one day. */
const MAX_SCOPES_PER_KEY = 16;
const AHEAD_EVERY_MS = 60_000;
/** 20,000 keys are fetched within two hours, and identity notices little of it. */
const MAX_AHEAD_AT_ONCE = 200;
const MAX_UNKNOWN = 10_000;
const UNKNOWN_MS = 2000;
/** A key may be here before the directory's news of it. */
const NEWS_MS = 5000;
const DAY_MS = 24 * 3600 * 1000;
/** A presigned URL's longest life, and the skew that SigV4 allows. */
const MAX_AGE_MS = 7 * DAY_MS + 15 * 60 * 1000;

export interface S3KeyCacheOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly directory: Directory;
  readonly verifier: TokenVerifier;
  readonly fetch: FetchS3Key;
  readonly file: S3KeyFile;
}

interface Entry extends StoredS3Key {
  readonly fetchedAtMs: number;
}

export class S3KeyCache {
  readonly #options: S3KeyCacheOptions;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #scopes = new Map<string, Set<string>>();
  readonly #fetching = new Map<string, Promise<Entry | undefined>>();
  /** Labels of keys that identity does not know, until when this is believed. */
  readonly #unknown = new Map<string, number>();

  #timer: Timer;

  constructor(options: S3KeyCacheOptions) {
    this.#options = options;
    for (const stored of options.file.load()) this.#keep({ ...stored, fetchedAtMs: -Infinity });
    this.#timer = this.#aheadLater();
  }

  close(): void {
    this.#timer.cancel();
  }

  /**
   * Undefined: no such key, or it may not be used.
   * @throws OperatingError `state-unavailable`: not known here and identity is away; `bad-request`
   */
  async find(request: S3KeyRequest): Promise<S3Identity | undefined> {
    if ((request.sessionToken?.length ?? 0) > MAX_TOKEN_LENGTH) return undefined;
    const known = this.#entries.get(labelOf(request));
    const usable = known && this.#verify(known);
    if (known !== undefined && usable !== undefined) {
      this.#touch(known);
      return usable;
    }
    if (this.#isUnknown(request)) return undefined;
    const entry = await this.#fetch(request);
    return entry && this.#verify(entry);
  }

  #verify(entry: Entry): S3Identity | undefined {
    const { directory, verifier } = this.#options;
    const isNews = this.#now() - entry.fetchedAtMs < NEWS_MS;
    const isSession = entry.sessionToken !== undefined;
    const key = directory.accessKeys.get(entry.access);
    if (!isSession && key?.enabled !== true && !(key === undefined && isNews)) return undefined;
    const verification = verifier.verify(entry.token, { keepsToPolicies: true });
    if (!verification.valid) return undefined;
    return { signingKey: entry.signingKey, token: verification.token };
  }

  /** One call to identity at a time for one label. */
  #fetch(request: S3KeyRequest): Promise<Entry | undefined> {
    const label = labelOf(request);
    const running = this.#fetching.get(label);
    if (running !== undefined) return running;
    const fetching = this.#fetchOnce(request).finally(() => this.#fetching.delete(label));
    this.#fetching.set(label, fetching);
    return fetching;
  }

  async #fetchOnce(request: S3KeyRequest): Promise<Entry | undefined> {
    this.#boundScopes(request);
    const key = await this.#options.fetch(request);
    if (key === undefined) {
      this.#forget(request);
      if (this.#unknown.size >= MAX_UNKNOWN) this.#unknown.clear();
      this.#unknown.set(labelOf(request), this.#now() + UNKNOWN_MS);
      return undefined;
    }
    const entry = { ...request, ...key, fetchedAtMs: this.#now() };
    this.#keep(entry);
    this.#options.file.save(() => this.#entries.values());
    return entry;
  }

  #boundScopes({ access, day, region, service }: S3KeyRequest): void {
    this.#dropPast(access);
    const scopes = this.#scopes.get(access);
    if (scopes === undefined || scopes.has(`${day}/${region}/${service}`)) return;
    const ofDay = [...scopes].filter((scope) => scope.startsWith(`${day}/`));
    if (ofDay.length < MAX_SCOPES_PER_KEY) return;
    throw new OperatingError('bad-request', 'too many regions for one access key');
  }

  #aheadLater(): Timer {
    return this.#options.env.clock.setTimer(AHEAD_EVERY_MS, () => {
      this.#fetchAhead();
      this.#timer = this.#aheadLater();
    });
  }

  #fetchAhead(): void {
    const { clock, log } = this.#options.env;
    const nowMs = clock.wallMicros() / 1000;
    if (nowMs % DAY_MS < DAY_MS / 2) return;
    const [today, tomorrow] = [dayOf(nowMs), dayOf(nowMs + DAY_MS)];
    let started = 0;
    // The most recently used ones first.
    for (const entry of [...this.#entries.values()].reverse()) {
      if (started >= MAX_AHEAD_AT_ONCE) return;
      if (entry.day !== today || entry.sessionToken !== undefined) continue;
      const { access, region, service } = entry;
      const wanted = { access, day: tomorrow, region, service };
      if (this.#entries.has(labelOf(wanted)) || this.#isUnknown(wanted)) continue;
      started += 1;
      this.#fetch(wanted).catch((error: unknown) => {
        log.debug('s3.key-ahead-failed', { code: codeOf(error), error: messageOf(error) });
      });
    }
  }

  #keep(entry: Entry): void {
    this.#touch(entry);
    const scopes = this.#scopes.get(entry.access) ?? new Set();
    scopes.add(`${entry.day}/${entry.region}/${entry.service}`);
    this.#scopes.set(entry.access, scopes);
    while (this.#entries.size > MAX_ENTRIES) {
      const [oldest] = this.#entries.values();
      this.#forget(oldest!);
    }
  }

  #touch(entry: Entry): void {
    const label = labelOf(entry);
    this.#entries.delete(label);
    this.#entries.set(label, entry);
  }

  #forget(request: S3KeyRequest): void {
    this.#entries.delete(labelOf(request));
    const scopes = this.#scopes.get(request.access);
    scopes?.delete(`${request.day}/${request.region}/${request.service}`);
    if (scopes?.size === 0) this.#scopes.delete(request.access);
  }

  /** Keys of days for which no presigned URL can be valid any more. */
  #dropPast(access: string): void {
    const oldest = dayOf(this.#options.env.clock.wallMicros() / 1000 - MAX_AGE_MS);
    for (const scope of this.#scopes.get(access) ?? []) {
      const [day = '', region = '', service = ''] = scope.split('/');
      if (day >= oldest) continue;
      this.#scopes.get(access)?.delete(scope);
      for (const entry of this.#entries.values()) {
        const past = entry.access === access && entry.day === day && entry.region === region;
        if (past && entry.service === service) this.#forget(entry);
      }
    }
  }

  #isUnknown(request: S3KeyRequest): boolean {
    return (this.#unknown.get(labelOf(request)) ?? 0) > this.#now();
  }

  #now(): number {
    return this.#options.env.clock.monotonicMs();
  }
}

function labelOf({ access, day, region, service, sessionToken = '' }: S3KeyRequest): string {
  return `${access}/${day}/${region}/${service}/${sessionToken}`;
}

/** YYYYMMDD in UTC. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll('-', '');
}
