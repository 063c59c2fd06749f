/**
 * Removes segments and blobs that are not needed any more, by the three-step rule: the log position
 * from which they are not needed is synced (it was committed), a complete checkpoint has made the index
 * durable up to there, and nobody reads them. Then the folder is synced.
 */
import type { LogPosition } from './contract.ts';

export interface Condemned {
  /** Nothing refers to it from this position of the log on. */
  readonly from: LogPosition;
  readonly folder: string;
  busy(): boolean;
  unlink(): Promise<void>;
}

export class Reaper {
  readonly #syncFolder: (folder: string) => Promise<void>;
  #condemned: Condemned[] = [];

  constructor(syncFolder: (folder: string) => Promise<void>) {
    this.#syncFolder = syncFolder;
  }

  get waiting(): number {
    return this.#condemned.length;
  }

  add(condemned: Condemned): void {
    this.#condemned.push(condemned);
  }

  /** The index is durable up to `position`. */
  async release(position: LogPosition): Promise<number> {
    const ready = this.#condemned.filter((item) => !isBefore(position, item.from) && !item.busy());
    if (ready.length === 0) return 0;
    const folders = new Set<string>();
    for (const item of ready) {
      // Only what has gone is taken out: after an error (no room in a database) the others go the next time.
      await item.unlink();
      this.#condemned.splice(this.#condemned.indexOf(item), 1);
      folders.add(item.folder);
    }
    for (const folder of folders) await this.#syncFolder(folder);
    return ready.length;
  }
}

export function isBefore(a: LogPosition, b: LogPosition): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}
