/**
 * Nodes with one device each, their row services and a wire in memory, for tests of what needs several
 * replicas. Messages are packed and unpacked as on the real wire; a node can be down, and a test can
 * hold a call up or fail it. Databases are real.
 */

import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAccountService } from '#account/server.ts';
import { pack, unpack } from '#base/codec.ts';
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { makeTimestamp } from '#base/timestamp.ts';
import { type ContainerService, createContainerService } from '#container/server.ts';
import type { Completeness, Device } from '#device/contract.ts';
import { PartitionMarks } from '#device/partition-marks.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { settingsGroup } from '../row-state.ts';
import { RowStore } from '../row-store.ts';
import type {
  ListReply,
  OwnStateReply,
  PullReply,
  RemoveReply,
  RowOutcome,
  RowsReply,
  SealReply,
} from '../service/calls.ts';
import type { RowDevice, RowHandler, RowWire } from '../service/context.ts';
import type { RowService } from '../service/row-service.ts';
import { dataPart, type Folder, makeFolder, START_SECONDS } from './fixture.ts';
import { MemoryLog } from './memory-log.ts';

/** Real time: for a machine that has much else to do. */
const DEADLINE_MS = 25_000;

export interface Passing {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly args: Readonly<Record<string, unknown>>;
}

class MemoryNetwork {
  readonly handlers = new Map<string, Map<string, RowHandler>>();
  readonly down = new Set<string>();
  readonly calls: Passing[] = [];
  /** Runs before a call is delivered; may wait, or throw. */
  before: (passing: Passing) => Promise<void> | void = () => undefined;

  wire(node: string): RowWire {
    const methods = new Map<string, RowHandler>();
    this.handlers.set(node, methods);
    return {
      handle: (method, handler) => void methods.set(method, handler),
      call: async (to, method, args) => ({ result: await this.deliver(node, to, method, args) }),
    };
  }

  async deliver(from: string, to: string, method: string, args: unknown): Promise<unknown> {
    const arrived = unpack(pack(args)) as Readonly<Record<string, unknown>>;
    const passing = { from, to, method, args: arrived };
    this.calls.push(passing);
    await this.before(passing);
    const handler = this.handlers.get(to)?.get(method);
    if (this.down.has(to) || this.down.has(from)) throw new OperatingError('unreachable', to);
    if (handler === undefined) throw new OperatingError('refused', `${to} has no ${method}`);
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const deadline = { remainingMs: () => DEADLINE_MS, signal };
    const { result } = await handler(arrived, { txn: 'test', deadline });
    return unpack(pack(result));
  }
}

/** As much of a device as the row services use. */
class TestDevice {
  readonly id: number;
  readonly status = 'ok';
  complete = true;
  tailUnconfirmed = false;
  readonly #ranges: { from: number; to: number }[] = [];

  constructor(id: number) {
    this.id = id;
  }

  readonly completeness: Completeness = this.#completeness();

  readonly #notes = new Map<string, string>();
  readonly audit = {
    note: (name: string) => this.#notes.get(name) ?? '',
    setNote: (name: string, note: string) => void this.#notes.set(name, note),
  };
  /** Kept in memory: of the real one only what is in force matters here. */
  readonly versions = new PartitionMarks(async () => undefined);

  #completeness(): Completeness {
    const device = this;
    const claimed = () => (this.complete ? [{ from: 0, to: 2 ** 20 }] : this.#ranges);
    return {
      isComplete: () => this.complete && !this.tailUnconfirmed,
      mark: async (_policy, from, to) => {
        this.#ranges.push({ from, to });
        this.complete = true;
      },
      ranges: () => (this.tailUnconfirmed ? [] : claimed()),
      claimed,
      countsFromMs: Number.NEGATIVE_INFINITY,
      get tailUnconfirmed() {
        return device.tailUnconfirmed;
      },
    };
  }
}

export class TestNode {
  readonly name: string;
  readonly id: number;
  readonly device: TestDevice;
  readonly cluster: RowCluster;
  rows!: RowStore;
  log!: MemoryLog;
  containers!: ContainerService;
  accounts!: RowService;
  #generation = 0;

  constructor(cluster: RowCluster, id: number) {
    this.cluster = cluster;
    this.id = id;
    this.name = `n${id}`;
    this.device = new TestDevice(id);
    this.#open();
    const { env } = cluster.folder;
    const clock = new HybridClock({
      workerId: 100 + id,
      wallMicros: () => env.clock.wallMicros(),
      bound: 0,
      reserve: () => undefined,
    });
    const devices = new Map<number, RowDevice>([[id, this.#rowDevice()]]);
    const options = {
      env,
      wire: cluster.network.wire(this.name),
      cluster: stillSource(() => cluster.view),
      self: { node: this.name, site: `s${id}` },
      clock,
      devices: () => devices,
      isReclaimed: (deadSince: number) => deadSince < cluster.reclaimedMicros,
    };
    this.containers = createContainerService(options);
    this.accounts = createAccountService(options);
  }

  /** The database is lost and rebuilt from the log, or the log is lost too (`wiped`: not complete). */
  restart(how: 'kept' | 'rebuilt' | 'wiped' = 'kept'): void {
    const { records } = this.log;
    this.rows.close();
    if (how !== 'kept') this.#generation++;
    this.#open();
    if (how === 'wiped') this.device.complete = false;
    else {
      this.log.records.push(...records);
      this.log.replayInto(this.rows);
    }
  }

  get #file(): string {
    return path.join(this.cluster.folder.path, `${this.name}-${this.#generation}.db`);
  }

  /** As damage in the tree may do it: the row is not found any more, and nothing says so. */
  loseRow(name: string): void {
    this.rows.close();
    const db = this.cluster.folder.env.disk.openDatabase(this.#file);
    db.prepare('DELETE FROM row WHERE name = ?').run(Buffer.from(name));
    db.close();
    this.restart();
  }

  #open(): void {
    const { env } = this.cluster.folder;
    this.rows = RowStore.open(env, { file: this.#file, incarnation: 'i', digestKey: 'cluster' });
    this.log = new MemoryLog(this.rows);
    this.rows.bind(this.log);
  }

  #rowDevice(): RowDevice {
    const node = this;
    return {
      device: this.device as unknown as Device,
      get rows() {
        return node.rows;
      },
    };
  }
}

export class RowCluster {
  readonly folder: Folder = makeFolder();
  readonly network = new MemoryNetwork();
  readonly nodes: TestNode[];
  view: ClusterView;
  /** What has been dead since before then is reclaimed. */
  reclaimedMicros = 0;
  #micros = START_SECONDS * 1e6;

  constructor(nodes = 3) {
    const ids = Array.from({ length: nodes }, (_, i) => i);
    this.view = makeView(ids);
    this.nodes = ids.map((id) => new TestNode(this, id));
  }

  async close(): Promise<void> {
    for (const node of this.nodes) node.rows.close();
    await this.folder.remove();
  }

  hash(name: string): Buffer {
    return hashPath(this.view.hashPrefix, name, this.view.hashSuffix);
  }

  address(node: number, name = '/a/c') {
    return { device: node, hash: this.hash(name), path: name, ringVersion: 1 };
  }

  call<Result>(node: number, method: string, args: object): Promise<Result> {
    return this.network.deliver('client', `n${node}`, method, args) as Promise<Result>;
  }

  /** A fresh write of a client: later than all before. */
  live(changes: Parameters<typeof dataPart>[1] = {}): EntryState {
    return { data: dataPart(this.now(), changes), groups: {} };
  }

  tombstone(): EntryState {
    return { data: dataPart(this.now(), { kind: 'deleted', etag: '', size: 0 }), groups: {} };
  }

  now() {
    this.#micros += 10;
    return makeTimestamp(this.#micros, 1);
  }

  async row(node: number, name: string, state: EntryState, more: object = {}): Promise<RowOutcome> {
    const { path: container = '/a/c', intent = 'write', ...item } = more as Record<string, unknown>;
    const hash = this.hash(String(container));
    const rows = [{ hash, path: container, name, state: encodeState(state), ...item }];
    const args = { device: node, ringVersion: 1, rows, intent };
    return (await this.call<RowsReply>(node, 'container.rows', args)).outcomes[0]!;
  }

  creation(policy = 0, mode: 'strict' | 'available' = 'strict'): EntryState {
    const writeId = randomBytes(8).toString('hex');
    const state = this.live({ etag: '', size: 0, contentType: '', writeId });
    const { timestamp } = state.data!;
    return { ...state, groups: { container: settingsGroup({ policy, mode }, timestamp) } };
  }

  own(node: number, state: EntryState, more: object = {}, name = '/a/c'): Promise<OwnStateReply> {
    const args = {
      ...this.address(node, name),
      state: encodeState(state),
      intent: 'write',
      ...more,
    };
    return this.call(node, 'container.write', args);
  }

  async create(nodes = [0, 1, 2]): Promise<void> {
    const state = this.creation();
    for (const node of nodes) await this.own(node, state);
  }

  list(node: number, query: object = { limit: 1000 }, read = 'quorum'): Promise<ListReply> {
    return this.call(node, 'container.list', { ...this.address(node), query, read });
  }

  async names(node: number): Promise<string[]> {
    const { items } = await this.list(node);
    return items.map((item) => (typeof item === 'string' ? item : item[0]));
  }

  /** The account as one of its replicas lists it. */
  account(node = 0, name = '/a'): Promise<ListReply> {
    const args = { ...this.address(node, name), query: { limit: 10 }, read: 'quorum' };
    return this.call(node, 'account.list', args);
  }

  /** All containers tell their accounts what they have. */
  async reportTotals(): Promise<void> {
    const { signal } = new AbortController();
    for (const { containers } of this.nodes) {
      await containers.jobs.find(({ name }) => name === 'container.totals')!.step(signal);
    }
  }

  pull(node: number, args: object): Promise<PullReply> {
    return this.call(node, 'container.pull', { ...this.address(node), ...args });
  }

  seal(node: number, seal: string, deadlineMs = 10_000): Promise<SealReply> {
    return this.call(node, 'container.seal', { ...this.address(node), seal, deadlineMs });
  }

  remove(node: number, seal: string, state: EntryState): Promise<RemoveReply> {
    const args = { ...this.address(node), seal, deadlineMs: 0, state: encodeState(state) };
    return this.call(node, 'container.remove', args);
  }

  async eventually(check: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 200; i++) {
      if (await check()) return;
      await sleep(5);
    }
    throw new Error('it did not happen');
  }
}

function makeView(ids: readonly number[]): ClusterView {
  const devices = ids.map((id) => ({
    id,
    site: `s${id}`,
    zone: 'z',
    node: `n${id}`,
    name: 'd1',
    weight: 1,
    meta: {},
  }));
  const ringOf = (policy: number): Ring =>
    new Ring({
      policy,
      version: 1,
      partPower: 2,
      copies: ids.length,
      devices,
      columns: ids.map((id) => Uint16Array.from([id, id, id, id])),
      former: NO_FORMER,
    });
  const nodes = ids.map((id) => {
    const wire = { host: 'localhost', port: 1 };
    return [`n${id}`, { name: `n${id}`, site: `s${id}`, zone: 'z', wire }] as const;
  });
  return {
    clusterId: 'cluster',
    version: 1,
    hashPrefix: 'p',
    hashSuffix: 's',
    policies: [],
    nodes: new Map(nodes),
    rings: new Map([CONTAINER_RING, ACCOUNT_RING].map((ring) => [ring, ringOf(ring)])),
  };
}
