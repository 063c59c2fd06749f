/**
 * One round of a bucket's lifecycle, a page at a time: its objects, its uploads, its versions. The place
 * between two pages is text, `o`, `u` or `v` and the name that was looked at last, so that another node can
 * go on.
 *
 * A listing only proposes: each deletion is a conditional one, which asks the rules once more about the
 * very version that it deletes, so what was overwritten or tagged anew meanwhile stays. That makes it
 * right to do anything twice.
 */
import { type EntryState, isLive } from '#base/entry.ts';
import { codeOf, messageOf } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { ListedObject, Operation, Page } from '../contract.ts';
import { parseUploadName, partsContainer, UPLOADS } from '../multipart/names.ts';
import { Uploads } from '../multipart/uploads.ts';
import { type ListedVersion, type VersionedStore, versioningOf } from '../versions/contract.ts';
import { dueVersions, isReplaced } from './noncurrent.ts';
import {
  abortOf,
  aborts,
  commonPrefix,
  expires,
  expiryOf,
  type Lifecycle,
  removesVersions,
} from './rules.ts';
import { versionsByKey } from './version-pages.ts';

const PAGE = 1000;
const CONCURRENCY = 8;
const OBJECTS = 'o';
const INCOMPLETE = 'u';
const VERSIONS = 'v';

export class LifecycleRound {
  readonly counts = { expired: 0, aborted: 0, removed: 0, failed: 0 };
  readonly #env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly #store: VersionedStore;
  readonly #uploads: Uploads;
  readonly #dayMs: number;
  readonly #pageItems: number;

  constructor(
    env: Pick<Env, 'clock' | 'random' | 'log'>,
    store: VersionedStore,
    dayMs: number,
    pageItems = PAGE,
  ) {
    this.#env = env;
    this.#store = store;
    this.#uploads = new Uploads(store, env);
    this.#dayMs = dayMs;
    this.#pageItems = pageItems;
  }

  /**
   * The next place; undefined: the round is over.
   * @throws OperatingError `unavailable`: nothing could be listed; the same page again
   */
  async page(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    place: string,
  ): Promise<string | undefined> {
    const marker = place.slice(1);
    if (place.startsWith(VERSIONS)) {
      return await this.#versionsPage(operation, bucket, lifecycle, marker);
    }
    if (place.startsWith(INCOMPLETE)) {
      return (await this.#uploadsPage(operation, bucket, lifecycle, marker)) ?? VERSIONS;
    }
    return (await this.#objectsPage(operation, bucket, lifecycle, marker)) ?? INCOMPLETE;
  }

  async #objectsPage(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    marker: string,
  ): Promise<string | undefined> {
    const prefix = commonPrefix(lifecycle, expires);
    if (prefix === undefined) return undefined;
    const page = await this.#list(operation, bucket, prefix, marker);
    const due = itemsOf(page).filter((item) =>
      this.#isDue(lifecycle, item.name, item.bytes, item.clientMicros),
    );
    await this.#each(operation, due, (item) =>
      this.#expire(operation, bucket, lifecycle, item.name),
    );
    return this.#next(page, OBJECTS);
  }

  async #expire(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    key: string,
  ): Promise<void> {
    const name = { ...bucket, object: key };
    const holds = (state: EntryState | undefined): boolean =>
      state?.data !== undefined &&
      isLive(state, this.#nowMs() / 1000) &&
      this.#isDue(
        lifecycle,
        key,
        state.data.size,
        state.data.clientMicros,
        state.groups['tags']?.values ?? {},
      );
    // A look costs less than the rounds of a condition that does not hold: most tags don't match.
    if (!holds(await this.#store.statObject(operation, name))) return;
    const outcome = await this.#store.deleteObject(operation, name, { holds });
    if (outcome !== 'deleted') return;
    this.counts.expired += 1;
    this.#env.log.info('s3.expired', { ...name });
  }

  async #uploadsPage(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    marker: string,
  ): Promise<string | undefined> {
    const prefix = commonPrefix(lifecycle, aborts);
    if (prefix === undefined) return undefined;
    const page = await this.#list(operation, partsContainer(bucket), UPLOADS + prefix, marker);
    const due = itemsOf(page).flatMap(({ name, clientMicros }) => {
      const upload = parseUploadName(name);
      if (upload === undefined) return [];
      const startedMs = clientMicros / 1000;
      const end = abortOf(lifecycle, { name: upload.key, startedMs }, this.#dayMs);
      return end !== undefined && end.atMs <= this.#nowMs() ? [upload] : [];
    });
    await this.#each(operation, due, async ({ key, uploadId }) => {
      const upload = await this.#uploads.find(operation, bucket, key, uploadId);
      if (upload === undefined) return;
      if ((await this.#uploads.abort(operation, upload)) !== 'aborted') return;
      this.counts.aborted += 1;
      this.#env.log.info('s3.upload-aborted', { ...bucket, key, uploadId });
    });
    return this.#next(page, INCOMPLETE);
  }

  async #versionsPage(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    after: string,
  ): Promise<string | undefined> {
    const prefix = commonPrefix(lifecycle, removesVersions);
    if (prefix === undefined) return undefined;
    const info = await this.#store.containerInfo(operation, bucket, true);
    if (versioningOf(info) === undefined) return undefined;
    const query = { limit: this.#pageItems, prefix, after };
    const { keys, last } = await versionsByKey(this.#store, operation, bucket, query);
    const context = { dayMs: this.#dayMs, nowMs: this.#nowMs() };
    for (const versions of keys) {
      const due = dueVersions(lifecycle, versions, context);
      // From the oldest on, so that a round that is broken off leaves no gap.
      for (const version of due.reverse()) {
        const i = versions.indexOf(version);
        const since = (versions[i - 1]?.clientMicros ?? 0) / 1000;
        const replaced = { since, newer: i - 1 };
        await this.#each(operation, [version], () =>
          this.#remove(operation, bucket, lifecycle, version, replaced),
        );
      }
    }
    return last === undefined ? undefined : VERSIONS + last;
  }

  /** Unless it has become the current one meanwhile. */
  async #remove(
    operation: Operation,
    bucket: ContainerName,
    lifecycle: Lifecycle,
    version: ListedVersion,
    { since, newer }: { readonly since: number; readonly newer: number },
  ): Promise<void> {
    const { key, versionId, isMarker, isLatest } = version;
    const name = { ...bucket, object: key };
    if (!isLatest) {
      const current = await this.#store.statObject({ ...operation, read: 'newest' }, name);
      if (current?.data?.versionId === versionId) return;
    }
    const context = { dayMs: this.#dayMs, nowMs: this.#nowMs() };
    const holds = (state: EntryState | undefined): boolean => {
      if (isMarker) return true;
      const tags = state?.groups['tags']?.values ?? {};
      return state !== undefined && isReplaced(lifecycle, version, { since, newer, tags }, context);
    };
    const removal = await this.#store.removeObject(
      operation,
      { ...name, version: versionId },
      { holds },
    );
    if (removal.kind !== 'deleted') return;
    this.counts.removed += 1;
    this.#env.log.info('s3.version-expired', { ...name, versionId });
  }

  async #list(
    operation: Operation,
    container: ContainerName,
    prefix: string,
    marker: string,
  ): Promise<Page<ListedObject> | undefined> {
    return await this.#store.listObjects(operation, container, {
      limit: this.#pageItems,
      ...(prefix !== '' && { prefix }),
      ...(marker !== '' && { marker }),
    });
  }

  #next(page: Page<ListedObject> | undefined, phase: string): string | undefined {
    const last = page?.items.at(-1);
    if (page?.truncated !== true || last === undefined || 'prefix' in last) return undefined;
    return phase + last.name;
  }

  #isDue(
    lifecycle: Lifecycle,
    name: string,
    size: number,
    createdMicros: number,
    tags?: Readonly<Record<string, string>>,
  ): boolean {
    const subject = { name, size, createdMs: createdMicros / 1000, tags };
    const end = expiryOf(lifecycle, subject, this.#dayMs);
    return end !== undefined && end.atMs <= this.#nowMs();
  }

  /** What can't be deleted now (too few of its replicas answer) is left for the next round. */
  async #each<Item>(
    { signal }: Operation,
    items: readonly Item[],
    work: (item: Item) => Promise<void>,
  ): Promise<void> {
    for (let at = 0; at < items.length; at += CONCURRENCY) {
      const batch = items.slice(at, at + CONCURRENCY).map(work);
      for (const result of await Promise.allSettled(batch)) {
        if (result.status === 'fulfilled') continue;
        const code = codeOf(result.reason);
        if (signal.aborted || code === 'internal') throw result.reason;
        this.counts.failed += 1;
        this.#env.log.warn('s3.not-expired', { code, message: messageOf(result.reason) });
      }
    }
  }

  #nowMs(): number {
    return this.#env.clock.wallMicros() / 1000;
  }
}

function itemsOf(page: Page<ListedObject> | undefined): ListedObject[] {
  return (page?.items ?? []).flatMap((item) => ('prefix' in item ? [] : [item]));
}
