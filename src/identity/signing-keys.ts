/**
 * The keys that sign tokens. Their private seeds are sealed in state, so every identity service signs
 * with the same ones; the public halves are in the directory of every proxy.
 *
 * A key signs for one period. The next one is made PREPUBLISH_MS before the period ends, so that
 * proxies which are out of reach for a day know it before the first token is signed with it. A key
 * stays known until the last token it signed has expired, then its records are removed.
 */
import { createHash, type KeyObject } from 'node:crypto';
import { messageOf, OperatingError } from '#base/errors.ts';
import { type IdentityContext, longestTokenMs, nowMs } from './context.ts';
import { privateKeyFromSeed, publicBytesOf, SEED_BYTES } from './ed25519.ts';
import { PRIVATE, type PublicKeyRecord } from './records.ts';
import type { Stored } from './table.ts';
import { KEY_ID_BYTES, type SigningKey } from './token.ts';

const LATEST = `${PRIVATE}latest-key`;
const DAY_MS = 24 * 3600 * 1000;
const PREPUBLISH_MS = DAY_MS;
/** Readings of two machines' clocks may differ by this much. */
const CLOCK_SKEW_MS = 300_000;

interface ReadyKey extends SigningKey {
  readonly notBeforeMs: number;
}

export class SigningKeys {
  readonly #context: IdentityContext;
  #keys: readonly ReadyKey[] = [];
  #unusable: ReadonlySet<string> = new Set();

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  /** The key to sign with now. @throws OperatingError `state-unavailable` before `maintain` */
  current(): SigningKey {
    const now = nowMs(this.#context);
    // What the directory does not have (yet, or any more) no proxy would believe.
    const known = this.#keys.filter(({ id }) => this.#context.directory.keys.has(id));
    const begun = known.filter(({ notBeforeMs }) => notBeforeMs <= now);
    const [newest] = (begun.length > 0 ? begun : known).sort(
      (a, b) => b.notBeforeMs - a.notBeforeMs,
    );
    if (newest === undefined) {
      throw new OperatingError('state-unavailable', 'no signing key is known yet');
    }
    return newest;
  }

  /** True when another identity service has made a key that this one has not loaded. */
  lacksOne(): boolean {
    const loaded = new Set(this.#keys.map(({ id }) => id));
    const known = [...this.#context.directory.keys.keys()];
    return known.some((id) => !loaded.has(id) && !this.#unusable.has(id));
  }

  /** Makes the next key when it is time, removes those that are over, learns of the others'. */
  async maintain(): Promise<void> {
    const { store, settings } = this.#context;
    const now = nowMs(this.#context);
    const latest = await this.#latestRevision();
    const stored = await store.publicKeys.list();
    const lastStart = Math.max(0, ...stored.map(({ fields }) => fields.notBeforeMs));
    const nextStart = stored.length === 0 ? now : lastStart + settings.keyPeriodMs;
    if (nextStart - PREPUBLISH_MS <= now) await this.#create(Math.max(nextStart, now), latest);
    await this.#removeExpired(stored, now);
    await this.load();
    if (this.#keys.length > 0) return;
    // The master key was lost and made anew: without this nobody could log in for a month.
    await this.#create(now, await this.#latestRevision());
    await this.load();
  }

  /** A new key that signs from now on, whatever the schedule says; the old ones stay known. */
  async rotate(): Promise<void> {
    await this.#create(nowMs(this.#context), await this.#latestRevision());
    await this.load();
  }

  /** Ends every token that the key signed: for a key that may be known to somebody else. */
  async revoke(id: string): Promise<void> {
    const { state, publicKeys, signingSeeds } = this.#context.store;
    await state.txn({ success: [publicKeys.remove(id), signingSeeds.remove(id)] });
    await this.load();
  }

  async load(): Promise<void> {
    const { publicKeys, signingSeeds } = this.#context.store;
    const keys: ReadyKey[] = [];
    const unusable = new Set<string>();
    for (const { fields } of await publicKeys.list()) {
      const { id, notBeforeMs } = fields;
      const seed = await signingSeeds.get(id);
      const privateKey = seed && this.#open(id, seed.fields.sealed);
      if (privateKey === undefined) unusable.add(id);
      else keys.push({ id, notBeforeMs, privateKey });
    }
    this.#keys = keys;
    this.#unusable = unusable;
  }

  /** Undefined: sealed with another master key, or damaged. Its tokens count; it signs no more. */
  #open(id: string, sealed: Uint8Array): KeyObject | undefined {
    try {
      const purpose = this.#context.store.signingSeeds.key(id);
      return privateKeyFromSeed(this.#context.vault.open(sealed, purpose));
    } catch (error) {
      const facts = { keyId: id, error: messageOf(error) };
      this.#context.env.log.error('identity.signing-key-unusable', facts);
      return undefined;
    }
  }

  /** Of two services that make a key at the same time, only one does: LATEST is compared. */
  async #create(notBeforeMs: number, latestRevision: number): Promise<void> {
    const { env, store, vault, settings } = this.#context;
    const seed = env.random.bytes(SEED_BYTES);
    const publicKey = publicBytesOf(privateKeyFromSeed(seed));
    const id = createHash('sha256')
      .update(publicKey)
      .digest('hex')
      .slice(0, 2 * KEY_ID_BYTES);
    const endMs = notBeforeMs + settings.keyPeriodMs + PREPUBLISH_MS;
    const notAfterMs = endMs + longestTokenMs(settings) + CLOCK_SKEW_MS;
    const sealed = vault.seal(seed, store.signingSeeds.key(id));
    const { succeeded } = await store.state.txn({
      compare: [{ key: LATEST, modRevision: latestRevision }, store.publicKeys.exists(false, id)],
      success: [
        store.publicKeys.put({ id, publicKey, notBeforeMs, notAfterMs }, id),
        store.signingSeeds.put({ sealed }, id),
        { kind: 'put', key: LATEST, value: Buffer.from(id) },
      ],
    });
    if (succeeded) env.log.info('identity.signing-key-created', { keyId: id, notBeforeMs });
  }

  async #latestRevision(): Promise<number> {
    return (await this.#context.store.state.get(LATEST))?.modRevision ?? 0;
  }

  async #removeExpired(stored: readonly Stored<PublicKeyRecord>[], now: number): Promise<void> {
    const { state, publicKeys, signingSeeds } = this.#context.store;
    for (const { fields } of stored) {
      if (fields.notAfterMs + CLOCK_SKEW_MS >= now) continue;
      const { id } = fields;
      await state.txn({ success: [publicKeys.remove(id), signingSeeds.remove(id)] });
    }
  }
}
