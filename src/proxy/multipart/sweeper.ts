/**
 * The sweep: no part outlives its object. Parts stay behind when an object is overwritten, deleted or
 * expired, when a bucket goes, and when a process dies between two steps of an upload. One proxy of the
 * cluster sweeps at a time, under a lease in state; a step looks at one page of one bucket's uploads.
 *
 * What may be deleted: parts of an upload that has neither a record of being under way (`u/`) nor an
 * object made of them; and for two days after it was completed, parts that the object is not made of: who completed
 * it may have died before they were deleted, or one that nobody was told of shows itself late. The order of the looks matters: parts first, then the records, for a part's
 * upload always had its record before, and a completed one has `c/` before it loses `u/`.
 */
import { messageOf } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { State } from '#state/state.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { Operation, Store } from '../contract.ts';
import {
  bucketOfParts,
  COMPLETIONS,
  isUploadId,
  PARTS,
  PARTS_ACCOUNT,
  parseUploadName,
  partPrefix,
  partsContainer,
  UPLOADS,
  uploadOfPart,
} from './names.ts';
import { Uploads } from './uploads.ts';

export interface SweeperOptions {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly store: Store;
  readonly state: Pick<State, 'txn' | 'grantLease' | 'keepAlive'>;
  /** Who holds the lease, for people who look at state. */
  readonly name: string;
  /** Between two rounds. */
  readonly intervalMs?: number;
}

/** Which records of an upload there are. */
interface Records {
  readonly isUnderWay: boolean;
  readonly completedMicros: number | undefined;
}

const LEASE_KEY = 's3/sweeper';
const LEASE_SECONDS = 60;
const INTERVAL_MS = 3_600_000;
const PAGE = 1000;
const YOUNG_MICROS = 2 * 86_400_000_000;

export class Sweeper implements Job {
  readonly name = 's3.sweeper';
  readonly #options: SweeperOptions;
  readonly #uploads: Uploads;
  #lease: string | undefined;
  /** The container looked at last in this round. */
  #marker = '';
  #rounds = 0;
  #deleted = 0;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#uploads = new Uploads(options.store, options.env);
  }

  facts(): Readonly<Record<string, string | number | boolean>> {
    const leader = this.#lease !== undefined;
    return { leader, rounds: this.#rounds, deletedParts: this.#deleted };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    if (!(await this.#leads())) return { kind: 'idle', waitMs: LEASE_SECONDS * 1000 };
    const operation: Operation = { txn: 'sweep', signal, read: 'quorum' };
    const page = await this.#options.store.listContainers(operation, PARTS_ACCOUNT, {
      limit: 1,
      ...(this.#marker !== '' && { marker: this.#marker }),
    });
    const item = page?.items[0];
    if (item === undefined || 'prefix' in item) {
      this.#marker = '';
      this.#rounds += 1;
      return { kind: 'idle', waitMs: this.#options.intervalMs ?? INTERVAL_MS };
    }
    const bucket = bucketOfParts(item.name);
    // Before it is swept: one that can't be now is tried again in the next round, and holds no others up.
    this.#marker = item.name;
    if (bucket !== undefined) await this.#sweep(operation, bucket);
    return { kind: 'more' };
  }

  async #leads(): Promise<boolean> {
    const { state, name } = this.#options;
    if (this.#lease !== undefined && (await state.keepAlive(this.#lease))) return true;
    const lease = await state.grantLease(LEASE_SECONDS);
    const { succeeded } = await state.txn({
      compare: [{ key: LEASE_KEY, exists: false }],
      success: [{ kind: 'put', key: LEASE_KEY, value: Buffer.from(name), lease }],
    });
    this.#lease = succeeded ? lease : undefined;
    return succeeded;
  }

  async #sweep(operation: Operation, bucket: ContainerName): Promise<void> {
    const withParts = await this.#uploadsWithParts(operation, bucket);
    const completed = await this.#ids(operation, bucket, COMPLETIONS, (name) =>
      name.slice(COMPLETIONS.length),
    );
    const underWay = await this.#ids(
      operation,
      bucket,
      UPLOADS,
      (name) => parseUploadName(name)?.uploadId,
    );
    for (const uploadId of new Set([...withParts, ...completed.keys()])) {
      if (operation.signal.aborted) return;
      const records = {
        isUnderWay: underWay.has(uploadId),
        completedMicros: completed.get(uploadId),
      };
      try {
        await this.#sweepUpload(operation, bucket, uploadId, records);
      } catch (error) {
        if (operation.signal.aborted) return;
        // A manifest that nobody can read now, say: the parts stay, and other uploads are swept.
        const facts = { ...bucket, uploadId, reason: messageOf(error) };
        this.#options.env.log.warn('s3.sweep-failed', facts);
      }
    }
  }

  async #sweepUpload(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
    { isUnderWay, completedMicros }: Records,
  ): Promise<void> {
    const isUsed =
      completedMicros !== undefined &&
      (await this.#isUsed(operation, bucket, uploadId, isUnderWay));
    if (isUnderWay || (isUsed && !this.#isYoung(completedMicros))) return;
    const deleted = isUsed
      ? await this.#uploads.trim(operation, bucket, uploadId)
      : await this.#uploads.discard(operation, bucket, uploadId);
    this.#deleted += deleted;
    if (isUsed && deleted === 0) return;
    this.#options.env.log.info('s3.parts-swept', { ...bucket, uploadId, deleted });
  }

  #isYoung(completedMicros: number): boolean {
    return this.#options.env.clock.wallMicros() - completedMicros < YOUNG_MICROS;
  }

  /** Whoever completed it may have died before it was no longer under way: then that ends here. */
  async #isUsed(
    operation: Operation,
    bucket: ContainerName,
    uploadId: string,
    isUnderWay: boolean,
  ): Promise<boolean> {
    const record = await this.#uploads.completion(operation, bucket, uploadId);
    // Another sweep was faster: it deletes the parts.
    if (record === undefined) return true;
    const upload = { bucket, uploadId, record };
    const isUsed = await this.#uploads.isUsed(operation, upload);
    if (!isUnderWay) return isUsed;
    const isOver = isUsed || (await this.#uploads.isDone(operation, upload));
    if (isOver) await this.#uploads.end(operation, upload);
    return isUsed;
  }

  /** One look per upload, not per part. */
  async #uploadsWithParts(operation: Operation, bucket: ContainerName): Promise<Set<string>> {
    const found = new Set<string>();
    let marker: string | undefined;
    for (;;) {
      const page = await this.#options.store.listObjects(operation, partsContainer(bucket), {
        limit: 1,
        prefix: PARTS,
        ...(marker !== undefined && { marker }),
      });
      const item = page?.items[0];
      if (item === undefined || 'prefix' in item) return found;
      const uploadId = uploadOfPart(item.name);
      if (uploadId !== undefined) found.add(uploadId);
      // `~` is above every digit: on behind all parts of this upload.
      marker = uploadId === undefined ? item.name : `${partPrefix(uploadId)}~`;
    }
  }

  /** The ids, and from when their records are. */
  async #ids(
    operation: Operation,
    bucket: ContainerName,
    prefix: string,
    idOf: (name: string) => string | undefined,
  ): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    let marker: string | undefined;
    for (;;) {
      const page = await this.#options.store.listObjects(operation, partsContainer(bucket), {
        limit: PAGE,
        prefix,
        ...(marker !== undefined && { marker }),
      });
      for (const item of page?.items ?? []) {
        if ('prefix' in item) continue;
        marker = item.name;
        const id = idOf(item.name);
        if (id !== undefined && isUploadId(id)) found.set(id, item.clientMicros);
      }
      if (page?.truncated !== true) return found;
    }
  }
}
