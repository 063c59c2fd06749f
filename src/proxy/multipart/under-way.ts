/**
 * What is stored of uploads that are under way: bytes on disks that no container and no user counts yet, and
 * that somebody could fill a cluster with. They are counted out of the rows of uploads and parts themselves,
 * so nothing has to be given back when an upload is completed, aborted or swept, whatever dies meanwhile.
 *
 * Counting costs a listing of the parts, so an answer holds for some seconds, and for longer where it took
 * long; what this proxy takes in meanwhile is added to it. It is too much for as long, at most, for parts that
 * the listing had seen already.
 */
import type { ContainerName } from '#base/names.ts';
import type { Clock } from '#env/env.ts';
import type { ListedObject, Operation, Store } from '../contract.ts';
import { PAGE } from './attempts.ts';
import { parseUploadName, partPrefix, partsContainer, UPLOADS } from './names.ts';
import { uploadOfRow } from './rows.ts';

type Lister = Pick<Store, 'listObjects'>;

export interface UnderWay {
  readonly bytes: number;
  /** By who has begun the upload. */
  readonly byUser: ReadonlyMap<string, number>;
}

interface Count {
  bytes: number;
  readonly byUser: Map<string, number>;
}

interface Known {
  readonly count: Count;
  readonly askedAtMs: number;
  readonly tookMs: number;
}

/** As old as the totals of accounts are (account-quotas.ts). */
const HOLDS_MS = 5_000;
/** Of an answer by which something would be refused. */
const HOLDS_FRESH_MS = 250;
/** So counting takes at most a twentieth of the time. */
const REST = 20;
const MAX_BUCKETS = 10_000;

export class UploadsUnderWay {
  readonly #lister: Lister;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  /** The one that was counted longest ago first. */
  readonly #known = new Map<string, Known>();
  readonly #asking = new Map<string, Promise<Count>>();

  constructor(lister: Lister, clock: Pick<Clock, 'monotonicMs'>) {
    this.#lister = lister;
    this.#clock = clock;
  }

  /** `fresh`: of this moment, unless it was counted just now, or counting takes long. */
  async of(bucket: ContainerName, fresh = false): Promise<UnderWay> {
    const { container: key } = partsContainer(bucket);
    const known = this.#known.get(key);
    if (known !== undefined && this.#holds(known, fresh)) return known.count;
    const asking = this.#asking.get(key) ?? this.#ask(key, bucket);
    this.#asking.set(key, asking);
    return asking;
  }

  /** A part was stored here. */
  add(bucket: ContainerName, user: string | undefined, bytes: number): void {
    const known = this.#known.get(partsContainer(bucket).container);
    if (known !== undefined) addTo(known.count, user, bytes);
  }

  #holds({ askedAtMs, tookMs }: Known, fresh: boolean): boolean {
    const holdsMs = Math.max(fresh ? HOLDS_FRESH_MS : HOLDS_MS, REST * tookMs);
    return this.#clock.monotonicMs() < askedAtMs + holdsMs;
  }

  async #ask(key: string, bucket: ContainerName): Promise<Count> {
    const askedAtMs = this.#clock.monotonicMs();
    try {
      const count = await countUnderWay(this.#lister, bucket);
      const tookMs = this.#clock.monotonicMs() - askedAtMs;
      this.#keep(key, { count, askedAtMs, tookMs });
      return count;
    } catch (error) {
      const known = this.#known.get(key);
      if (known === undefined) throw error;
      return known.count;
    } finally {
      this.#asking.delete(key);
    }
  }

  #keep(key: string, known: Known): void {
    this.#known.delete(key);
    if (this.#known.size >= MAX_BUCKETS) {
      const [oldest] = this.#known.keys();
      this.#known.delete(oldest!);
    }
    this.#known.set(key, known);
  }
}

/** All attempts count, also those that later ones replaced: they are there until the upload is over. */
async function countUnderWay(lister: Lister, bucket: ContainerName): Promise<Count> {
  const count: Count = { bytes: 0, byUser: new Map() };
  for await (const row of rowsOf(lister, bucket, UPLOADS)) {
    const upload = parseUploadName(row.name);
    if (upload === undefined) continue;
    let bytes = 0;
    for await (const part of rowsOf(lister, bucket, partPrefix(upload.uploadId)))
      bytes += part.bytes;
    addTo(count, uploadOfRow(row).initiator, bytes);
  }
  return count;
}

async function* rowsOf(
  lister: Lister,
  bucket: ContainerName,
  prefix: string,
): AsyncGenerator<ListedObject> {
  const { signal } = new AbortController();
  const operation: Operation = { txn: 'quota', signal, read: 'quorum' };
  let marker: string | undefined;
  for (;;) {
    const query = { limit: PAGE, prefix, ...(marker !== undefined && { marker }) };
    const page = await lister.listObjects(operation, partsContainer(bucket), query);
    for (const item of page?.items ?? []) {
      if ('prefix' in item) continue;
      marker = item.name;
      yield item;
    }
    if (page?.truncated !== true) return;
  }
}

function addTo(count: Count, user: string | undefined, bytes: number): void {
  count.bytes += bytes;
  if (user !== undefined) count.byUser.set(user, (count.byUser.get(user) ?? 0) + bytes);
}
