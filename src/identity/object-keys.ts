/**
 * Keys that wrap the data keys of encrypted objects. They are kept in state, sealed with the master key,
 * so every proxy of the cluster has them and no file has to be carried from machine to machine:
 *
 *   encryption/keys/ID -> sealed record: name, when it was made, 32 bytes
 *
 * A name may have several versions: the newest wraps, all of them unwrap. So a rotation rewrites no
 * object. No version is ever deleted: objects would be lost with it. Name '' is the store's own key,
 * made by the first proxy that needs it; two that are made at once by two proxies are two versions.
 *
 * Each proxy keeps what it has seen in a file as well (object-key-file.ts). It goes on with that while
 * state is away, and puts back what state has lost.
 */
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { type Mirror, mirrorRange, readAll } from '#state/mirror.ts';
import { defineRecord } from '#state/record.ts';
import type { KeyValue, State } from '#state/state.ts';
import type { ObjectKeyFile } from './object-key-file.ts';
import type { Vault } from './vault.ts';

const PREFIX = 'encryption/keys/';
const KEY_BYTES = 32;
const ID_BYTES = 8;
/** How long a request waits for the first look at state. */
const START_MS = 2_000;
/** What is not known is looked up in state, but no more often than this. */
const LOOK_AGAIN_MS = 1_000;
const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

const RECORD = defineRecord({
  name: 'object-key',
  version: 1,
  schema: z.strictObject({
    name: z.string().max(64),
    createdMs: z.number().int().nonnegative(),
    material: z.custom<Uint8Array>(
      (value) => value instanceof Uint8Array && value.length === KEY_BYTES,
      '32 bytes',
    ),
  }),
});

export interface ObjectKey {
  /** 16 hex digits. */
  readonly id: string;
  /** '' for the store's own. */
  readonly name: string;
  readonly createdMs: number;
  readonly material: Buffer;
}

export interface ObjectKeyParts {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly state: State;
  readonly vault: Vault;
}

/** All that state has, oldest first. */
export async function listObjectKeys(parts: ObjectKeyParts): Promise<ObjectKey[]> {
  const { items } = await readAll(parts.state, { prefix: PREFIX }, true);
  return inOrder(items.flatMap(({ key, value }) => openKey(parts, key, value) ?? []));
}

/** A new version of the name. @throws OperatingError `bad-input`, `state-unavailable` */
export async function makeObjectKey(parts: ObjectKeyParts, name: string): Promise<ObjectKey> {
  if (name !== '' && !KEY_NAME.test(name)) {
    throw new OperatingError(
      'bad-input',
      'a key name is letters, digits, dots, dashes, underscores',
    );
  }
  const { env, state, vault } = parts;
  const id = env.random.bytes(ID_BYTES).toString('hex');
  const createdMs = Math.floor(env.clock.wallMicros() / 1000);
  const material = env.random.bytes(KEY_BYTES);
  const key = PREFIX + id;
  const value = vault.seal(RECORD.encode({ name, createdMs, material }), key);
  await state.txn({ compare: [{ key, exists: false }], success: [{ kind: 'put', key, value }] });
  return { id, name, createdMs, material };
}

function openKey(
  { vault, env }: Pick<ObjectKeyParts, 'vault' | 'env'>,
  key: string,
  value: Uint8Array,
): ObjectKey | undefined {
  try {
    const { name, createdMs, material } = RECORD.decode(vault.open(value, key));
    return { id: key.slice(PREFIX.length), name, createdMs, material: Buffer.from(material) };
  } catch (error) {
    env.log.error('encryption.key-unreadable', { key, reason: messageOf(error) });
    return undefined;
  }
}

function inOrder(keys: readonly ObjectKey[]): ObjectKey[] {
  return [...keys].sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
}

/** The keys as a proxy has them at hand. */
export class ObjectKeys {
  readonly #parts: ObjectKeyParts;
  readonly #file: ObjectKeyFile;
  readonly #known = new Map<string, ObjectKey>();
  /** As in state, by key. */
  readonly #sealed = new Map<string, Buffer>();
  #mirror: Mirror | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #making: Promise<ObjectKey> | undefined;

  constructor(parts: ObjectKeyParts, file: ObjectKeyFile) {
    this.#parts = parts;
    this.#file = file;
  }

  async start(): Promise<void> {
    for (const [key, value] of await this.#file.load()) this.#note(key, value);
    const { env, state } = this.#parts;
    this.#mirror = mirrorRange(
      env,
      state,
      { prefix: PREFIX },
      {
        onSnapshot: (items) => this.#onSnapshot(items),
        onEvents: (events) => {
          for (const event of events) if (event.kind === 'put') this.#onItem(event.item);
        },
      },
    );
  }

  async close(): Promise<void> {
    this.#mirror?.close();
    await this.#file.close();
  }

  /** @throws OperatingError `no-such-key`, `state-unavailable` */
  async newest(name: string): Promise<ObjectKey> {
    const known = this.#newest(name) ?? (await this.#lookUp(() => this.#newest(name)));
    if (known !== undefined) return known;
    if (name === '') return this.#makeOwn();
    throw new OperatingError('no-such-key', 'there is no key of this name', { name });
  }

  /** @throws OperatingError `object-key-lost` */
  async byId(id: string): Promise<ObjectKey> {
    const known = this.#known.get(id) ?? (await this.#lookUp(() => this.#known.get(id)));
    if (known !== undefined) return known;
    this.#parts.env.log.error('encryption.key-lost', { id });
    const text = 'the key that wraps the key of this object is not known here';
    throw new OperatingError('object-key-lost', text, { id });
  }

  #newest(name: string): ObjectKey | undefined {
    const named = [...this.#known.values()].filter((key) => key.name === name);
    return inOrder(named).at(-1);
  }

  /** News may not have come yet. */
  async #lookUp(find: () => ObjectKey | undefined): Promise<ObjectKey | undefined> {
    const { env, state } = this.#parts;
    await Promise.race([this.#mirror?.ready, env.clock.sleep(START_MS)]).catch(() => undefined); // closed
    const nowMs = env.clock.monotonicMs();
    if (find() !== undefined || nowMs < this.#lookedAtMs + LOOK_AGAIN_MS) return find();
    this.#lookedAtMs = nowMs;
    const { items } = await readAll(state, { prefix: PREFIX }, true);
    for (const item of items) this.#onItem(item);
    return find();
  }

  #makeOwn(): Promise<ObjectKey> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  async #make(): Promise<ObjectKey> {
    const made = await makeObjectKey(this.#parts, '');
    this.#known.set(made.id, made);
    this.#parts.env.log.info('encryption.key-made', { id: made.id });
    return made;
  }

  #onSnapshot(items: readonly KeyValue[]): void {
    for (const item of items) this.#onItem(item);
    const there = new Set(items.map(({ key }) => key));
    for (const [key, value] of this.#sealed) if (!there.has(key)) this.#putBack(key, value);
  }

  #onItem({ key, value }: KeyValue): void {
    if (this.#sealed.has(key)) return;
    this.#note(key, value);
    this.#file.keep(this.#sealed);
  }

  #note(key: string, value: Buffer): void {
    const opened = openKey(this.#parts, key, value);
    if (opened === undefined) return;
    this.#sealed.set(key, value);
    this.#known.set(opened.id, opened);
  }

  /** State was restored from an old copy, or made anew. */
  #putBack(key: string, value: Buffer): void {
    const { env, state } = this.#parts;
    env.log.warn('encryption.key-put-back', { key });
    state
      .txn({ compare: [{ key, exists: false }], success: [{ kind: 'put', key, value }] })
      .catch((error: unknown) => {
        env.log.warn('encryption.key-not-put-back', { key, reason: messageOf(error) });
      });
  }
}
