/**
 * Who completes an upload, and whether it may be aborted: decided at one place, the upload's own record
 * (`u/`), by conditional writes. Its group `completing` has a token for each request that is completing the
 * upload, a count of all there have been (so that no state comes twice), and `done` once an object is made.
 *
 * An object is made only under a claim, and a record goes only while nobody has one: so who finds it gone knows
 * that nothing can be made of the parts any more. A claim whose process died can't be told from one that is
 * slow, but it ends: its holder begins nothing after HOLD_MS by his own clock, and who wants it gone has
 * watched it for WATCH_MS by his. Clocks are not compared, they only have to run.
 */
import type { EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Condition } from '../condition.ts';
import type { Operation, Store } from '../contract.ts';

/** Longer than rounds go on (limits.ts). */
const HOLD_MS = 20_000;
const WATCH_MS = 30_000;
const POLL_MS = 250;
/** New claims may come while old ones are watched. */
const MAX_WAIT_MS = 45_000;
const MAX_ATTEMPTS = 16;
const TOKEN_BYTES = 8;
const GROUP = 'completing';
const COUNT = 'count';
const DONE = 'done';

export interface Claim {
  readonly token: string;
  /** Whether its holder may still begin to make the object. */
  isHeld(): boolean;
}

interface Claims {
  readonly count: number;
  readonly tokens: ReadonlySet<string>;
  readonly isDone: boolean;
}

/** What of a record's claims was watched, and nothing comes of any more. */
export interface Watched {
  readonly is: 'open' | 'done' | 'gone';
  readonly dead: readonly string[];
}

/** `kept`: others still complete it, or the change was not wanted. */
type Outcome = 'changed' | 'removed' | 'gone' | 'kept';

export class UploadClaims {
  readonly #store: Store;
  readonly #env: Pick<Env, 'clock' | 'random'>;

  constructor(store: Store, env: Pick<Env, 'clock' | 'random'>) {
    this.#store = store;
    this.#env = env;
  }

  /** Undefined: the upload is over. */
  async take(operation: Operation, name: ObjectName): Promise<Claim | undefined> {
    const { clock, random } = this.#env;
    const token = random.bytes(TOKEN_BYTES).toString('hex');
    // Before anybody can see it.
    const startMs = clock.monotonicMs();
    const outcome = await this.#change(operation, name, (claims) => {
      if (claims.isDone) return undefined;
      return { ...claims, count: claims.count + 1, tokens: new Set([...claims.tokens, token]) };
    });
    if (outcome !== 'changed') return undefined;
    return { token, isHeld: () => clock.monotonicMs() - startMs < HOLD_MS };
  }

  /** An object is made. `removed`: the record is gone, nobody else completes the upload. */
  finish(operation: Operation, name: ObjectName, { token }: Claim): Promise<Outcome> {
    return this.#change(operation, name, (claims) => ({
      ...without(claims, [token]),
      isDone: true,
    }));
  }

  /** No object was made by it, or its holder does not know. */
  release(operation: Operation, name: ObjectName, { token }: Claim): Promise<Outcome> {
    return this.#change(operation, name, (claims) => without(claims, [token]));
  }

  /**
   * Waits until nobody completes the upload.
   * @throws OperatingError `unavailable`: others complete it again and again
   */
  async vacate(operation: Operation, name: ObjectName): Promise<Watched> {
    const { clock } = this.#env;
    const startMs = clock.monotonicMs();
    const seenMs = new Map<string, number>();
    for (;;) {
      const claims = await this.#read(operation, name);
      if (claims === undefined) return { is: 'gone', dead: [] };
      const tokens = [...claims.tokens];
      const nowMs = clock.monotonicMs();
      for (const token of tokens) if (!seenMs.has(token)) seenMs.set(token, nowMs);
      if (tokens.every((token) => nowMs - seenMs.get(token)! >= WATCH_MS)) {
        return { is: claims.isDone ? 'done' : 'open', dead: tokens };
      }
      if (nowMs - startMs > MAX_WAIT_MS) {
        throw new OperatingError('unavailable', 'the upload is being completed', { ...name });
      }
      await clock.sleep(POLL_MS);
    }
  }

  /** The record goes, unless something has happened that was not watched. */
  async remove(
    operation: Operation,
    name: ObjectName,
    { is, dead }: Watched,
  ): Promise<'removed' | 'gone' | 'kept'> {
    const outcome = await this.#change(operation, name, (claims) => {
      const left = without(claims, dead);
      const isSame = left.tokens.size === 0 && claims.isDone === (is === 'done');
      return isSame ? { ...left, isDone: true } : undefined;
    });
    return outcome === 'changed' ? 'kept' : outcome;
  }

  async #read(operation: Operation, name: ObjectName): Promise<Claims | undefined> {
    const state = await this.#store.statObject({ ...operation, read: 'newest' }, name);
    return state && claimsOf(state);
  }

  /** The record becomes what `next` makes of it, in one step; that is over and has no claims goes. */
  async #change(
    operation: Operation,
    name: ObjectName,
    next: (claims: Claims) => Claims | undefined,
  ): Promise<Outcome> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const claims = await this.#read(operation, name);
      if (claims === undefined) return 'gone';
      const wanted = next(claims);
      if (wanted === undefined) return 'kept';
      const before = textOf(claims);
      const same: Condition = {
        holds: (current) => current !== undefined && textOf(claimsOf(current)) === before,
        weakly: true,
      };
      if (wanted.isDone && wanted.tokens.size === 0) {
        const removed = await this.#store.deleteObject(operation, name, same);
        if (removed === 'deleted') return 'removed';
      } else {
        const groups = { [GROUP]: valuesOf(wanted) };
        const updated = await this.#store.updateGroups(operation, name, groups, same);
        if (updated === 'updated') return 'changed';
      }
    }
    throw new OperatingError('undecided', 'others complete the same upload', { ...name });
  }
}

/** An object is made of it: its record only waits for others that complete it. */
export function isDone(state: EntryState): boolean {
  return claimsOf(state).isDone;
}

function without(claims: Claims, gone: readonly string[]): Claims {
  return {
    ...claims,
    tokens: new Set([...claims.tokens].filter((token) => !gone.includes(token))),
  };
}

function claimsOf({ groups }: EntryState): Claims {
  const { [COUNT]: count = '0', [DONE]: done, ...tokens } = groups[GROUP]?.values ?? {};
  return { count: Number(count), tokens: new Set(Object.keys(tokens)), isDone: done !== undefined };
}

function valuesOf({ count, tokens, isDone }: Claims): Record<string, string> {
  const held = Object.fromEntries([...tokens].map((token) => [token, 'held']));
  return { ...held, [COUNT]: String(count), ...(isDone && { [DONE]: 'yes' }) };
}

function textOf(claims: Claims): string {
  return JSON.stringify(Object.entries(valuesOf(claims)).sort());
}
