/**
 * quarantine/: what was found damaged, for a person to look at, with a note beside it that says what it
 * was and why. Nothing reads it again by itself. It is bounded: beyond the limit only notes are kept.
 */
import { codeOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { Quarantined, QuarantineItem } from './contract.ts';

const MAX_KEPT_FILES = 1000;

export interface QuarantineNote {
  readonly what: string;
  readonly policy?: number;
  readonly hash?: string;
  readonly path?: string;
  readonly from: string;
  readonly segment?: number;
  readonly offset?: number;
  readonly length?: number;
}

/** `quarantine/NAME` and `quarantine/NAME.json`, where it still is a note of ours. */
const NOTE = /^(.+)\.json$/;

export class Quarantine implements Quarantined {
  readonly #env: Env;
  readonly #folder: string;
  #notes = 0;
  #kept = 0;

  constructor(env: Env, folder: string) {
    this.#env = env;
    this.#folder = folder;
  }

  get count(): number {
    return this.#notes;
  }

  /** What is kept, by name. */
  async list(limit: number): Promise<QuarantineItem[]> {
    const names = await this.#env.disk.list(this.#folder);
    const items: QuarantineItem[] = [];
    for (const name of names.filter((one) => NOTE.test(one)).slice(0, limit)) {
      items.push(await this.#item(name.replace(NOTE, '$1'), `${this.#folder}/${name}`));
    }
    return items;
  }

  /** What a person has looked at: gone for good. Damage that is found meanwhile stays. */
  async clear(): Promise<number> {
    const { disk, log } = this.#env;
    const names = await disk.list(this.#folder);
    let notes = 0;
    for (const name of names) {
      await disk.unlink(`${this.#folder}/${name}`);
      const isNote = NOTE.test(name);
      if (isNote) notes++;
      this.#notes = Math.max(0, this.#notes - Number(isNote));
      this.#kept = Math.max(0, this.#kept - Number(!isNote));
    }
    await disk.syncDirectory(this.#folder);
    log.info('device.quarantine-cleared', { folder: this.#folder, notes });
    return notes;
  }

  async #item(name: string, notePath: string): Promise<QuarantineItem> {
    const { disk } = this.#env;
    const bytes = (await disk.stat(`${this.#folder}/${name}`))?.size ?? 0;
    try {
      const note = JSON.parse((await disk.read(notePath)).toString()) as QuarantineNote & {
        atMicros?: number;
      };
      return { name, what: note.what, path: note.path, bytes, atMicros: note.atMicros };
    } catch {
      return { name, what: 'its note cannot be read', path: undefined, bytes, atMicros: undefined };
    }
  }

  async load(): Promise<void> {
    await this.#env.disk.mkdir(this.#folder);
    const names = await this.#env.disk.list(this.#folder);
    this.#notes = names.filter((name) => name.endsWith('.json')).length;
    this.#kept = names.length - this.#notes;
  }

  /** Keeps a copy of bytes. Never throws: that something is damaged matters more than this copy. */
  async keep(name: string, bytes: Uint8Array, note: QuarantineNote): Promise<void> {
    await this.#attempt(name, note, async () => {
      if (this.#kept >= MAX_KEPT_FILES) return;
      this.#kept++;
      await this.#env.disk.replace(`${this.#folder}/${name}`, bytes);
    });
  }

  /** Takes a file out of service by moving it here. */
  async move(path: string, name: string, note: QuarantineNote): Promise<void> {
    await this.#attempt(name, note, async () => {
      try {
        await this.#env.disk.rename(path, `${this.#folder}/${name}`);
        this.#kept++;
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error; // a missing blob: the note is all there is
      }
    });
  }

  async #attempt(name: string, note: QuarantineNote, step: () => Promise<void>): Promise<void> {
    const { disk, log, clock } = this.#env;
    this.#notes++;
    log.error('device.quarantined', { name, ...note });
    try {
      await step();
      const text = JSON.stringify({ ...note, atMicros: clock.wallMicros() }, undefined, 2);
      await disk.replace(`${this.#folder}/${name}.json`, Buffer.from(`${text}\n`));
    } catch (error) {
      log.warn('device.quarantine-failed', { name, error });
    }
  }
}
