/**
 * A Store in memory, for tests and measurements of the dialects. It keeps the contract's promises on
 * one process: newest wins, honest 404s, listings in byte order, checks of etag and length.
 */
import { createHash } from 'node:crypto';
import { type DataPart, type EntryState, isLive } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import { type ContainerName, containerPath, type ObjectName } from '#base/names.ts';
import { makeTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { ListQuery } from '#container/calls.ts';
import { NodeRandom } from '#env/node/random.ts';
import type { Condition } from '#proxy/condition.ts';
import type {
  AccountInfo,
  ContainerInfo,
  DeleteMarker,
  Found,
  HeaderChanges,
  ListedContainer,
  ListedObject,
  MetadataGroups,
  ObjectReader,
  Operation,
  Page,
  PutRequest,
  PutResult,
  Store,
} from '#proxy/contract.ts';
import { Encryption, markOf, type Sealer } from '#proxy/encryption/encryption.ts';
import { checkQuota } from '#proxy/quota.ts';
import { MemoryKeys } from '#proxy/testing/memory-keys.ts';
import type { ConsistencyMode, StoragePolicy } from '#ring/cluster.ts';
import { rowStateOf } from '#rows/row-state.ts';
import { pageOf } from './page-of.ts';

const POLICIES: readonly StoragePolicy[] = [
  { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
  { index: 1, name: 'reduced', copies: 2, states: 3, mode: 'available', isDefault: false },
];

interface StoredContainer {
  readonly headers: Record<string, string>;
  readonly policy: StoragePolicy;
  readonly mode: ConsistencyMode;
  readonly clientMicros: number;
  readonly objects: Map<string, StoredObject>;
}

interface StoredObject {
  readonly state: EntryState;
  readonly body: Buffer;
}

export interface MemoryStoreOptions {
  readonly nowMicros: () => number;
  /** Bodies above are given in pieces of this size rather than inline. */
  readonly inlineLimit?: number;
  readonly encryption?: Encryption;
}

export class MemoryStore implements Store {
  readonly containers = new Map<string, StoredContainer>();
  readonly accounts = new Map<string, Record<string, string>>();
  /** Thrown by the next operations, for tests of what the dialect makes of it. */
  failWith: OperatingError | undefined;
  /** Asked before each piece of a body; may wait or throw. */
  beforePiece: (name: ObjectName, start: number) => Promise<void> = async () => {};
  ack: PutResult['ack'];
  degraded = false;
  readonly #options: MemoryStoreOptions;
  readonly #encryption: Encryption;
  #micros = 0;
  #reads = 0;

  constructor(options: MemoryStoreOptions) {
    this.#options = options;
    this.#encryption =
      options.encryption ?? new Encryption(new NodeRandom(), new MemoryKeys('payroll'));
  }

  /** Downloads under way: 0 when everything has been released. */
  get openReads(): number {
    return this.#reads;
  }

  async accountInfo(_operation: Operation, account: string): Promise<AccountInfo> {
    this.#check();
    const containers = this.#containersOf(account);
    const headers = this.accounts.get(account);
    const items = containers.map(([, container]) => totals(container));
    return {
      exists: headers !== undefined || containers.length > 0,
      headers: headers ?? {},
      containers: containers.length,
      objects: items.reduce((sum, item) => sum + item.objects, 0),
      bytes: items.reduce((sum, item) => sum + item.bytes, 0),
      clientMicros: 1_400_000_000_000_000,
    };
  }

  async updateAccount(_operation: Operation, account: string, changes: HeaderChanges) {
    this.#check();
    const headers = this.accounts.get(account) ?? {};
    apply(headers, changes);
    this.accounts.set(account, headers);
  }

  async listContainers(operation: Operation, account: string, query: ListQuery) {
    const info = await this.accountInfo(operation, account);
    const rows: ListedContainer[] = this.#containersOf(account).map(([name, container]) => ({
      name,
      clientMicros: container.clientMicros,
      ...totals(container),
    }));
    return { ...pageOf(rows, query), info };
  }

  async createContainer(
    _operation: Operation,
    name: ContainerName,
    options: Parameters<Store['createContainer']>[2],
  ): Promise<'created' | 'exists' | 'policy-conflict'> {
    this.#check();
    const policy = POLICIES.find(({ index }) => index === (options.policy ?? 0))!;
    const found = this.containers.get(containerPath(name));
    if (found !== undefined) {
      if (options.policy !== undefined && found.policy !== policy) return 'policy-conflict';
      if (options.leaveExisting !== true) apply(found.headers, options.changes);
      return 'exists';
    }
    const headers: Record<string, string> = {};
    apply(headers, options.changes);
    const mode = options.mode ?? policy.mode;
    const created = { headers, policy, mode, clientMicros: this.#now(), objects: new Map() };
    this.containers.set(containerPath(name), created);
    return 'created';
  }

  async containerInfo(_operation: Operation, name: ContainerName): Promise<Found<ContainerInfo>> {
    this.#check();
    const container = this.containers.get(containerPath(name));
    if (container === undefined) return undefined;
    const { policy, mode, headers, clientMicros } = container;
    const facts = { clientMicros, since: ZERO_TIMESTAMP, ...totals(container) };
    return { name, policy, mode, headers: { ...headers }, ...facts };
  }

  async updateContainer(_operation: Operation, name: ContainerName, changes: HeaderChanges) {
    this.#check();
    const container = this.containers.get(containerPath(name));
    if (container === undefined) return 'no-container' as const;
    apply(container.headers, changes);
    return 'updated' as const;
  }

  async deleteContainer(_operation: Operation, name: ContainerName) {
    this.#check();
    const container = this.containers.get(containerPath(name));
    if (container === undefined) return 'no-container' as const;
    if (this.#liveObjects(container).length > 0) return 'not-empty' as const;
    this.containers.delete(containerPath(name));
    return 'deleted' as const;
  }

  async listObjects(
    operation: Operation,
    name: ContainerName,
    query: ListQuery,
  ): Promise<Found<Page<ListedObject> & { info: ContainerInfo }>> {
    const info = await this.containerInfo(operation, name);
    if (info === undefined) return undefined;
    const container = this.containers.get(containerPath(name))!;
    const rows = this.#liveObjects(container).map(([object, { state }]) => listed(object, state));
    return { ...pageOf(rows, query), info };
  }

  async putObject(operation: Operation, name: ObjectName, request: PutRequest): Promise<PutResult> {
    this.#check();
    const container = this.containers.get(containerPath(name));
    const nothing = { etag: '', size: 0, clientMicros: 0 };
    if (container === undefined) return { kind: 'no-container', ...nothing };
    const sealer = await this.#encryption.sealerFor(container, request);
    checkQuota('container', { headers: container.headers, ...totals(container) }, request);
    request.onReady?.();
    const { body: plain, md5 } = await receive(request);
    if (!this.#allows(name, request.condition)) return { kind: 'precondition-failed', ...nothing };
    if (operation.signal.aborted) throw new OperatingError('client-gone', 'gone');
    if (request.expectedEtag !== undefined && request.expectedEtag !== md5) {
      throw new OperatingError('etag-mismatch', 'the body has another MD5');
    }
    this.#check();
    const facts = request.finish?.() ?? {};
    const body = sealer ? Buffer.concat([...sealer.update(plain), sealer.final()]) : plain;
    const state = stateOf(request, this.#timestamp(), request.clientMicros ?? this.#micros, {
      etag: request.manifest?.etag ?? facts.etag ?? sealer?.etag(md5) ?? md5,
      size: request.manifest?.size ?? facts.size ?? plain.length,
      contentType: facts.contentType ?? request.contentType,
      ...(facts.checksums !== undefined && { checksums: facts.checksums }),
      length: body.length,
      sealer,
    });
    container.objects.set(name.object, { state, body });
    const { etag, size, clientMicros } = state.data!;
    const encryption = sealer?.facts ?? request.manifest?.encryption;
    return {
      kind: 'stored',
      etag,
      size,
      clientMicros,
      ...(this.ack && { ack: this.ack }),
      ...(encryption !== undefined && { encryption }),
    };
  }

  async openObject(operation: Operation, name: ObjectName): Promise<Found<ObjectReader>> {
    this.#check();
    const found = this.#find(name);
    if (found === undefined) return undefined;
    const { state, body } = found;
    const inline = body.length <= (this.#options.inlineLimit ?? 1024 * 1024);
    const reader = {
      state,
      length: body.length,
      degraded: this.degraded,
      read: (start: number, end: number) => this.#pieces(name, body, start, end),
      ...(inline && { inline: body }),
    };
    return this.#encryption.open(operation, reader);
  }

  async statObject(_operation: Operation, name: ObjectName): Promise<Found<EntryState>> {
    this.#check();
    return this.#find(name)?.state;
  }

  async peekObject(_operation: Operation, name: ObjectName): Promise<Found<EntryState>> {
    this.#check();
    return this.#stored(name)?.state;
  }

  async updateObject(
    _operation: Operation,
    name: ObjectName,
    change: Parameters<Store['updateObject']>[2],
    condition?: Condition,
  ) {
    this.#check();
    const found = this.#find(name);
    if (found === undefined) return 'not-found' as const;
    if (!this.#allows(name, condition)) return 'precondition-failed' as const;
    const timestamp = this.#timestamp();
    const groups = {
      ...found.state.groups,
      user: { timestamp, values: change.user },
      system: { timestamp, values: { ...change.system, ...expiry(change.deleteAt) } },
    };
    const container = this.containers.get(containerPath(name))!;
    container.objects.set(name.object, { ...found, state: { ...found.state, groups } });
    return 'updated' as const;
  }

  async updateGroups(
    _operation: Operation,
    name: ObjectName,
    groups: MetadataGroups,
    condition?: Condition,
  ) {
    this.#check();
    const found = this.#find(name);
    if (found === undefined) return 'not-found' as const;
    if (!this.#allows(name, condition)) return 'precondition-failed' as const;
    const merged = { ...found.state.groups, ...stampedGroups(groups, this.#timestamp()) };
    const container = this.containers.get(containerPath(name))!;
    container.objects.set(name.object, { ...found, state: { ...found.state, groups: merged } });
    return 'updated' as const;
  }

  async deleteObject(
    _operation: Operation,
    name: ObjectName,
    condition?: Condition,
    marker?: DeleteMarker,
  ) {
    this.#check();
    const container = this.containers.get(containerPath(name));
    if (container === undefined) return 'no-container' as const;
    if (!this.#allows(name, condition)) return 'precondition-failed' as const;
    const found = this.#find(name);
    if (marker === undefined) container.objects.delete(name.object);
    else {
      const { id, onMade } = marker;
      container.objects.set(name.object, tombstone(this.#timestamp(), this.#micros, id));
      onMade?.(this.#micros);
    }
    return found === undefined ? ('not-found' as const) : ('deleted' as const);
  }

  policies(): readonly StoragePolicy[] {
    return POLICIES;
  }

  async *#pieces(
    name: ObjectName,
    body: Buffer,
    start: number,
    end: number,
  ): AsyncGenerator<Buffer> {
    const piece = this.#options.inlineLimit ?? 64 * 1024;
    this.#reads += 1;
    try {
      for (let at = start; at < end; at += piece) {
        await this.beforePiece(name, at);
        yield body.subarray(at, Math.min(end, at + piece));
      }
    } finally {
      this.#reads -= 1;
    }
  }

  #allows(name: ObjectName, condition: Condition | undefined): boolean {
    const known = this.#stored(name)?.state;
    return condition === undefined || condition.holds(this.#find(name)?.state, known);
  }

  #stored(name: ObjectName): StoredObject | undefined {
    return this.containers.get(containerPath(name))?.objects.get(name.object);
  }

  #find(name: ObjectName): StoredObject | undefined {
    const found = this.#stored(name);
    return found !== undefined && isLive(found.state, this.#seconds()) ? found : undefined;
  }

  #liveObjects(container: StoredContainer): [string, StoredObject][] {
    return [...container.objects].filter(([, { state }]) => isLive(state, this.#seconds()));
  }

  #containersOf(account: string): [string, StoredContainer][] {
    const prefix = `/${account}/`;
    return [...this.containers]
      .filter(([path]) => path.startsWith(prefix))
      .map(([path, container]) => [path.slice(prefix.length), container]);
  }

  #check(): void {
    if (this.failWith !== undefined) throw this.failWith;
  }

  #seconds(): number {
    return this.#options.nowMicros() / 1e6;
  }

  #now(): number {
    this.#micros = Math.max(this.#options.nowMicros(), this.#micros + 1);
    return this.#micros;
  }

  #timestamp(): Timestamp {
    return makeTimestamp(this.#now(), 1);
  }
}

function apply(headers: Record<string, string>, changes: HeaderChanges): void {
  for (const name in changes) {
    const value = changes[name];
    if (value === null || value === undefined) delete headers[name];
    else headers[name] = value;
  }
}

function totals(container: StoredContainer): { objects: number; bytes: number } {
  let bytes = 0;
  let objects = 0;
  for (const { state } of container.objects.values()) {
    if (state.data?.kind !== 'live') continue;
    bytes += state.data.size;
    objects += 1;
  }
  return { objects, bytes };
}

function listed(name: string, state: EntryState): ListedObject {
  const { clientMicros, size, etag, contentType, versionId, deleteMarker } = state.data!;
  const type = state.groups['system']?.values['content-type'] ?? contentType;
  const { checksums } = rowStateOf(state).data!;
  const told = checksums && { checksums };
  const item = { name, clientMicros, bytes: size, etag, contentType: type, ...told };
  if (deleteMarker) return { ...item, role: 'marker' };
  return versionId === undefined ? item : { ...item, role: 'link' };
}

function tombstone(timestamp: Timestamp, clientMicros: number, markerId: string): StoredObject {
  const writeId = timestamp.slice(-16);
  const none = { etag: '', size: 0, contentType: '' };
  const marker = { versionId: markerId, deleteMarker: true };
  const data: DataPart = { timestamp, kind: 'deleted', writeId, clientMicros, ...none, ...marker };
  return { state: { data, groups: {} }, body: Buffer.alloc(0) };
}

async function receive(request: PutRequest): Promise<{ body: Buffer; md5: string }> {
  const chunks: Uint8Array[] = [];
  const md5 = createHash('md5');
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > request.maxLength) throw new OperatingError('body-too-large', 'too long');
    md5.update(chunk);
    chunks.push(chunk);
  }
  if (request.length !== undefined && request.length !== length) {
    throw new OperatingError('length-mismatch', 'another length than declared');
  }
  return { body: Buffer.concat(chunks), md5: md5.digest('hex') };
}

function stateOf(
  request: PutRequest,
  timestamp: Timestamp,
  clientMicros: number,
  body: Pick<DataPart, 'etag' | 'size' | 'contentType' | 'checksums'> & {
    readonly length: number;
    readonly sealer: Sealer | undefined;
  },
): EntryState {
  const { deleteAt, manifest, user, system, owner, version } = request;
  const mark = manifest?.encryption && markOf(manifest.encryption);
  const transform = request.stored?.transform ?? body.sealer?.transform ?? mark;
  return {
    data: {
      timestamp,
      kind: 'live',
      writeId: request.writeId ?? timestamp.slice(-16),
      clientMicros,
      etag: body.etag,
      size: body.size,
      contentType: body.contentType,
      body: { length: body.length, ...(transform !== undefined && { transform }) },
      ...(body.checksums !== undefined && { checksums: body.checksums }),
      ...(owner !== undefined && { owner }),
      ...(deleteAt !== undefined && { deleteAt }),
      ...(manifest !== undefined && { manifest: manifest.kind }),
      ...(version?.id !== undefined && { versionId: version.id }),
      ...(version?.deleteMarker && { deleteMarker: true }),
    },
    groups: {
      user: { timestamp, values: user },
      system: { timestamp, values: { ...system, ...expiry(deleteAt) } },
      ...stampedGroups(request.groups ?? {}, timestamp),
    },
  };
}

function stampedGroups(groups: MetadataGroups, timestamp: Timestamp): EntryState['groups'] {
  return Object.fromEntries(
    Object.entries(groups).map(([name, values]) => [name, { timestamp, values }]),
  );
}

function expiry(deleteAt: number | null | undefined): Record<string, string> {
  return deleteAt === undefined || deleteAt === null ? {} : { 'delete-at': String(deleteAt) };
}
