/**
 * Versions of objects, over any Store: in a container that keeps versions (its header says so) the
 * operations mean one of them; those of all other containers go through untouched. README.md has the design.
 */
import type { EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import { both, type Condition } from '../condition.ts';
import type {
  ContainerInfo,
  Found,
  ObjectReader,
  Operation,
  PutRequest,
  PutResult,
  Store,
  VersionedName,
} from '../contract.ts';
import {
  deletionOf,
  type Removal,
  type VersionedStore,
  type Versioning,
  type VersionQuery,
  versioningOf,
} from './contract.ts';
import { dropPending } from './drop-pending.ts';
import { exactly, type Keeping, placeOfVersion, versionsOf } from './keeping.ts';
import { isHiddenAccount, NULL_VERSION, versionsContainer } from './names.ts';
import { putVersion } from './put-version.ts';
import { type ReadAt, readVersioned } from './read-version.ts';
import { forgetNull, mendHidden, removeVersion } from './remove-version.ts';
import { listVersions } from './version-list.ts';

/** How often the null version may move while its metadata are changed. */
const MAX_ATTEMPTS = 8;
/** Of names that point at nothing, in one attempt to delete their container. */
const MAX_MENDED = 1_000;

export function withVersions(store: Store, env: Pick<Env, 'clock' | 'random'>): VersionedStore {
  const versions = new Versions({ store, env });
  return {
    accountInfo: (...call) => store.accountInfo(...call),
    updateAccount: (...call) => store.updateAccount(...call),
    listContainers: (...call) => store.listContainers(...call),
    createContainer: (...call) => store.createContainer(...call),
    containerInfo: (...call) => store.containerInfo(...call),
    updateContainer: (...call) => store.updateContainer(...call),
    deleteContainer: (...call) => versions.deleteContainer(...call),
    listObjects: (...call) => store.listObjects(...call),
    putObject: (...call) => versions.put(...call),
    openObject: (...call) => versions.open(...call),
    statObject: (...call) => versions.stat(...call),
    peekObject: (...call) => store.peekObject(...call),
    updateObject: (...call) => versions.update(...call),
    updateGroups: (operation, name, groups, condition) =>
      versions.change(operation, name, condition, (place, may) =>
        store.updateGroups(operation, place, groups, may),
      ),
    deleteObject: async (operation, name, condition) =>
      deletionOf(await versions.remove(operation, name, condition)),
    removeObject: (...call) => versions.remove(...call),
    listVersions: (operation, bucket, query: VersionQuery) =>
      listVersions({ store, env }, operation, bucket, query),
    markerOf: (...call) => versions.markerOf(...call),
    policies: () => store.policies(),
  };
}

interface Versioned {
  readonly bucket: ContainerInfo;
  readonly versioning: Versioning;
}

type Changed = 'updated' | 'not-found' | 'precondition-failed';

class Versions {
  readonly #keeping: Keeping;
  readonly #store: Store;

  constructor(keeping: Keeping) {
    this.#keeping = keeping;
    this.#store = keeping.store;
  }

  async put(operation: Operation, name: ObjectName, request: PutRequest): Promise<PutResult> {
    const found = await this.#versioned(operation, name);
    if (found === undefined) return await this.#store.putObject(operation, name, request);
    const { bucket, versioning } = found;
    if (versioning === 'Enabled') {
      const { condition } = request;
      return await putVersion(this.#keeping, { operation, bucket, name, condition }, request);
    }
    // Its time is when it was written: by it, it stands behind the versions there are.
    const { clientMicros: _, ...rest } = request;
    const result = await this.#store.putObject(operation, name, rest);
    if (result.kind !== 'stored') return result;
    await forgetNull(this.#keeping, operation, name, result.clientMicros);
    return { ...result, versionId: NULL_VERSION };
  }

  open(operation: Operation, name: VersionedName): Promise<Found<ObjectReader>> {
    return this.#read(
      operation,
      name,
      (asked, place) => this.#store.openObject(asked, place),
      (reader) => reader.state,
      (reader, state) => ({ ...reader, read: reader.read.bind(reader), state }),
    );
  }

  stat(operation: Operation, name: VersionedName): Promise<Found<EntryState>> {
    return this.#read(
      operation,
      name,
      (asked, place) => this.#store.statObject(asked, place),
      (state) => state,
      (_, state) => state,
    );
  }

  /** POST of Swift's API: of the current version; a content type shows in listings, too. */
  async update(...call: Parameters<Store['updateObject']>): Promise<Changed> {
    const [operation, name, change, condition] = call;
    const outcome = await this.change(operation, name, condition, (place, may) =>
      this.#store.updateObject(operation, place, change, may),
    );
    const type = change.system['content-type'];
    if (outcome !== 'updated' || (await this.#versioned(operation, name)) === undefined) {
      return outcome;
    }
    const system: Record<string, string> = type === undefined ? {} : { 'content-type': type };
    const shown = { user: {}, system };
    const isLink: Condition = { holds: (live) => live?.data?.versionId !== undefined };
    await this.#store.updateObject(operation, name, { ...change, ...shown }, isLink);
    return outcome;
  }

  /** Changes metadata of a version, wherever it is. */
  async change(
    operation: Operation,
    { version, ...name }: VersionedName,
    condition: Condition | undefined,
    change: (place: ObjectName, condition: Condition | undefined) => Promise<Changed>,
  ): Promise<Changed> {
    if ((await this.#versioned(operation, name)) === undefined) {
      return version === undefined || version === NULL_VERSION
        ? await change(name, condition)
        : 'not-found';
    }
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const state = await this.stat(exactly(operation), { ...name, version });
      if (state === undefined || state.data?.deleteMarker) return 'not-found';
      const id = state.data?.versionId;
      const { place, isOwn } = await this.#placeOf(operation, name, id);
      // What is a link by now has its metadata elsewhere.
      let moved = false;
      const stays: Condition = {
        holds: (live) => {
          moved = live?.data?.versionId !== undefined;
          return !moved;
        },
      };
      if (!isOwn) return await change(place, condition);
      const may = condition === undefined ? stays : both(stays, condition);
      const outcome = await change(place, may);
      if (!moved) return outcome;
    }
    throw new OperatingError('undecided', 'others write the same object all the time');
  }

  async remove(
    operation: Operation,
    name: VersionedName,
    condition?: Condition,
    { bypassGovernance = false }: { readonly bypassGovernance?: boolean } = {},
  ): Promise<Removal> {
    const found = await this.#versioned(operation, name);
    if (found !== undefined) {
      return await removeVersion(this.#keeping, {
        ...{ operation, ...found, name, condition, bypassGovernance },
      });
    }
    const { version, ...own } = name;
    if (version !== undefined && version !== NULL_VERSION) return { kind: 'not-found' };
    const kind = await this.#store.deleteObject(operation, own, condition);
    const isNamed = version !== undefined && (kind === 'deleted' || kind === 'not-found');
    return isNamed ? { kind, versionId: NULL_VERSION } : { kind };
  }

  async markerOf(
    operation: Operation,
    { version, ...name }: VersionedName,
  ): Promise<Found<{ versionId: string; clientMicros: number }>> {
    const found = await this.#versioned(operation, name);
    if (found === undefined) return undefined;
    if (version === undefined) await mendHidden(this.#keeping, operation, found.bucket, name);
    const id = version ?? (await versionsOf(this.#keeping, operation, name))[0]?.id;
    const place = id === undefined ? undefined : placeOfVersion(name, id);
    if (id === undefined || place === undefined) return undefined;
    const state = await this.#store.statObject(operation, place);
    if (state?.data?.deleteMarker !== true) return undefined;
    return { versionId: id, clientMicros: state.data.clientMicros };
  }

  /** Versions go before their container: while one is left, the container is not empty. */
  async deleteContainer(
    operation: Operation,
    name: ContainerName,
  ): Promise<'deleted' | 'not-empty' | 'no-container'> {
    const found = await this.#versioned(operation, name);
    if (found !== undefined) {
      await this.#mendNames(operation, name);
      const left = await listVersions(this.#keeping, operation, name, { limit: 1 });
      if (left !== undefined && left.items.length > 0) return 'not-empty';
      const kept = versionsContainer(name);
      await dropPending(this.#keeping, operation, kept);
      if ((await this.#store.deleteContainer(operation, kept)) === 'not-empty') return 'not-empty';
    }
    return await this.#store.deleteContainer(operation, name);
  }

  /** A name that points at a version which was deleted by one who could not finish is not in the way. */
  async #mendNames(operation: Operation, name: ContainerName): Promise<void> {
    const page = await this.#store.listObjects(operation, name, { limit: MAX_MENDED });
    for (const item of page?.items ?? []) {
      if ('prefix' in item || item.role !== 'link') continue;
      const found = await this.stat(exactly(operation), { ...name, object: item.name });
      if (found !== undefined) return;
    }
  }

  async #read<Value>(
    operation: Operation,
    { version, ...name }: VersionedName,
    read: ReadAt<Value>,
    stateOf: (value: Value) => EntryState,
    withState: (value: Value, state: EntryState) => Value,
  ): Promise<Found<Value>> {
    if ((await this.#versioned(operation, name)) !== undefined) {
      const wanted = { ...name, ...(version !== undefined && { version }) };
      return await readVersioned(this.#keeping, operation, wanted, read, stateOf, withState);
    }
    if (version !== undefined && version !== NULL_VERSION) return undefined;
    return await read(operation, name);
  }

  async #placeOf(
    operation: Operation,
    name: ObjectName,
    id: string | undefined,
  ): Promise<{ place: ObjectName; isOwn: boolean }> {
    if (id === undefined) return { place: name, isOwn: true };
    if (id !== NULL_VERSION) return { place: placeOfVersion(name, id)!, isOwn: false };
    const entry = await this.#store.peekObject(exactly(operation), name);
    const isOwn = entry?.data?.kind === 'live' && entry.data.versionId === undefined;
    return { place: isOwn ? name : placeOfVersion(name, id)!, isOwn };
  }

  /** Undefined: the container has never kept versions. */
  async #versioned(operation: Operation, name: ContainerName): Promise<Found<Versioned>> {
    if (isHiddenAccount(name.account)) return undefined;
    const { account, container } = name;
    const bucket = await this.#store.containerInfo(operation, { account, container }, false);
    const versioning = versioningOf(bucket);
    return versioning && bucket && { bucket, versioning };
  }
}
