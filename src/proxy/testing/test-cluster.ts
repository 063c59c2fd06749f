/**
 * A cluster in one process on virtual time: real wire, real devices on simulated disks, the real
 * object service and proxies. Container and account replicas are MemoryRows.
 */

import { createAccountService } from '#account/server.ts';
import { hashPath } from '#base/hash.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { ACCOUNT_RING, CONTAINER_RING, objectPath, type PolicyIndex } from '#base/names.ts';
import type { ListingAuditorOptions } from '#container/listing-auditor.ts';
import { createContainerService } from '#container/server.ts';
import { BUCKET_BITS, type Device, type Entry, type EntryKey } from '#device/contract.ts';
import { formatDevice, openDevice } from '#device/open.ts';
import type { Env } from '#env/env.ts';
import type { Machine } from '#env/sim/machine.ts';
import { SimWorld } from '#env/sim/world.ts';
import { splitPath } from '#object/object-path.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import { createObjectService, type ObjectService } from '#object/server.ts';
import { createRepair, EXCHANGE_START_MS } from '#repair/server.ts';
import type { ClusterView, ConsistencyMode } from '#ring/cluster.ts';
import { DEFAULT_REPAIR_LIMITS } from '#ring/repair-limits.ts';
import { Ring } from '#ring/ring.ts';
import { ViewSource } from '#ring/testing/view-source.ts';
import { RowStore } from '#rows/row-store.ts';
import type { RowService } from '#rows/service/row-service.ts';
import { Endpoint } from '#wire/endpoint.ts';
import type { Job } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';
import type { Operation } from '../contract.ts';
import type { KeySource } from '../encryption/encryption.ts';
import type { ProxyLimits } from '../limits.ts';
import { createProxy, type ProxyStore } from '../proxy.ts';
import { MemoryRows } from './memory-rows.ts';
import { CLUSTER_ID, CONTAINER, makeView, objectName, PORT, type ViewShape } from './test-view.ts';

export { collect, patternBytes, putRequest } from './bodies.ts';
export { CONTAINER, objectName } from './test-view.ts';

/** Short, because virtual hours cost real seconds of pings. */
export const EXPIRY_GRACE_SECONDS = 120;

export interface TestNode {
  readonly name: string;
  readonly site: string;
  readonly device: number;
  machine: Machine;
  env: Env;
  clock: HybridClock;
  endpoint: Endpoint;
  service: ObjectService;
  devices: Map<number, Device>;
  rows: RowStore;
  proxy: ProxyStore;
  board: PeerBoard;
  /** Not running by themselves: a test runs the one it is about. */
  jobs: readonly Job[];
}

export interface TestClusterOptions extends ViewShape {
  readonly seed?: number;
  /** One node with one device at each; the first three are the primaries of everything. */
  readonly sites?: readonly string[];
  readonly limits?: Partial<ProxyLimits>;
  /** Wall clock minus true time, by node name. */
  readonly skewMs?: Readonly<Record<string, number>>;
  /** The real container and account services instead of MemoryRows. */
  readonly realRows?: boolean;
  /** Proxies have clocks of their own, so that they learn of others' timestamps only by their writes. */
  readonly deafClocks?: boolean;
  /** Nodes whose device starts as not genesis: it is complete for nothing. */
  readonly blank?: readonly string[];
  /** Objects are encrypted with these. */
  readonly keys?: KeySource;
  /** Background jobs run by themselves. */
  readonly runJobs?: boolean;
}

export class TestCluster {
  readonly world: SimWorld;
  readonly rows = new MemoryRows();
  readonly nodes = new Map<string, TestNode>();
  readonly view: ClusterView;
  readonly #options: TestClusterOptions;
  readonly #views = new Map<string, ClusterView>();
  readonly #sources = new Map<string, ViewSource>();
  #txn = 0;

  constructor(options: TestClusterOptions = {}) {
    this.#options = options;
    this.world = new SimWorld({ seed: options.seed ?? 1 });
    this.view = makeView(options.sites ?? ['lngs', 'bari', 'padova'], options);
  }

  static async start(options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    await cluster.world.run(cluster.#startAll());
    return cluster;
  }

  /** A cluster with its container. */
  static async startWithContainer(options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = await TestCluster.start(options);
    await cluster.createContainer();
    return cluster;
  }

  /** Runs until the promise settles. */
  run<Result>(promise: Promise<Result>): Promise<Result> {
    return this.world.run(promise);
  }

  node(name: string): TestNode {
    return this.nodes.get(name)!;
  }

  device(name: string): Device {
    const node = this.node(name);
    return node.devices.get(node.device)!;
  }

  keyOf(object: string, policy = 0): EntryKey {
    const { hashPrefix, hashSuffix } = this.view;
    return { policy, hash: hashPath(hashPrefix, objectPath(objectName(object)), hashSuffix) };
  }

  /** What a node's device holds of an object. */
  entryAt(node: string, object: string): Entry | undefined {
    return this.device(node).stat(this.keyOf(object));
  }

  get proxy(): ProxyStore {
    return this.node('lngs').proxy;
  }

  operation(overrides: Partial<Operation> = {}): Operation {
    const signal = new AbortController().signal;
    return { txn: `tx${++this.#txn}`, signal, read: 'quorum', ...overrides };
  }

  kill(name: string): void {
    this.node(name).machine.kill();
  }

  restart(name: string): Promise<void> {
    return this.run(this.boot(name));
  }

  /** A new process on what is on the disk; for what runs inside `run`. */
  boot(name: string): Promise<void> {
    const { machine } = this.node(name);
    machine.restart();
    return this.#boot(name, machine);
  }

  /**
   * The same placement under another ring version: at once everywhere, or everywhere but one node.
   * `without`: a node whose device, a primary of nothing, is in no ring any more.
   */
  publishRings(
    version: number,
    { except, without }: { except?: string; without?: string } = {},
  ): void {
    const rings = [...this.view.rings].map(([policy, ring]) => {
      const fields = ring.fields();
      const devices = fields.devices.map((device) =>
        device?.node === without ? undefined : device,
      );
      return [policy, new Ring({ ...fields, devices, version })] as const;
    });
    const view = { ...this.view, version, rings: new Map(rings) };
    for (const [name, source] of this.#sources) {
      if (name === except) continue;
      this.#views.set(name, view);
      source.publish(view);
    }
  }

  /** Steps a job of a node until it is idle. */
  async runJob(name: string, job: string): Promise<void> {
    const found = this.node(name).jobs.find((candidate) => candidate.name === job)!;
    for (let step = 0; step < 100; step++) {
      const result = await this.run(found.step(new AbortController().signal));
      if (result.kind === 'idle') return;
    }
    throw new Error(`${job} is never idle`);
  }

  async createContainer(mode?: ConsistencyMode): Promise<void> {
    const options = { changes: {}, ...(mode !== undefined && { mode }) };
    await this.run(this.proxy.createContainer(this.operation(), CONTAINER, options));
  }

  async #startAll(): Promise<void> {
    for (const name of this.view.nodes.keys()) {
      const machine = this.world.machine(name, { skewMs: this.#options.skewMs?.[name] ?? 0 });
      const identity = {
        clusterId: CLUSTER_ID,
        deviceId: this.#deviceOf(name),
        name: 'd1',
        genesis: !(this.#options.blank ?? []).includes(name),
      };
      await machine.env.disk.mkdir('/d1');
      await formatDevice(machine.env, '/d1', identity);
      await this.#boot(name, machine);
    }
  }

  #deviceOf(name: string): number {
    return [...this.view.nodes.keys()].indexOf(name);
  }

  async #boot(name: string, machine: Machine): Promise<void> {
    const { env } = machine;
    const { site } = this.view.nodes.get(name)!;
    const deviceId = this.#deviceOf(name);
    const clock = hybridClock(env, deviceId + 1);
    const proxyClock = this.#options.deafClocks === true ? hybridClock(env, deviceId + 101) : clock;
    const endpoint = new Endpoint({
      env,
      clock,
      cluster: { clusterId: CLUSTER_ID, sharedKey: Buffer.alloc(32, 7) },
      self: { node: name, site },
      peers: { lookup: (peer) => this.#locate(peer) },
    });
    let rows: RowStore | undefined;
    let service: ObjectService | undefined;
    let rowServices: ReadonlyMap<PolicyIndex, RowService> | undefined;
    const device = await openDevice(env, '/d1', {
      onDamage: (key) => key && service?.damaged(deviceId, key),
      clusterId: CLUSTER_ID,
      deviceId,
      clock,
      limits: { learnMs: 0 },
      openRows: (folder, incarnation) => {
        const options = { file: `${folder}/rows.db`, incarnation, digestKey: CLUSTER_ID };
        rows = RowStore.open(env, options);
        return rows;
      },
    });
    rows!.bind(device.rowLog);
    if (device.genesis) {
      for (const { policy } of this.view.rings.values()) {
        await device.completeness.mark(policy, 0, 2 ** BUCKET_BITS, true);
      }
    }
    const devices = new Map<number, Device>([[deviceId, device]]);
    const cluster = new ViewSource(this.#views.get(name) ?? this.view);
    this.#sources.set(name, cluster);
    const self = { node: name, site };
    const common = { env, wire: endpoint, cluster, self };
    const repair = createRepair({
      ...common,
      devices: () => new Map([[deviceId, { device, rows: rows! }]]),
      cycleMs: 1_000,
      debt: () => service?.debt() ?? new Map(),
      clearedAtMs: (id, ring) => {
        if (!isRowRing(ring)) return service?.clearedAtMs(id, ring);
        // MemoryRows leaves the row stores empty.
        if (rowServices === undefined) return env.clock.monotonicMs();
        return rowServices.get(ring.policy)?.handover.clearedAtMs(id);
      },
      limits: () => service?.budget.limits ?? DEFAULT_REPAIR_LIMITS,
    });
    service = createObjectService({
      ...common,
      devices: () => devices,
      expirer: { graceSeconds: EXPIRY_GRACE_SECONDS },
      updater: { olderThanMs: 2_000, idleMs: 1_000 },
      board: repair.board,
    });
    const jobs: Job[] = [...service.jobs, repair.exchange, repair.reclaim];
    const { differs, tookIn, isReclaimed } = repair;
    if (this.#options.realRows === true) {
      const open = new Map([[deviceId, { device, rows: rows! }]]);
      const told = { differs, tookIn, isReclaimed };
      const options = { ...common, ...told, clock, devices: () => open };
      const reassert: ListingAuditorOptions['reassert'] = (path, above) =>
        this.node(name).proxy.reassert(this.operation(), splitPath(path)!, above);
      const containers = createContainerService({ ...options, reassert });
      const accounts = createAccountService(options);
      rowServices = new Map([containers.rows, accounts].map((one) => [one.context.ring, one]));
      jobs.push(...containers.jobs, ...accounts.jobs);
    } else {
      for (const [method, handler] of this.rows.handlers()) endpoint.handle(method, handler);
    }
    const { limits, keys } = this.#options;
    const proxy = createProxy({ ...common, clock: proxyClock, limits, keys });
    await endpoint.listen({ host: name, port: PORT });
    if (this.#options.runJobs === true) {
      const startMs = (job: Job): number => (job === repair.exchange ? EXCHANGE_START_MS : 0);
      const runners = jobs.map((job) => new JobRunner(env, job, { startMs: startMs(job) }));
      service.auditor.wake = () => runners[jobs.indexOf(service.auditor)]!.wake();
      repair.board.onDifference(() => {
        for (const runner of runners) if (runner.name === 'object.compare') runner.wake();
      });
    }
    const open = { devices, rows: rows!, proxy, jobs, board: repair.board };
    const node = { name, site, device: deviceId, machine, env, clock, endpoint, service, ...open };
    this.nodes.set(name, node);
  }

  #locate(peer: string) {
    const node = this.view.nodes.get(peer);
    return node && { address: { host: peer, port: PORT }, site: node.site };
  }
}

function isRowRing({ policy }: Ring): boolean {
  return policy === CONTAINER_RING || policy === ACCOUNT_RING;
}

function hybridClock(env: Env, workerId: number): HybridClock {
  const wallMicros = (): number => env.clock.wallMicros();
  return new HybridClock({ workerId, wallMicros, bound: 0, reserve: () => undefined });
}
