/** Object keys in memory: what `ObjectKeys` is to a proxy, without state. */
import { hash } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import type { ObjectKey } from '#identity/object-keys.ts';
import type { KeySource } from '../encryption/encryption.ts';

export class MemoryKeys implements KeySource {
  readonly #keys: ObjectKey[] = [];

  constructor(...names: readonly string[]) {
    for (const name of ['', ...names]) this.make(name);
  }

  /** A new version. The same calls make the same keys. */
  make(name: string): ObjectKey {
    const createdMs = this.#keys.length;
    const id = String(createdMs).padStart(16, '0');
    const material = hash('sha256', `${id} ${name}`, 'buffer');
    const made = { id, name, createdMs, material };
    this.#keys.push(made);
    return made;
  }

  lose(id: string): void {
    const at = this.#keys.findIndex((key) => key.id === id);
    this.#keys.splice(at, 1);
  }

  async newest(name: string): Promise<ObjectKey> {
    const found = this.#keys.findLast((key) => key.name === name);
    if (found === undefined) throw new OperatingError('no-such-key', 'no such key', { name });
    return found;
  }

  async byId(id: string): Promise<ObjectKey> {
    const found = this.#keys.find((key) => key.id === id);
    if (found === undefined) throw new OperatingError('object-key-lost', 'key lost', { id });
    return found;
  }
}
