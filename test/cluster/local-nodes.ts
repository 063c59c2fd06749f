/**
 * Three storage nodes with proxies in one process, on real disks and loopback: what a test needs that
 * flips bits under running devices and looks into them. Devices that were found damaged are opened anew
 * sooner than a real node does it.
 */

import { once } from 'node:events';
import { createServer } from 'node:net';
import path from 'node:path';
import { HybridClock } from '#base/hybrid-clock.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { parseNodeConfig } from '#config/node-config.ts';
import { formatDevice } from '#device/open.ts';
import type { Log } from '#env/env.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import type { OpenDevice } from '#main/devices.ts';
import type { Foundation } from '#main/foundation.ts';
import { type StorageRole, startStorage } from '#main/storage.ts';
import type { Auditor } from '#object/auditor.ts';
import type { DeviceReport } from '#object/calls.ts';
import type { Operation } from '#proxy/contract.ts';
import { createProxy, type ProxyStore } from '#proxy/proxy.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { Endpoint } from '#wire/endpoint.ts';

export const NODES = ['lngs', 'bari', 'padova'] as const;
const CLUSTER_ID = '0123456789abcdef0123456789abcdef';
const PARTITIONS = 16;
const LOOK_MS = 20;
/** Small, so that a few megabytes already are several segments and many blobs. */
const LIMITS = {
  inlineLimit: 32 * 1024,
  segmentBytes: 512 * 1024,
  stageMemory: 64 * 1024,
  reserveBytes: 0,
  checkpointMs: 1_000,
  /** Nothing is written while devices are opened anew. */
  learnMs: 500,
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
  readonly folder: string;
  readonly proxy: ProxyStore;
  readonly #storage: StorageRole;
  readonly #wire: Endpoint;
  readonly #id: number;

  constructor(id: number, folder: string, { storage, proxy, wire }: Parts) {
    this.#id = id;
    this.folder = folder;
    this.#storage = storage;
    this.proxy = proxy;
    this.#wire = wire;
  }

  get auditor(): Auditor {
    return this.#storage.auditor;
  }

  /** Undefined while it is out of service. */
  get open(): OpenDevice | undefined {
    return this.#storage.open().get(this.#id);
  }

  get report(): DeviceReport | undefined {
    return this.#storage.reports()[0];
  }

  async close(): Promise<void> {
    await this.#wire.close(1_000);
    await this.#storage.close();
  }
}

interface Parts {
  readonly wire: Endpoint;
  readonly storage: StorageRole;
  readonly proxy: ProxyStore;
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
    const source: ClusterSource = stillSource(() => view);
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
  const storage = await startStorage(foundation, { deviceLimits: LIMITS, lookMs: LOOK_MS });
  await wire.listen({ host: '127.0.0.1', port: ports.get(name)! });
  const limits = { inlineBytes: 16 * 1024 };
  const self = { node: name, site: name };
  const proxy = createProxy({ env, wire, cluster: source, self, clock, limits });
  return new LocalNode(id, folder, { wire, storage, proxy });
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
