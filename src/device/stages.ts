/** The staged bodies of a device: how many there may be, and how much memory they may take. */
import { OperatingError } from '#base/errors.ts';
import type { BlobStore } from './blob-store.ts';
import type { EntryKey } from './contract.ts';
import type { LogOwner } from './format.ts';
import type { Health } from './health.ts';
import type { DeviceLimits } from './limits.ts';
import { Stage, type StageHost, WRITE_BYTES } from './stage.ts';

/** What all stages together gather, about: a hundred slow uploads must not take a hundred MiB. */
const PIECES_BYTES = 8 * 1024 * 1024;
const MIN_PIECE_BYTES = 64 * 1024;

export class Stages implements StageHost {
  readonly blobs: BlobStore;
  readonly owner: LogOwner;
  readonly inlineLimit: number;
  readonly #limits: DeviceLimits;
  readonly #health: Health;
  readonly #open = new Set<Stage>();
  #memory = 0;
  syncs = 0;

  constructor(blobs: BlobStore, owner: LogOwner, limits: DeviceLimits, health: Health) {
    this.blobs = blobs;
    this.owner = owner;
    this.inlineLimit = limits.inlineLimit;
    this.#limits = limits;
    this.#health = health;
  }

  /** @throws OperatingError `overloaded` */
  begin(key: EntryKey): Stage {
    if (this.#open.size >= this.#limits.maxStages) {
      throw new OperatingError('overloaded', 'too many bodies are being staged');
    }
    const stage = new Stage({ policy: key.policy, hash: Buffer.from(key.hash) }, this);
    this.#open.add(stage);
    return stage;
  }

  get pieceBytes(): number {
    return Math.max(MIN_PIECE_BYTES, Math.min(WRITE_BYTES, PIECES_BYTES / this.#open.size));
  }

  /** Whether a blob is being staged, or was staged and is not committed yet. */
  holds(name: string): boolean {
    for (const stage of this.#open) if (stage.reference?.name === name) return true;
    return false;
  }

  async abandonAll(): Promise<void> {
    for (const stage of [...this.#open]) await stage.abandon();
  }

  takeMemory(bytes: number): boolean {
    if (bytes > 0 && this.#memory + bytes > this.#limits.stageMemory) return false;
    this.#memory += bytes;
    return true;
  }

  failed(error: unknown): Error {
    return this.#health.take(error);
  }

  ended(stage: Stage): void {
    this.#open.delete(stage);
  }

  countSync(): void {
    this.syncs++;
  }
}
