/**
 * Bucket names: which account has the cluster-wide name. Claimed in state, in one transaction, so of
 * two creators at two sites one wins; a container's own account needs no claim to use it.
 *
 *   s3/buckets/NAME -> account, when claimed (Unix ms)
 *
 * Who is asked often is remembered: a claim for a minute (it goes away only when its bucket is
 * deleted, and then the account has no such container), an unclaimed name for two seconds. When state
 * is away an old answer is better than none.
 */
import { z } from 'zod';
import { messageOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { defineRecord } from '#state/record.ts';
import type { State } from '#state/state.ts';

const PREFIX = 's3/buckets/';
const CLAIM = defineRecord({
  name: 'bucket-claim',
  version: 1,
  schema: z.object({ account: z.string(), claimedMs: z.number() }),
});

const KNOWN_MS = 60_000;
const UNKNOWN_MS = 2_000;
const MAX_CACHED = 10_000;
/** Claims and releases that Swift's requests left to do while state was away. */
const MAX_PENDING = 10_000;
const RETRY_MS = 5_000;

interface Cached {
  readonly account: string | undefined;
  readonly untilMs: number;
}

interface Pending {
  readonly account: string;
  readonly kind: 'claim' | 'release';
}

/** What S3 keeps for itself. */
const RESERVED = /^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$/;

/** S3's rules for new names: 3 to 63 of a-z, 0-9, `-` and `.`, in labels, no IP address. */
export function isBucketName(name: string): boolean {
  return (
    /^(?=.{3,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name) &&
    !/^\d{1,3}(\.\d{1,3}){3}$/.test(name) &&
    !RESERVED.test(name)
  );
}

export class BucketNames {
  readonly #env: Pick<Env, 'clock' | 'log'>;
  readonly #state: Pick<State, 'get' | 'txn'>;
  /** Least recently fetched first. */
  readonly #cached = new Map<string, Cached>();
  readonly #pending = new Map<string, Pending>();
  #retrying = false;
  #closed = false;

  constructor(env: Pick<Env, 'clock' | 'log'>, state: Pick<State, 'get' | 'txn'>) {
    this.#env = env;
    this.#state = state;
  }

  /** @throws OperatingError `state-unavailable`: not known here, and state is away */
  async ownerOf(name: string): Promise<string | undefined> {
    const cached = this.#cached.get(name);
    if (cached !== undefined && cached.untilMs > this.#now()) return cached.account;
    try {
      return await this.#fetch(name);
    } catch (error) {
      if (cached === undefined) throw error;
      this.#env.log.debug('bucket.owner-stale', { name, error: messageOf(error) });
      return cached.account;
    }
  }

  /** The account that has the name now: this one, or the one that was faster. */
  async claim(name: string, account: string): Promise<string> {
    const claimedMs = Math.floor(this.#env.clock.wallMicros() / 1000);
    const key = PREFIX + name;
    const { succeeded } = await this.#state.txn({
      compare: [{ key, exists: false }],
      success: [{ kind: 'put', key, value: CLAIM.encode({ account, claimedMs }) }],
    });
    if (succeeded) {
      this.#keep(name, account);
      return account;
    }
    return (await this.#fetch(name)) ?? (await this.claim(name, account));
  }

  /** Frees the name if this account has it. */
  async release(name: string, account: string): Promise<void> {
    const key = PREFIX + name;
    const found = await this.#state.get(key);
    this.#cached.delete(name);
    if (found === undefined || CLAIM.decode(found.value).account !== account) return;
    const unchanged = { key, modRevision: found.modRevision };
    await this.#state.txn({ compare: [unchanged], success: [{ kind: 'delete', key }] });
  }

  /** After a container was made through Swift: soon, and never in its way. */
  created(name: string, account: string): void {
    if (isBucketName(name)) this.#later(name, { account, kind: 'claim' });
  }

  deleted(name: string, account: string): void {
    if (isBucketName(name)) this.#later(name, { account, kind: 'release' });
  }

  close(): void {
    this.#closed = true;
  }

  #later(name: string, pending: Pending): void {
    if (this.#pending.size >= MAX_PENDING) return;
    this.#pending.set(`${pending.account}/${name}`, pending);
    if (this.#retrying) return;
    this.#retrying = true;
    void this.#work().finally(() => {
      this.#retrying = false;
    });
  }

  async #work(): Promise<void> {
    while (this.#pending.size > 0 && !this.#closed) {
      const [key, pending] = this.#pending.entries().next().value!;
      const name = key.slice(pending.account.length + 1);
      try {
        if (pending.kind === 'claim') await this.claim(name, pending.account);
        else await this.release(name, pending.account);
        // Something newer may have been asked for the name meanwhile.
        if (this.#pending.get(key) === pending) this.#pending.delete(key);
      } catch (error) {
        this.#env.log.debug('bucket.claim-waits', { name, error: messageOf(error) });
        await this.#env.clock.sleep(RETRY_MS);
      }
    }
  }

  async #fetch(name: string): Promise<string | undefined> {
    const found = await this.#state.get(PREFIX + name);
    const account = found === undefined ? undefined : CLAIM.decode(found.value).account;
    this.#keep(name, account);
    return account;
  }

  #keep(name: string, account: string | undefined): void {
    const ms = account === undefined ? UNKNOWN_MS : KNOWN_MS;
    this.#cached.delete(name);
    this.#cached.set(name, { account, untilMs: this.#now() + ms });
    if (this.#cached.size <= MAX_CACHED) return;
    const [oldest] = this.#cached.keys();
    this.#cached.delete(oldest!);
  }

  #now(): number {
    return this.#env.clock.monotonicMs();
  }
}
