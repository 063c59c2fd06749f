/**
 * What must hold of a container that keeps versions when all is at rest: everybody finds all that was
 * acknowledged, replicas are equal, nothing is kept that no listing shows, and when all versions have been
 * deleted nothing is left. Each check says why it does not hold yet.
 */
import { objectPath } from '#base/names.ts';
import type { ListedObject } from '#proxy/contract.ts';
import { type ListedVersion, VERSIONING_HEADER } from '#proxy/versions/contract.ts';
import { keptVersion } from '#proxy/versions/keeping.ts';
import { parseRow, versionsContainer } from '#proxy/versions/names.ts';
import { Autopsy } from './autopsy.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { writeOf } from './content.ts';
import type { Observer } from './observer.ts';
import { NULL, type VersionModel, type VersionWrite } from './version-model.ts';
import { nameOf, VERSIONED, type Versions } from './versions.ts';

const KEPT = versionsContainer(VERSIONED);
const ALL = { limit: 10_000 };
/** Longer than a proxy believes what it knew of a container. */
const STALE_MS = 6_000;

export class VersionChecks {
  readonly #cluster: SimCluster;
  readonly #versions: Versions;
  readonly #done = new Set<string>();
  /** Names, and versions of them, whose newest write had no answer, and has lost its body. */
  readonly #orphans = new Set<string>();

  constructor(cluster: SimCluster, versions: Versions) {
    this.#cluster = cluster;
    this.#versions = versions;
  }

  get #node(): SimNode {
    return this.#cluster.nodes[0]!;
  }

  /** Of replicas, after what a read mends has been read. */
  async differences(observer: Observer): Promise<string[]> {
    const rows = await this.#rows();
    if (rows === undefined) return ['the container for versions has no answer'];
    const names = this.#versions.models.map((model) => {
      const isKnown = model.writes.some(({ outcome }) => outcome === 'done');
      return { path: model.key, isKnown, writeAt: writesOf(model) };
    });
    const kept = rows.map((row) => {
      const path = objectPath({ ...KEPT, object: row.name });
      return { path, isKnown: !this.#isUndecided(row), writeAt: writesOf(this.#modelOf(row)) };
    });
    const further = {
      policy: this.#versions.policy,
      containers: [VERSIONED, KEPT],
      objects: [...names, ...kept],
    };
    return await observer.differencesOf(further, this.#orphans);
  }

  /** Everything again, so that what is stale is mended, and who finds a name that points at nothing mends it. */
  async readAll(node: SimNode): Promise<void> {
    for (const row of (await this.#rows()) ?? []) {
      await this.#versions.ask(node, (_, operation) =>
        node.process!.proxy.openObject(
          { ...operation, read: 'newest' },
          { ...KEPT, object: row.name },
        ),
      );
    }
    for (const model of this.#versions.models) await this.#versions.readCurrent(node, model);
  }

  /** Through every proxy: all that was acknowledged, byte by byte. */
  async isKept(): Promise<string | undefined> {
    for (const node of this.#cluster.nodes) {
      for (const model of this.#versions.models) {
        if (this.#orphans.has(model.key)) continue;
        for (const id of [NULL, ...model.known]) {
          const isOwn = model.writes.some(({ versionId }) => versionId === id);
          const isRead = await this.#versions.readVersion(node, model, id);
          if (!isRead && isOwn) return `${model.key}: version ${id} can not be read`;
        }
        if (!(await this.#versions.readCurrent(node, model))) return `${model.key} can not be read`;
      }
      if (!(await this.#versions.list(node))) return `no list of versions via ${node.name}`;
      if (!(await this.#versions.listCurrent(node))) return `no list via ${node.name}`;
    }
    return undefined;
  }

  /** What is kept is listed, unless nobody was told of it; and both containers count what they list. */
  async leftovers(): Promise<string | undefined> {
    const [rows, shown] = [await this.#rows(), await this.#shown()];
    if (rows === undefined || shown === undefined) return 'versions can not be listed';
    const hidden = this.#hidden(rows, shown).filter((row) => !this.#isUndecided(row));
    if (hidden.length > 0) return `kept, and not listed: ${hidden.map(told).join(', ')}`;
    const heads = new Set(shown.filter(({ isLatest }) => isLatest).map(({ key }) => key));
    const headless = shown.find((item) => !heads.has(item.key) && this.#isDone(item));
    if (headless !== undefined) return `${headless.key} has versions, and none is the latest`;
    return await this.#totals();
  }

  /** The end of all versions: written once more, each name shows what was kept of it; deleted, none is left. */
  async end(): Promise<string | undefined> {
    await this.#once('enable', () => this.#enable());
    for (const model of this.#versions.models) {
      // A null version that nobody has any more can't make room.
      if (this.#orphans.has(model.key))
        await this.#once(`free ${model.name}`, () =>
          this.#versions.remove(this.#node, model, NULL),
        );
      const isShown = await this.#once(`show ${model.name}`, () =>
        this.#versions.putAnew(this.#node, model),
      );
      if (!isShown) return `${model.key} can not be written`;
    }
    const [rows, shown] = [await this.#rows(), await this.#shown()];
    if (rows === undefined || shown === undefined) return 'versions can not be listed';
    const hidden = this.#hidden(rows, shown);
    if (!this.#done.has('deleted') && hidden.length > 0)
      return `kept, and never listed: ${hidden.map(told).join(', ')}`;
    this.#done.add('deleted');
    for (const { key, versionId } of shown) {
      const model = this.#versions.models.find(({ name }) => name === key)!;
      if (!(await this.#versions.remove(this.#node, model, versionId)))
        return `${key}: ${versionId} can not be deleted`;
    }
    const [rest] = [...((await this.#rows()) ?? [])];
    if (rest !== undefined) return `left when all was deleted: ${told(rest)}`;
    return (await this.#totals()) ?? (await this.#deleted());
  }

  async #once(what: string, work: () => Promise<boolean>): Promise<boolean> {
    if (this.#done.has(what)) return true;
    const isDone = await work();
    if (isDone) this.#done.add(what);
    return isDone;
  }

  async #enable(): Promise<boolean> {
    const changes = { [VERSIONING_HEADER]: 'Enabled' };
    const settled = await this.#versions.ask(this.#node, (store, operation) =>
      store.updateContainer(operation, VERSIONED, changes),
    );
    if (settled.kind !== 'done') return false;
    await this.#versions.session.sleep(STALE_MS);
    return true;
  }

  async #deleted(): Promise<string | undefined> {
    const settled = await this.#versions.ask(this.#node, (store, operation) =>
      store.deleteContainer(operation, VERSIONED),
    );
    const told = settled.kind === 'done' ? settled.result : settled.kind;
    return told === 'deleted' || told === 'no-container' ? undefined : `the container is ${told}`;
  }

  async #totals(): Promise<string | undefined> {
    for (const name of [VERSIONED, KEPT]) {
      const settled = await this.#versions.ask(this.#node, (store, operation) =>
        store.listObjects(operation, name, ALL),
      );
      if (settled.kind !== 'done') return `${name.container} has no answer`;
      const { items = [], info } = settled.result ?? {};
      const bytes = items.reduce((sum, item) => sum + ('bytes' in item ? item.bytes : 0), 0);
      if ((info?.objects ?? 0) === items.length && (info?.bytes ?? 0) === bytes) continue;
      return `${name.account} lists ${items.length} of ${bytes} bytes, and counts ${info?.objects} of ${info?.bytes}`;
    }
    return undefined;
  }

  /** For a failure's message: what was done, and what is there. */
  async report(): Promise<string[]> {
    const lines: string[] = [];
    for (const model of this.#versions.models) {
      const known = await this.#versions.ask(this.#node, (store, operation) =>
        store.peekObject(operation, nameOf(model)),
      );
      const entry = known.kind === 'done' ? JSON.stringify(known.result?.data) : known.kind;
      lines.push('', model.key, ...model.history(), `is ${entry}`);
    }
    const [rows, shown] = [await this.#rows(), await this.#shown()];
    lines.push(`kept: ${rows?.map(told).join(', ')}`);
    const items = shown?.map(({ key, versionId, isLatest }) => {
      return `${key} ${versionId}${isLatest ? ' (latest)' : ''}`;
    });
    lines.push(`shown: ${items?.join(', ')}`);
    const autopsy = new Autopsy(this.#cluster);
    for (const { name: object } of this.#hidden(rows ?? [], shown ?? [])) {
      const path = objectPath({ ...KEPT, object });
      lines.push('', path, ...(await autopsy.of({ path, policy: this.#versions.policy })));
    }
    return lines;
  }

  #hidden(rows: readonly ListedObject[], shown: readonly ListedVersion[]): ListedObject[] {
    const ids = new Set(shown.map(({ key, versionId }) => `${key} ${versionId}`));
    return rows.filter((row) => !ids.has(`${parseRow(row.name).key} ${keptVersion(row).id}`));
  }

  #isDone({ key, versionId: id }: ListedVersion): boolean {
    const writes = this.#versions.models.find(({ name }) => name === key)?.writes ?? [];
    return writes.some(({ versionId, outcome }) => versionId === id && outcome === 'done');
  }

  /** Of a write that had no answer. */
  #isUndecided(row: ListedObject): boolean {
    const model = this.#modelOf(row);
    const isOpen = ({ outcome }: { readonly outcome: string }): boolean => outcome === 'undecided';
    if (model === undefined) return false;
    const number = row.role === 'marker' ? undefined : writeOf(row.contentType);
    if (number === undefined) return isUndecidedMarker(model, keptVersion(row).id);
    const write = model.byWrite(number);
    // A null version that others have replaced, and who did it could not clear away, hides behind the new one.
    return write !== undefined && (isOpen(write) || keptVersion(row).id === NULL);
  }

  #modelOf(row: ListedObject): VersionModel | undefined {
    return this.#versions.models.find(({ name }) => name === parseRow(row.name).key);
  }

  async #rows(): Promise<ListedObject[] | undefined> {
    const settled = await this.#versions.ask(this.#node, (store, operation) =>
      store.listObjects(operation, KEPT, ALL),
    );
    if (settled.kind !== 'done') return undefined;
    return (settled.result?.items ?? []).filter((item): item is ListedObject => 'name' in item);
  }

  async #shown(): Promise<ListedVersion[] | undefined> {
    const settled = await this.#versions.ask(this.#node, (store, operation) =>
      store.listVersions(operation, VERSIONED, { limit: 1_000 }),
    );
    if (settled.kind !== 'done') return undefined;
    return (settled.result?.items ?? []).filter((item): item is ListedVersion => 'key' in item);
  }
}

function isUndecidedMarker({ writes }: VersionModel, id: string): boolean {
  if (writes.some(({ versionId, outcome }) => versionId === id && outcome === 'done')) return false;
  return writes.some(({ content, outcome }) => content === undefined && outcome === 'undecided');
}

function writesOf(model: VersionModel | undefined) {
  return (contentType: string): VersionWrite | undefined => {
    const id = writeOf(contentType);
    return id === undefined ? undefined : model?.byWrite(id);
  };
}

function told(row: ListedObject): string {
  const { key } = parseRow(row.name);
  return `${key} ${keptVersion(row).id} (${row.role ?? row.contentType})`;
}
