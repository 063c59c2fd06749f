/** What happens when something turns out damaged: it is never answered, kept for a person, and told. */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { BlobStore } from './blob-store.ts';
import { gone } from './body-reader.ts';
import type { EntryKey } from './contract.ts';
import type { EntryStore } from './entry-store.ts';
import { damaged, isExhaustion } from './errors.ts';
import { type Health, INDEX_DAMAGED } from './health.ts';
import { isIndexDamage } from './index-file.ts';
import type { Quarantine } from './quarantine.ts';
import type { SegmentFiles } from './segment-files.ts';
import type { BodyPlace, StoredEntry } from './stored-entry.ts';

/** A file with this name in the device's folder: the next start rebuilds the index. */
export const REBUILD_MARK = 'index.rebuild';

export interface DamageParts {
  readonly env: Env;
  readonly path: string;
  readonly health: Health;
  readonly store: EntryStore;
  readonly files: SegmentFiles;
  readonly blobs: BlobStore;
  readonly quarantine: Quarantine;
  readonly onDamage: (key: EntryKey | undefined, what: string) => void;
}

export class DamageControl {
  readonly #parts: DamageParts;
  #indexMarked = false;
  /** Bodies on their way to the quarantine. */
  readonly #isolating = new Set<Promise<void>>();

  constructor(parts: DamageParts) {
    this.#parts = parts;
  }

  /** Looks something up in the index. @throws OperatingError `device-failed` where it is damaged */
  looking<Result>(look: () => Result): Result {
    try {
      return look();
    } catch (error) {
      throw isIndexDamage(error) ? this.index(error) : error;
    }
  }

  /**
   * A damaged index is rebuilt from the log by the next start; until then nothing it says can be
   * believed, not even that a key is unknown.
   */
  index(error: unknown): Error {
    const { env, path, health, onDamage } = this.#parts;
    health.worsen('failed', INDEX_DAMAGED);
    if (this.#indexMarked) return health.error();
    this.#indexMarked = true;
    env.log.error('device.index-damaged', { error });
    try {
      env.disk.replaceSync(`${path}/${REBUILD_MARK}`, Buffer.from(`${messageOf(error)}\n`));
    } catch (second) {
      env.log.error('device.index-mark-failed', { error: second });
    }
    onDamage(undefined, 'index');
    return health.error();
  }

  /** The body of an entry is bad; answers the error for whoever wanted to read it. */
  body(entry: StoredEntry, what: string, cause: unknown): Error {
    if (isExhaustion(cause)) {
      return new OperatingError('overloaded', 'a body cannot be opened now', {}, { cause });
    }
    const { store, health, env, onDamage } = this.#parts;
    const { body, key, path } = entry;
    const current = this.looking(() => store.get(key));
    const isCurrent = body !== undefined && current?.body !== undefined && same(current.body, body);
    // An overwritten version may have been freed before its reader came: that is no damage.
    if (!isCurrent) return gone(entry);
    if (cause !== undefined && codeOf(cause) !== 'damaged') health.readFailed(cause);
    store.remark(key, current.with({ body: undefined }));
    const isolating = this.#isolate(entry, body, what)
      .catch((error: unknown) => env.log.warn('device.quarantine-failed', { error }))
      .finally(() => this.#isolating.delete(isolating));
    this.#isolating.add(isolating);
    onDamage(key, what);
    return damaged(what, { path }, cause);
  }

  /**
   * A part of the log can't be read, and is to be taken for bad bytes.
   * @throws the error itself where it says nothing of the disk, the device's where too many reads have failed
   */
  unreadable(error: unknown): void {
    if (isExhaustion(error)) throw error;
    const { health } = this.#parts;
    health.readFailed(error);
    if (!health.readable) throw health.error();
  }

  /** Resolves when what was found damaged is in quarantine: a start must not find it in its old place. */
  async idle(): Promise<void> {
    await Promise.all(this.#isolating);
  }

  async #isolate(entry: StoredEntry, body: BodyPlace, what: string): Promise<void> {
    const { quarantine, blobs, files } = this.#parts;
    const { key, path } = entry;
    const note = { what, policy: key.policy, hash: key.hash.toString('hex'), path };
    if (body.kind === 'blob') {
      const from = blobs.path(body.name);
      await blobs.forget(body.name);
      return quarantine.move(from, body.name, { ...note, from, length: body.length });
    }
    const { segment, offset, length } = body.record;
    const { file, release } = await files.retain(segment);
    const bytes = await file
      .read(offset, length)
      .catch(() => Buffer.alloc(0)) // unreadable: the note is what can be kept
      .finally(release);
    const from = files.path(segment);
    const place = { from, segment, offset, length };
    await quarantine.keep(`${segment}-${offset}.record`, bytes, { ...note, ...place });
  }
}

function same(a: BodyPlace, b: BodyPlace): boolean {
  if (a.kind === 'blob') return b.kind === 'blob' && a.name === b.name;
  return b.kind === 'inline' && a.start === b.start && a.record.segment === b.record.segment;
}
