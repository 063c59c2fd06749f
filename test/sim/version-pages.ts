/**
 * Listings of versions, page by page. Whatever changes meanwhile: what was there all the time is shown on one
 * page or another, each page is in order, and what it shows is judged like a read.
 */
import type { ListedVersion, VersionPage, VersionQuery } from '#proxy/versions/contract.ts';
import type { SimNode } from './cluster.ts';
import { Violation } from './model.ts';
import { NULL, type Span, type VersionModel } from './version-model.ts';
import { numberOf, VERSIONED, type Versions } from './versions.ts';

/** Of one listing, with all that is deleted and written meanwhile. */
const MAX_PAGES = 2_000;

/** False: no answer. */
export async function readPages(
  versions: Versions,
  node: SimNode,
  limit: number,
): Promise<boolean> {
  const begun = versions.tick();
  const shown = new Set<string>();
  let query: VersionQuery = { limit };
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await readPage(versions, node, query, shown);
    if (page === undefined) return false;
    const last = page.items.at(-1);
    if (!page.truncated) {
      checkAllShown(versions, { begun, ended: versions.tick() }, shown, node);
      return true;
    }
    if (last === undefined || !('key' in last)) {
      throw new Violation('versions: list after write', 'a page with more behind it is empty');
    }
    query = { limit, keyMarker: last.key, versionMarker: last.versionId };
  }
  throw new Violation('versions: list after write', `more than ${MAX_PAGES} pages`);
}

async function readPage(
  versions: Versions,
  node: SimNode,
  query: VersionQuery,
  shown: Set<string>,
): Promise<VersionPage | undefined> {
  const begun = versions.tick();
  const settled = await versions.ask(node, (store, operation) =>
    store.listVersions(operation, VERSIONED, query),
  );
  versions.session.count('version-list', settled);
  if (settled.kind !== 'done') return undefined;
  const span = { begun, ended: versions.tick() };
  const by = `list of versions ${JSON.stringify(query)} via ${node.name} at ${versions.session.nowMs}`;
  if (settled.result === undefined) throw new Violation('versions: honest 404', `${by}: nothing`);
  const items = settled.result.items.filter((item): item is ListedVersion => 'key' in item);
  checkOrder(items, query, by);
  for (const item of items) {
    shown.add(`${item.key} ${item.versionId}`);
    const model = versions.models.find(({ name }) => name === item.key);
    if (model === undefined) throw new Violation('versions: one version', `${by}: ${item.key}`);
    judge(model, item, span, by);
  }
  for (const model of versions.models) {
    if (isWhole(model, settled.result, query)) judgeLatest(model, items, span, by);
  }
  return settled.result;
}

function judge(model: VersionModel, item: ListedVersion, span: Span, by: string): void {
  const { versionId, isMarker, contentType, etag, bytes: size } = item;
  const write = isMarker ? undefined : numberOf(model, contentType, by);
  model.sawVersion({ versionId, write, etag, size }, span, by);
}

/** Whether the page begins before the name, and has at least its newest version, if there is any. */
function isWhole({ name }: VersionModel, page: VersionPage, { keyMarker }: VersionQuery): boolean {
  if (keyMarker !== undefined && compare(name, keyMarker) <= 0) return false;
  const last = page.items.at(-1);
  return !page.truncated || (last !== undefined && 'key' in last && compare(name, last.key) <= 0);
}

/** What the listing calls the latest is what a read would find. */
function judgeLatest(
  model: VersionModel,
  items: readonly ListedVersion[],
  span: Span,
  by: string,
): void {
  const own = items.filter(({ key }) => key === model.name);
  const [latest, ...others] = own.filter(({ isLatest }) => isLatest);
  // Above a marker there may be what nobody was told of, once the name itself is forgotten.
  if (others.length > 0 || (latest?.isMarker === false && latest !== own[0])) {
    throw model.broken('one version', `${by}: an older one is called the latest`);
  }
  if (latest === undefined || latest.isMarker) model.sawNothing(span, by);
  else model.sawCurrent(numberOf(model, latest.contentType, by), span, by);
}

/** By key; the versions of one from the newest to the oldest. */
function checkOrder(items: readonly ListedVersion[], query: VersionQuery, by: string): void {
  const { keyMarker, versionMarker } = query;
  const isBehind =
    keyMarker === undefined ||
    items[0] === undefined ||
    compare(items[0].key, keyMarker) >= (versionMarker === undefined ? 1 : 0);
  const isOrdered = items.every((item, i) => i === 0 || isBefore(items[i - 1]!, item));
  if (isBehind && isOrdered) return;
  const told = items.map(({ key, versionId }) => `${key} ${versionId}`).join(', ');
  throw new Violation('versions: list after write', `${by}: out of order: ${told}`);
}

function isBefore(a: ListedVersion, b: ListedVersion): boolean {
  if (a.key !== b.key) return compare(a.key, b.key) < 0;
  if (a.clientMicros !== b.clientMicros) return a.clientMicros > b.clientMicros;
  return b.versionId === NULL || (a.versionId !== NULL && a.versionId > b.versionId);
}

function checkAllShown(
  { models }: Versions,
  span: Span,
  shown: ReadonlySet<string>,
  { name }: SimNode,
): void {
  for (const model of models) {
    for (const write of model.writes) {
      if (!model.mustShow(write, span) || shown.has(`${model.name} ${write.versionId}`)) continue;
      throw model.broken(
        'list after write',
        `put or delete ${write.id} is version ${write.versionId}, and no page via ${name} shows it (${span.begun}-${span.ended})`,
      );
    }
  }
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
