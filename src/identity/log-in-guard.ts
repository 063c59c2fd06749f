/**
 * Ends guessing. Failed log-ins are counted per user and address, per user, and per address; who reaches
 * a limit within its window is locked out for a while (429 with Retry-After). Success forgets the first
 * count, so whoever knows the password never notices.
 *
 * Counts of users who exist are kept in state too: a lock holds at every identity service and over
 * restarts. They are written behind the answer, not before it, so that the time of an answer does not
 * tell who exists; a write that is lost costs a guesser's count of one. Everybody else's, and those of
 * addresses, are this process's own: strangers must not be able to fill the state store.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import { type IdentityContext, nowMs } from './context.ts';
import { nameHash } from './id.ts';
import type { LockOut } from './records.ts';
import type { Stored } from './table.ts';

interface Limit {
  readonly failures: number;
  readonly windowMs: number;
  readonly lockMs: number;
}

type Kind = 'pair' | 'user' | 'address';
const MINUTE_MS = 60_000;
const LIMITS: Readonly<Record<Kind, Limit>> = {
  pair: { failures: 10, windowMs: 10 * MINUTE_MS, lockMs: 5 * MINUTE_MS },
  // Wide: else anybody could lock anybody out from a few addresses.
  user: { failures: 100, windowMs: 10 * MINUTE_MS, lockMs: 5 * MINUTE_MS },
  // Wider: behind one address may be an institute.
  address: { failures: 300, windowMs: 10 * MINUTE_MS, lockMs: MINUTE_MS },
};
const MAX_TALLIES = 20_000;
const MAX_WRITES = 256;
const MAX_TRIES = 5;
const MAX_PURGE = 100;

/** Whose log-in is tried. */
export interface Suspect {
  /** The user's (or credential's) id; for one that does not exist, what it was called. */
  readonly id: string;
  readonly exists: boolean;
}

interface Count {
  readonly kind: Kind;
  readonly key: string;
  /** In state too. */
  readonly shared: boolean;
}

export class LogInGuard {
  readonly #context: IdentityContext;
  readonly #tallies = new Map<string, LockOut>();
  /** One after another, or a success could be overtaken by the failures before it. */
  #writes: Promise<void> = Promise.resolve();
  #writing = 0;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  /** @throws OperatingError `too-many-attempts` with `retryAfterSeconds` */
  async check(suspect: Suspect, address: string): Promise<void> {
    for (const count of countsOf(suspect, address)) {
      const untilMs = await this.#lockedUntil(count);
      const leftMs = untilMs - nowMs(this.#context);
      if (leftMs <= 0) continue;
      const retryAfterSeconds = Math.ceil(leftMs / 1000);
      throw new OperatingError('too-many-attempts', 'Too many failed log-ins; try later.', {
        retryAfterSeconds,
      });
    }
  }

  failed(suspect: Suspect, address: string): void {
    const now = nowMs(this.#context);
    for (const count of countsOf(suspect, address)) {
      this.#remember(count.key, counted(this.#tallies.get(count.key), count.kind, now));
      if (count.shared) this.#behind(() => this.#countInState(count, now));
    }
  }

  succeeded(suspect: Suspect, address: string): void {
    const [pair] = countsOf(suspect, address);
    const { key, shared } = pair!;
    this.#tallies.delete(key);
    if (!shared) return;
    this.#behind(async () => {
      if ((await this.#stored(key)) !== undefined) await this.#context.store.lockOuts.erase(key);
    });
  }

  /** Removes what is over from state. */
  async purge(): Promise<void> {
    const { lockOuts, state } = this.#context.store;
    const now = nowMs(this.#context);
    const over = (await lockOuts.list()).filter(({ fields }) => fields.expiresMs < now);
    for (let i = 0; i < over.length; i += MAX_PURGE) {
      const some = over.slice(i, i + MAX_PURGE);
      await state.txn({ success: some.map(({ key }) => ({ kind: 'delete', key })) });
    }
  }

  async close(): Promise<void> {
    await this.#writes;
  }

  async #lockedUntil({ kind, key, shared }: Count): Promise<number> {
    const stored = shared ? await this.#stored(key) : undefined;
    const tallies = [this.#tallies.get(key), stored?.fields];
    const latest = Math.max(0, ...tallies.map((tally) => tally?.lockedUntilMs ?? 0));
    // However far the clock was set back.
    return Math.min(latest, nowMs(this.#context) + LIMITS[kind].lockMs);
  }

  #stored(key: string): Promise<Stored<LockOut> | undefined> {
    return this.#context.store.lockOuts.peek(key);
  }

  #remember(key: string, tally: LockOut): void {
    this.#tallies.delete(key);
    this.#tallies.set(key, tally);
    if (this.#tallies.size <= MAX_TALLIES) return;
    const [oldest] = this.#tallies.keys();
    this.#tallies.delete(oldest!);
  }

  async #countInState({ kind, key }: Count, now: number): Promise<void> {
    const { lockOuts, state } = this.#context.store;
    // What is remembered here may lag behind: a loser is told what is there.
    const whole = { start: lockOuts.key(key), end: `${lockOuts.key(key)}\0` };
    let stored = await this.#stored(key);
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const tally = counted(stored?.fields, kind, now);
      const { succeeded, results } = await state.txn({
        compare: [stored ? lockOuts.unchanged(stored) : lockOuts.exists(false, key)],
        success: [lockOuts.put(tally, key)],
        failure: [{ kind: 'range', range: whole }],
      });
      if (!succeeded) {
        const item = results[0]?.kind === 'range' ? results[0].items[0] : undefined;
        stored = item && lockOuts.stored(item);
        continue;
      }
      if (tally.lockedUntilMs !== undefined)
        this.#context.env.log.warn('identity.locked-out', { kind, failures: tally.failures });
      return;
    }
  }

  #behind(write: () => Promise<void>): void {
    if (this.#writing >= MAX_WRITES) return;
    this.#writing += 1;
    this.#writes = this.#writes
      .then(write)
      .catch((error: unknown) => {
        this.#context.env.log.warn('identity.lock-out-unsaved', { error: messageOf(error) });
      })
      .finally(() => {
        this.#writing -= 1;
      });
  }
}

/** One failure more; a count whose window or lock is over begins anew. */
function counted(before: LockOut | undefined, kind: Kind, now: number): LockOut {
  const { failures, windowMs, lockMs } = LIMITS[kind];
  const fresh = before === undefined || before.sinceMs + windowMs < now || isOver(before, now);
  const sinceMs = fresh ? now : Math.min(before.sinceMs, now);
  const count = (fresh ? 0 : before.failures) + 1;
  if (count < failures) return { failures: count, sinceMs, expiresMs: sinceMs + windowMs };
  const lockedUntilMs = now + lockMs;
  return { failures: count, sinceMs, lockedUntilMs, expiresMs: lockedUntilMs };
}

function isOver({ lockedUntilMs }: LockOut, now: number): boolean {
  return lockedUntilMs !== undefined && lockedUntilMs <= now;
}

function countsOf({ id, exists }: Suspect, address: string): Count[] {
  return [
    { kind: 'pair', key: `pair/${nameHash(id, address)}`, shared: exists },
    { kind: 'user', key: `user/${nameHash(id, '')}`, shared: exists },
    { kind: 'address', key: `address/${address}`, shared: false },
  ];
}
