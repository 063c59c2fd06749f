/**
 * Three storage nodes with proxies in one process, on real disks and loopback: what a test needs that
 * flips bits under running devices and can't wait for supervisors. Jobs run by themselves, but for the
 * ones that a test steps: who opens damaged devices anew, and the auditor.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { createAccountService } from '#account/server.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { parseNodeConfig } from '#config/node-config.ts';
import { createContainerService } from '#container/server.ts';
import { formatDevice, type LogDevice } from '#device/open.ts';
import type { Log } from '#env/env.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { NodeDevices } from '#main/devices.ts';
import type { Foundation } from '#main/foundation.ts';
import { createObjectService, type ObjectService } from '#object/server.ts';
import type { Operation } from '#proxy/contract.ts';
import { createProxy, type ProxyStore } from '#proxy/proxy.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import type { RowStore } from '#rows/row-store.ts';
import { Endpoint } from '#wire/endpoint.ts';
import type { Job } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';

export const NODES = ['lngs', 'bari', 'padova'] as const;
const CLUSTER_ID = '0123456789abcdef0123456789abcdef';
const PARTITIONS = 16;
/** Small, so that a few megabytes already are several segments and many blobs. */
const LIMITS = {
  inlineLimit: 32 * 1024,
  segmentBytes: 512 * 1024,
  stageMemory: 64 * 1024,
  reserveBytes: 0,
  checkpointMs: 1_000,
};

/** Damage is what these tests are about: a line for each would be all there is to see. */
export const SILENT: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => SILENT,
};

export class LocalNode {
  readonly name: string;
  readonly folder: string;
  readonly proxy: ProxyStore;
  readonly objects: ObjectService;
  readonly #local: NodeDevices;
  readonly #runners: readonly JobRunner[];
  readonly #wire: Endpoint;
  readonly #id: number;

  constructor(
    name: string,
    id: number,
    folder: string,
    { env, wire, source, local }: Parts,
    clock: HybridClock,
  ) {
    this.name = name;
    this.folder = folder;
    this.#id = id;
    this.#local = local;
    this.#wire = wire;
    const self = { node: name, site: name };
    const common = { env, wire, cluster: source, self };
    const compare = { roundMs: 1_000 };
    this.objects = createObjectService({ ...common, devices: () => local.devices, compare });
    local.onDamage = this.objects.damaged;
    const rows = { ...common, clock, devices: () => local.open };
    const jobs: Job[] = [
      ...this.objects.jobs.filter((job) => job !== this.objects.auditor),
      ...createContainerService(rows).jobs,
      ...createAccountService(rows).jobs,
    ];
    this.#runners = jobs.map((job) => new JobRunner(env, job, { share: 1 }));
    this.proxy = createProxy({ ...common, clock, limits: { inlineBytes: 16 * 1024 } });
  }

  /** Undefined while it is out of service. */
  get device(): LogDevice | undefined {
    return this.#local.devices.get(this.#id);
  }

  get rows(): RowStore {
    return this.#local.open.get(this.#id)!.rows;
  }

  /** Opens a device anew that was found damaged. */
  async keep(): Promise<void> {
    await this.#local.keeper.step(new AbortController().signal);
    for (const runner of this.#runners) runner.wake();
  }

  async close(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.stop()));
    await this.#wire.close(1_000);
    await this.objects.close();
    await this.#local.closeAll();
  }
}

interface Parts {
  readonly env: NodeEnv;
  readonly wire: Endpoint;
  readonly source: ClusterSource;
  readonly local: NodeDevices;
}

export class LocalCluster {
  readonly nodes: readonly LocalNode[];
  readonly #env: NodeEnv;
  #txn = 0;

  constructor(env: NodeEnv, nodes: readonly LocalNode[]) {
    this.#env = env;
    this.nodes = nodes;
  }

  static async start(folder: string): Promise<LocalCluster> {
    const env = createNodeEnv({ logLevel: 'error', logDestination: 2 });
    const quiet = { ...env, log: SILENT };
    const ports = new Map<string, number>();
    for (const name of NODES) ports.set(name, await freePort());
    const view = makeView();
    const source: ClusterSource = { current: () => view, subscribe: () => () => undefined };
    const nodes: LocalNode[] = [];
    for (const [id, name] of NODES.entries()) {
      nodes.push(await startNode(name, id, path.join(folder, name), quiet, source, ports));
    }
    return new LocalCluster(env, nodes);
  }

  operation(read: Operation['read'] = 'quorum'): Operation {
    return { txn: `flip${++this.#txn}`, signal: new AbortController().signal, read };
  }

  async close(): Promise<void> {
    for (const node of this.nodes) await node.close();
    await this.#env.close();
  }
}

async function startNode(
  name: string,
  id: number,
  folder: string,
  env: NodeEnv,
  source: ClusterSource,
  ports: ReadonlyMap<string, number>,
): Promise<LocalNode> {
  const wallMicros = (): number => env.clock.wallMicros();
  const clock = new HybridClock({
    workerId: id + 1,
    wallMicros,
    bound: 0,
    reserve: () => undefined,
  });
  const wire = new Endpoint({
    env,
    clock,
    cluster: { clusterId: CLUSTER_ID, sharedKey: Buffer.alloc(32, 7) },
    self: { node: name, site: name },
    peers: {
      lookup: (peer) => ({ address: { host: '127.0.0.1', port: ports.get(peer)! }, site: peer }),
    },
  });
  await env.disk.mkdir(folder);
  const identity = { clusterId: CLUSTER_ID, deviceId: id, name: 'd1', genesis: true };
  await formatDevice(env, folder, identity);
  const config = nodeConfig(name, id, folder);
  // The devices use only these of a foundation.
  const foundation = { env, config, clock, cluster: source, wire, name } as unknown as Foundation;
  const local = new NodeDevices(foundation, LIMITS);
  await local.openAll();
  await wire.listen({ host: '127.0.0.1', port: ports.get(name)! });
  return new LocalNode(name, id, folder, { env, wire, source, local }, clock);
}

function nodeConfig(name: string, id: number, folder: string) {
  return parseNodeConfig(
    JSON.stringify({
      format: 1,
      name,
      site: name,
      roles: ['storage', 'proxy'],
      data: folder,
      clusterId: CLUSTER_ID,
      wireKeyFile: '-',
      workerIds: [id + 1],
      listen: {},
      authorities: ['-'],
      state: { driver: 'sqlite', path: '-' },
      masterKeyFile: '-',
      authorityKey: '-',
      devices: [{ id, name: 'd1', path: folder }],
    }),
  );
}

function makeView(): ClusterView {
  const devices = NODES.map((node, id) => {
    return { id, site: node, zone: '1', node, name: 'd1', weight: 100, meta: {} };
  });
  const turned = (shift: number): Uint16Array =>
    Uint16Array.from({ length: PARTITIONS }, (_, partition) => (partition + shift) % NODES.length);
  const rings = [0, CONTAINER_RING, ACCOUNT_RING].map((policy) => {
    const columns = [0, 1, 2].map(turned);
    const partPower = Math.log2(PARTITIONS);
    const fields = { policy, version: 1, partPower, copies: 3, devices, columns };
    return [policy, new Ring({ ...fields, former: NO_FORMER })] as const;
  });
  const wire = { host: '127.0.0.1', port: 0 };
  return {
    clusterId: CLUSTER_ID,
    version: 1,
    hashPrefix: 'p',
    hashSuffix: 's',
    policies: [
      { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
    ],
    nodes: new Map(NODES.map((name) => [name, { name, site: name, zone: '1', wire }])),
    rings: new Map(rings),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
