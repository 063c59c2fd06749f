/**
 * The walk of ListObjectVersions: the rows of the container (which version of each name is current) and
 * those of its versions side by side, in the order of keys; the versions of a key by their time, newest
 * first. The container's rows are read first, so a version that is not current yet is newer than what they
 * say and is not shown: nobody has been told of it.
 */
import type { ContainerName } from '#base/names.ts';
import type { Found, ListedObject, Operation } from '../contract.ts';
import { RowCursor } from '../row-cursor.ts';
import type { ListedVersion, VersionPage, VersionQuery } from './contract.ts';
import { currentOf, orderOf } from './current.ts';
import {
  checkNumber,
  type Keeping,
  type KeptVersion,
  keptVersion,
  newestFirst,
  nowSeconds,
} from './keeping.ts';
import {
  afterKey,
  NULL_VERSION,
  parseRow,
  parseVersionId,
  rowPrefix,
  versionIdOf,
  versionsContainer,
} from './names.ts';

/** Versions of a name that was never seen as current: being written, unless it is this old. */
const PENDING_MICROS = 3_600_000_000;
/** Above every character but itself. */
const LAST_CHARACTER = '\u{10ffff}';
const MAX_PAGE = 1000;

export async function listVersions(
  keeping: Keeping,
  operation: Operation,
  bucket: ContainerName,
  query: VersionQuery,
): Promise<Found<VersionPage>> {
  const info = await keeping.store.containerInfo(operation, bucket, false);
  return info && (await new Walk(keeping, operation, bucket, query).page());
}

type Item = ListedVersion | { readonly prefix: string };

/** All that is known of one key. */
interface Key {
  readonly key: string;
  readonly row: ListedObject | undefined;
  readonly kept: readonly KeptVersion[];
}

class Walk {
  readonly #keeping: Keeping;
  readonly #operation: Operation;
  readonly #bucket: ContainerName;
  readonly #query: VersionQuery;
  readonly #names: RowCursor;
  readonly #versions: RowCursor;
  readonly #nulls: RowCursor;
  readonly #items: Item[] = [];

  constructor(keeping: Keeping, operation: Operation, bucket: ContainerName, query: VersionQuery) {
    this.#keeping = keeping;
    this.#operation = operation;
    this.#bucket = bucket;
    this.#query = query;
    const { prefix = '', limit } = query;
    const kept = versionsContainer(bucket);
    const rows = Math.min(limit + 1, MAX_PAGE);
    const cursor = (container: ContainerName, rowsPrefix: string): RowCursor =>
      new RowCursor(keeping.store, operation, container, rowsPrefix, rows);
    this.#names = cursor(bucket, prefix);
    this.#versions = cursor(kept, rowPrefix('versions', prefix));
    this.#nulls = cursor(kept, rowPrefix('nulls', prefix));
  }

  async page(): Promise<VersionPage> {
    const { limit, keyMarker, versionMarker } = this.#query;
    if (limit === 0) return { items: [], truncated: false };
    if (keyMarker !== undefined && keyMarker !== '') {
      const rest = versionMarker === undefined ? [] : await this.#rest(keyMarker, versionMarker);
      this.#skipKey(keyMarker);
      this.#items.push(...rest);
    }
    while (this.#items.length <= limit) {
      const key = await this.#nextKey();
      if (key === undefined) return { items: this.#items, truncated: false };
      const common = this.#commonPrefix(key);
      if (common !== undefined) this.#rollUp(common);
      else this.#items.push(...(await this.#shown(await this.#take(key))));
    }
    return { items: this.#items.slice(0, limit), truncated: true };
  }

  /** What follows one version of a key, which may be gone meanwhile. */
  async #rest(key: string, versionMarker: string): Promise<Item[]> {
    if (this.#commonPrefix(key) !== undefined) return [];
    const query = { limit: 1, prefix: key };
    const page = await this.#keeping.store.listObjects(this.#operation, this.#bucket, query);
    const [first] = page?.items ?? [];
    const row =
      first !== undefined && !('prefix' in first) && first.name === key ? first : undefined;
    this.#versions.seek(rowPrefix('versions', key));
    this.#nulls.seek(rowPrefix('nulls', key));
    const versions = await this.#shown({ key, row, kept: await this.#keptOf(key) });
    const at = versions.findIndex(({ versionId }) => versionId === versionMarker);
    if (at >= 0) return versions.slice(at + 1);
    const isOrder = parseVersionId(versionMarker) !== undefined;
    return versions.filter(
      (version) => !isOrder || versionIdOf(version.clientMicros, '') < versionMarker,
    );
  }

  #skipKey(key: string): void {
    const common = this.#commonPrefix(key);
    if (common !== undefined) {
      this.#skipPrefix(common);
      return;
    }
    this.#names.seek(key);
    this.#versions.seek(afterKey('versions', key));
    this.#nulls.seek(afterKey('nulls', key));
  }

  #skipPrefix(common: string): void {
    this.#names.leap(common + LAST_CHARACTER);
    this.#versions.leap(rowPrefix('versions', common) + LAST_CHARACTER);
    this.#nulls.leap(rowPrefix('nulls', common) + LAST_CHARACTER);
  }

  /** Keys that hold the last character of all may come again behind it. */
  #rollUp(common: string): void {
    const last = this.#items.at(-1);
    const isTold = last !== undefined && 'prefix' in last && last.prefix === common;
    const { keyMarker } = this.#query;
    const isBefore = keyMarker !== undefined && this.#commonPrefix(keyMarker) === common;
    if (!isTold && !isBefore) this.#items.push({ prefix: common });
    this.#skipPrefix(common);
    this.#names.skipWhile((name) => name.startsWith(common));
    this.#versions.skipWhile((name) => parseRow(name).key.startsWith(common));
    this.#nulls.skipWhile((name) => parseRow(name).key.startsWith(common));
  }

  #commonPrefix(key: string): string | undefined {
    const { delimiter, prefix = '' } = this.#query;
    if (!delimiter || !key.startsWith(prefix)) return undefined;
    const at = key.indexOf(delimiter, prefix.length);
    return at < 0 ? undefined : key.slice(0, at + delimiter.length);
  }

  async #nextKey(): Promise<string | undefined> {
    const name = await this.#names.head();
    const version = await this.#versions.head();
    const none = await this.#nulls.head();
    let least: string | undefined = name?.name;
    for (const row of [version, none]) {
      if (row === undefined) continue;
      const { key } = parseRow(row.name);
      if (least === undefined || compareBytes(key, least) < 0) least = key;
    }
    return least;
  }

  async #take(key: string): Promise<Key> {
    const head = await this.#names.head();
    const row = head?.name === key ? head : undefined;
    if (row !== undefined) this.#names.next();
    return { key, row, kept: await this.#keptOf(key) };
  }

  async #keptOf(key: string): Promise<KeptVersion[]> {
    const kept: KeptVersion[] = [];
    for (const cursor of [this.#versions, this.#nulls]) {
      for (;;) {
        const row = await cursor.head();
        if (row === undefined || parseRow(row.name).key !== key) break;
        kept.push(keptVersion(row));
        cursor.next();
        checkNumber(kept.length, key);
      }
    }
    return kept.sort(newestFirst);
  }

  async #shown({ key, row, kept }: Key): Promise<ListedVersion[]> {
    if (row === undefined) return await this.#hidden(key, kept);
    if (row.role === 'link') {
      const published = kept.filter(
        ({ row: { clientMicros } }) => clientMicros <= row.clientMicros,
      );
      return published.map((version, i) => listed(key, version, i === 0));
    }
    const own = {
      ...{ key, versionId: NULL_VERSION, isLatest: true, isMarker: false },
      ...shownOf(row),
    };
    const older = kept.filter(
      (version) => version.id !== NULL_VERSION && version.row.clientMicros <= row.clientMicros,
    );
    return [own, ...older.map((version) => listed(key, version, false))];
  }

  /** A name that is not listed: a delete marker hides it, or nothing was ever there. */
  async #hidden(key: string, kept: readonly KeptVersion[]): Promise<ListedVersion[]> {
    if (kept[0]?.row.role === 'marker' || kept.length === 0) {
      return kept.map((version, i) => listed(key, version, i === 0));
    }
    const { store, env } = this.#keeping;
    const name = { ...this.#bucket, object: key };
    const known = await store.peekObject(this.#operation, name);
    const seconds = nowSeconds(this.#keeping);
    const current = currentOf(known, seconds);
    const settled = env.clock.wallMicros() - PENDING_MICROS;
    // A tombstone that is old is forgotten; then the newest marker says what it said.
    const marker = known === undefined ? kept.find(({ row }) => row.role === 'marker') : undefined;
    const hiddenAt = known?.data?.clientMicros ?? marker?.row.clientMicros ?? 0;
    const newest =
      current.kind === 'none'
        ? Math.max(hiddenAt, settled)
        : (parseVersionId(orderOf(known, seconds))?.clientMicros ?? settled);
    const published = kept.filter(({ row }) => row.clientMicros <= newest);
    const isPointed = current.kind === 'link' || current.kind === 'marker';
    const latest = isPointed ? current.id : marker?.id;
    return published.map((version) => listed(key, version, version.id === latest));
  }
}

function listed(
  key: string,
  { id: versionId, row }: KeptVersion,
  isLatest: boolean,
): ListedVersion {
  const isMarker = row.role === 'marker';
  const version = { key, versionId, isLatest, isMarker, ...shownOf(row) };
  return isMarker ? { ...version, etag: '' } : version;
}

type Shown = Pick<ListedVersion, 'clientMicros' | 'bytes' | 'etag' | 'contentType' | 'checksums'>;

function shownOf({ clientMicros, bytes, etag, contentType, checksums }: ListedObject): Shown {
  return { clientMicros, bytes, etag, contentType, ...(checksums && { checksums }) };
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
