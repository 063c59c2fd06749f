/**
 * S3 signing keys fetched from identity services over HTTP, for proxies that hold no master key. The
 * proxy logs in as a user with role `service`, keeps that token until it is refused, and goes on to the
 * next endpoint when one is dead or says 5xx.
 */
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { S3Key, S3KeyRequest } from '#identity/s3-keys.ts';
import { MAX_TOKEN_LENGTH } from '#identity/token.ts';
import type { FetchS3Key } from './s3-key-cache.ts';

export interface RemoteS3KeysOptions {
  readonly env: Pick<Env, 'clock'>;
  /** `http://host:port/v3` of each identity service, the nearest first. */
  readonly endpoints: readonly string[];
  readonly fetch: typeof globalThis.fetch;
  readonly login: { readonly user: string; readonly password: string; readonly project: string };
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 3000;
const DOMAIN = { id: 'default' };
const answerSchema = z.object({
  s3_key: z.object({ signing_key: z.base64(), token: z.string().max(MAX_TOKEN_LENGTH) }),
});

export function fetchS3KeysFrom(options: RemoteS3KeysOptions): FetchS3Key {
  const remote = new RemoteS3Keys(options);
  return (request) => remote.fetch(request);
}

class RemoteS3Keys {
  readonly #options: RemoteS3KeysOptions;
  #token: string | undefined;
  #preferred = 0;

  constructor(options: RemoteS3KeysOptions) {
    this.#options = options;
  }

  async fetch(request: S3KeyRequest): Promise<S3Key | undefined> {
    const { sessionToken: session_token, ...fields } = request;
    const body = { s3_key: { ...fields, session_token } };
    for (let attempt = 1; ; attempt++) {
      this.#token ??= await this.#logIn();
      const { status, value } = await this.#post('/anello/s3-keys', body, this.#token);
      if (status === 200) return keyOf(value);
      if (status === 404) return undefined;
      if (status === 400)
        throw new OperatingError('bad-request', 'not a credential scope of today');
      this.#token = undefined;
      // Our own token had ended: once more with a new one.
      if (status !== 401 || attempt > 1) throw unavailable(`identity answered ${status}`);
    }
  }

  async #logIn(): Promise<string> {
    const { user: name, password, project } = this.#options.login;
    const identity = {
      methods: ['password'],
      password: { user: { name, password, domain: DOMAIN } },
    };
    const scope = { project: { name: project, domain: DOMAIN } };
    const { status, token } = await this.#post('/auth/tokens', { auth: { identity, scope } });
    if (status !== 201 || token === null)
      throw unavailable(`identity answered ${status} to our log-in`);
    return token;
  }

  /** At the first endpoint that gives an answer of its own. */
  async #post(path: string, body: unknown, token?: string) {
    const { endpoints } = this.#options;
    let last: unknown;
    for (let i = 0; i < endpoints.length; i++) {
      const index = (this.#preferred + i) % endpoints.length;
      try {
        const answer = await this.#postTo(`${endpoints[index]}${path}`, body, token);
        if (answer.status < 500) {
          this.#preferred = index;
          return answer;
        }
        last = new Error(`identity answered ${answer.status}`);
      } catch (error) {
        last = error;
      }
    }
    throw unavailable(messageOf(last));
  }

  async #postTo(url: string, body: unknown, token: string | undefined) {
    const { env, fetch, timeoutMs = TIMEOUT_MS } = this.#options;
    const abort = new AbortController();
    const timer = env.clock.setTimer(timeoutMs, () =>
      abort.abort(new Error('identity is too slow')),
    );
    try {
      const headers = {
        'Content-Type': 'application/json',
        ...(token && { 'X-Auth-Token': token }),
      };
      const sent = { method: 'POST', headers, body: JSON.stringify(body), signal: abort.signal };
      const response = await fetch(url, sent);
      const value: unknown = await response.json();
      return { status: response.status, value, token: response.headers.get('x-subject-token') };
    } finally {
      timer.cancel();
    }
  }
}

function keyOf(value: unknown): S3Key {
  const parsed = answerSchema.safeParse(value);
  if (!parsed.success) throw unavailable('identity gave an answer of an unknown form');
  const { signing_key: key, token } = parsed.data.s3_key;
  return { signingKey: Buffer.from(key, 'base64'), token };
}

function unavailable(why: string): OperatingError {
  return new OperatingError('state-unavailable', `S3 keys cannot be fetched: ${why}`);
}
