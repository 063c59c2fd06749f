/**
 * A whole cluster in one process: each node is a simulated machine that runs what a node's process
 * runs (src/main/node.ts): hybrid clock, wire, storage role with its jobs, proxy. Nothing is mocked
 * below `createProxy`; only HTTP, identity and the authority are left out.
 */

import type { HybridClock } from '#base/hybrid-clock.ts';
import { type NodeConfig, parseNodeConfig } from '#config/node-config.ts';
import { formatDevice } from '#device/open.ts';
import type { Machine } from '#env/sim/machine.ts';
import type { SimWorld } from '#env/sim/world.ts';
import { type BucketJobs, startBucketJobs } from '#main/bucket-jobs.ts';
import { openClock } from '#main/clock-file.ts';
import type { Foundation } from '#main/foundation.ts';
import { type StorageRole, startStorage } from '#main/storage.ts';
import { createProxy, type ProxyStore } from '#proxy/proxy.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { DEFAULT_REPAIR_LIMITS } from '#ring/repair-limits.ts';
import { ViewSource } from '#ring/testing/view-source.ts';
import { Endpoint } from '#wire/endpoint.ts';
import type { Expiry } from './model.ts';
import { CLUSTER_ID, type NodeShape, type Shape, WIRE_PORT } from './shape.ts';
import type { Tap } from './tap.ts';

/** Small, so that a few kilobytes already go every way a large body can go. */
const PROXY_LIMITS = {
  inlineBytes: 8 * 1024,
  inlineReadBytes: 2 * 1024,
  streamBufferBytes: 16_384,
  /** Short, so that a device that has lost something counts again before the faults end. */
  roundMs: 2_500,
  readDeadlineMs: 2_500,
};
export const DEVICE_LIMITS = {
  inlineLimit: 4 * 1024,
  segmentBytes: 96 * 1024,
  stageMemory: 64 * 1024,
  reserveBytes: 64 * 1024,
  compactStepBytes: 64 * 1024,
  learnMs: 3_000,
};
/** Of runs in which containers change their policy: an operation may use what it knew of one for so long. */
const STALE_MS = 5_000;
/** More than that, and than the calls by which it is asked. */
const SETTLE_MS = 20_000;
const MOVE_LIMITS = { ...PROXY_LIMITS, containerStaleMs: STALE_MS };
const MOVE_PAGE = 2;
export const SHARED_KEY = Buffer.alloc(32, 7);
const REBOOT_MS = 2_000;
const DEFAULT_RECLAIM_MS = DEFAULT_REPAIR_LIMITS.reclaimAgeSeconds * 1_000;
/** Longer than any operation that reads. */
const OPERATION_MS = 120_000;
const DATA = '/data';

/** One life of a node's process. */
export interface Process {
  readonly proxy: ProxyStore;
  readonly storage: StorageRole;
  readonly clock: HybridClock;
  readonly wire: Endpoint;
  readonly bucketJobs: BucketJobs | undefined;
  /** Resolves when the process is killed or its machine loses power. */
  readonly ended: Promise<void>;
}

export class SimNode {
  readonly name: string;
  readonly shape: NodeShape;
  readonly machine: Machine;
  readonly source: ViewSource;
  readonly #config: NodeConfig;
  /** Undefined while it is down or starting. */
  process: Process | undefined;
  #end: () => void = () => undefined;
  readonly #cluster: SimCluster;

  constructor(cluster: SimCluster, shape: NodeShape) {
    this.#cluster = cluster;
    this.name = shape.name;
    this.shape = shape;
    this.machine = cluster.world.machine(shape.name, { skewMs: shape.skewMs });
    this.source = new ViewSource(cluster.shape.view);
    this.#config = nodeConfig(shape);
  }

  devicePath(device: number): string {
    return `/d${this.shape.devices.indexOf(device) + 1}`;
  }

  /** First start: formats the devices as those of a new cluster. */
  async create(): Promise<void> {
    const { env } = this.machine;
    await env.disk.mkdir(DATA);
    const { reclaimAgeSeconds } = this.#cluster;
    if (reclaimAgeSeconds !== undefined) {
      const settings = JSON.stringify({ reclaimAgeSeconds });
      await env.disk.replace(`${DATA}/repair.json`, Buffer.from(settings));
    }
    for (const [n, deviceId] of this.shape.devices.entries()) {
      const identity = { clusterId: CLUSTER_ID, deviceId, name: `d${n + 1}`, genesis: true };
      await env.disk.mkdir(`/d${n + 1}`);
      await formatDevice(env, `/d${n + 1}`, identity);
    }
    await this.#boot();
  }

  kill(): void {
    this.#ended();
    this.machine.kill();
  }

  crash(unsynced: 'random' | 'lost' | 'kept'): void {
    this.#ended();
    this.machine.crash(unsynced);
  }

  /** SIGTERM: roles stop in order, then the process ends. */
  async stop(): Promise<void> {
    const { process } = this;
    if (process === undefined) return;
    this.process = undefined;
    const { incarnation } = this.machine;
    await process.bucketJobs?.stop();
    await process.wire.close(1_000);
    await process.storage.close();
    if (incarnation.alive) this.kill();
  }

  /** Starts the process anew; a start that fails is repeated, as the supervisor does. */
  start(): void {
    this.#ended();
    this.machine.restart();
    const { incarnation } = this.machine;
    this.#boot().catch((error: unknown) => {
      if (!incarnation.alive) return;
      this.#cluster.bootFailed(this, error);
      this.kill();
      this.#cluster.world.schedule(REBOOT_MS, `${this.name} reboot`, () => {
        if (!this.machine.isUp && this.machine.incarnation === incarnation) this.start();
      });
    });
  }

  #ended(): void {
    this.process = undefined;
    this.#end();
  }

  /** As main/node.ts does it. */
  async #boot(): Promise<void> {
    const { env } = this.machine;
    const { name, shape, source } = this;
    const clock = await openClock(env, DATA, 1 + shape.devices[0]!);
    const self = { node: name, site: shape.site };
    const wire = new Endpoint({
      env,
      clock,
      cluster: { clusterId: CLUSTER_ID, sharedKey: SHARED_KEY },
      self,
      peers: { lookup: (peer) => this.#cluster.locate(peer) },
    });
    // The storage role uses only these of a foundation.
    const tapped = this.#cluster.tap.over(wire);
    const foundation = { env, config: this.#config, clock, cluster: source, wire: tapped, name };
    const role = foundation as unknown as Foundation;
    const storage = await startStorage(role, { deviceLimits: DEVICE_LIMITS });
    await wire.listen({ host: name, port: WIRE_PORT });
    const { hasBucketJobs } = this.#cluster;
    const limits = hasBucketJobs ? MOVE_LIMITS : PROXY_LIMITS;
    const proxy = createProxy({
      env,
      wire: tapped,
      cluster: source,
      self,
      clock,
      limits,
    });
    const move = { settleMs: SETTLE_MS, pageItems: MOVE_PAGE };
    const bucketJobs = hasBucketJobs ? startBucketJobs(role, storage, { limits, move }) : undefined;
    const ended = new Promise<void>((resolve) => {
      this.#end = resolve;
    });
    this.process = { proxy, storage, clock, wire, bucketJobs, ended };
  }
}

/** By the real parser, so that what a new version adds has its default here too. */
function nodeConfig({ name, site, devices }: NodeShape): NodeConfig {
  return parseNodeConfig(
    JSON.stringify({
      format: 1,
      name,
      site,
      roles: ['storage', 'proxy'],
      data: DATA,
      clusterId: CLUSTER_ID,
      wireKeyFile: '-',
      workerIds: [1 + devices[0]!],
      listen: {},
      authorities: ['-'],
      state: { driver: 'sqlite', path: '-' },
      masterKeyFile: '-',
      authorityKey: '-',
      devices: devices.map((id, n) => ({ id, name: `d${n + 1}`, path: `/d${n + 1}` })),
    }),
  );
}

export class SimCluster {
  readonly world: SimWorld;
  readonly shape: Shape;
  /** The newest that was published; nodes learn it one after another. */
  view: ClusterView;
  readonly tap: Tap;
  readonly nodes: readonly SimNode[];
  readonly bootFailures: string[] = [];
  /** Nodes do what containers are configured to, and what becomes of those that change their policy. */
  hasBucketJobs = false;
  /** How far any clock may be from the true time. */
  readonly clockErrorMs: number;
  /** Of all nodes; undefined: the product's default. */
  readonly reclaimAgeSeconds: number | undefined;
  #passedMs = 0;

  constructor(
    world: SimWorld,
    shape: Shape,
    tap: Tap,
    clockErrorMs: number,
    reclaimAgeSeconds?: number,
  ) {
    this.world = world;
    this.clockErrorMs = clockErrorMs;
    this.reclaimAgeSeconds = reclaimAgeSeconds;
    this.shape = shape;
    this.view = shape.view;
    this.tap = tap;
    this.nodes = shape.nodes.map((node) => new SimNode(this, node));
    const groups = shape.sites.map((site) =>
      shape.nodes.filter((node) => node.site === site).map((node) => node.name),
    );
    world.network.setDistance(groups, { delayMs: shape.wanMs, jitterMs: shape.wanMs / 10 });
  }

  async create(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.create()));
  }

  /** Unix milliseconds, as a clock shows them that is right. */
  get trueMs(): number {
    return this.world.startWallMs + this.world.nowMs + this.#passedMs;
  }

  /** Whether deletions may have become old enough to be forgotten. */
  get mayReclaim(): boolean {
    return this.#passedMs >= DEFAULT_RECLAIM_MS || this.reclaimAgeSeconds !== undefined;
  }

  /** Days go by on all clocks at once, also on those of machines that are off; nothing else happens. */
  passTime(ms: number): void {
    this.#passedMs += ms;
    for (const machine of this.world.machines()) machine.skewMs += ms;
  }

  /** Sets a clock wrong by so much. */
  setClock({ machine }: SimNode, errorMs: number): void {
    machine.skewMs = this.#passedMs + errorMs;
  }

  expiry(deleteAt: number): Expiry {
    const sinceMs = this.trueMs - deleteAt * 1000;
    if (sinceMs < -this.clockErrorMs) return 'before';
    // An operation takes its time from when it began.
    return sinceMs > this.clockErrorMs + OPERATION_MS ? 'passed' : 'perhaps';
  }

  locate(peer: string) {
    const node = this.shape.view.nodes.get(peer);
    return node && { address: node.wire, site: node.site };
  }

  nodeOf(device: number): SimNode {
    return this.nodes.find((node) => node.shape.devices.includes(device))!;
  }

  bootFailed(node: SimNode, error: unknown): void {
    this.bootFailures.push(`${node.name}: ${error instanceof Error ? error.stack : error}`);
    this.world.log.add({
      timeMs: this.world.nowMs,
      machine: node.name,
      level: 'error',
      event: 'sim.boot-failed',
      facts: { error },
    });
  }
}
