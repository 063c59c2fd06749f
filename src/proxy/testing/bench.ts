/**
 * A development tool: three storage nodes and a proxy in one process on real disks and loopback, and
 * what an operation costs without HTTP. `node src/proxy/testing/bench.ts FOLDER [operations]`.
 */

import { createAccountService } from '#account/server.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { createContainerService } from '#container/server.ts';
import { BUCKET_BITS, type Device } from '#device/contract.ts';
import { formatDevice, openDevice } from '#device/open.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { PeerBoard } from '#object/peer-board.ts';
import { createObjectService } from '#object/server.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { RowStore } from '#rows/row-store.ts';
import { Endpoint } from '#wire/endpoint.ts';
import { IF_ABSENT } from '../condition.ts';
import type { Operation } from '../contract.ts';
import { createProxy, type ProxyStore } from '../proxy.ts';
import { CONTAINER, collect, objectName, putRequest } from './test-cluster.ts';

const CLUSTER_ID = '0123456789abcdef0123456789abcdef';
const NODES = ['lngs', 'bari', 'padova'];
const [folder, count = '5000', concurrency = '32'] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: bench.ts FOLDER [operations] [concurrency]');

const env = createNodeEnv({ logLevel: 'warn' });
const ports = new Map<string, number>();

function ring(policy: number): Ring {
  const devices = NODES.map((node, id) => {
    return { id, site: node, zone: '1', node, name: 'd1', weight: 100, meta: {} };
  });
  return new Ring({
    policy,
    version: 1,
    partPower: 6,
    copies: 3,
    devices,
    columns: [0, 1, 2].map((shift) => Uint16Array.from({ length: 64 }, (_, i) => (i + shift) % 3)),
    former: NO_FORMER,
  });
}

const view: ClusterView = {
  clusterId: CLUSTER_ID,
  version: 1,
  hashPrefix: 'p',
  hashSuffix: 's',
  policies: [{ index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true }],
  nodes: new Map(
    NODES.map((name) => [
      name,
      { name, site: name, zone: '1', wire: { host: '127.0.0.1', port: 0 } },
    ]),
  ),
  rings: new Map([0, CONTAINER_RING, ACCOUNT_RING].map((index) => [index, ring(index)])),
};

async function startNode(name: string, deviceId: number): Promise<ProxyStore> {
  const clock = new HybridClock({
    workerId: deviceId + 1,
    wallMicros: () => env.clock.wallMicros(),
    bound: 0,
    reserve: () => undefined,
  });
  const self = { node: name, site: name };
  const wire = new Endpoint({
    env,
    clock,
    cluster: { clusterId: CLUSTER_ID, sharedKey: Buffer.alloc(32, 7) },
    self,
    peers: {
      lookup: (peer) => ({ address: { host: '127.0.0.1', port: ports.get(peer)! }, site: peer }),
    },
  });
  ports.set(name, (await wire.listen({ host: '127.0.0.1', port: 0 })).port);
  const path = `${folder}/${name}`;
  await env.disk.mkdir(path);
  await formatDevice(env, path, { clusterId: CLUSTER_ID, deviceId, name, genesis: true });
  let rows: RowStore | undefined;
  const device: Device = await openDevice(env, path, {
    clusterId: CLUSTER_ID,
    deviceId,
    clock,
    openRows: (place, incarnation) => {
      rows = RowStore.open(env, { file: `${place}/rows.db`, incarnation, digestKey: CLUSTER_ID });
      return rows;
    },
  }).then((opened) => {
    rows!.bind(opened.rowLog);
    return opened;
  });
  for (const policy of view.rings.keys()) {
    await device.completeness.mark(policy, 0, 2 ** BUCKET_BITS, true);
  }
  const cluster = stillSource(() => view);
  const common = { env, wire, cluster, self, clock };
  const board = new PeerBoard(() => env.clock.monotonicMs());
  createObjectService({ ...common, board, devices: () => new Map([[deviceId, device]]) });
  const open = new Map([[deviceId, { device, rows: rows! }]]);
  createContainerService({ ...common, devices: () => open });
  createAccountService({ ...common, devices: () => open });
  return createProxy(common);
}

function operation(): Operation {
  return { txn: 'bench', signal: new AbortController().signal, read: 'quorum' };
}

async function measure(name: string, work: (i: number) => Promise<unknown>): Promise<void> {
  const total = Number(count);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < total; i = next++) await work(i);
  };
  await Promise.all(Array.from({ length: Number(concurrency) }, worker));
  const ms = performance.now() - start;
  const used = process.cpuUsage(cpu);
  const micros = (used.user + used.system) / total;
  const rate = Math.round((total / ms) * 1000);
  process.stdout.write(`${name}: ${rate}/s, ${micros.toFixed(0)} us CPU each\n`);
}

const proxies = await Promise.all(NODES.map(startNode));
const proxy = proxies[0]!;
await proxy.createContainer(operation(), CONTAINER, { changes: {} });
const body = Buffer.alloc(4096, 'x');
const put = (i: number): Promise<unknown> =>
  proxy.putObject(operation(), objectName(`o${i}`), putRequest(body));
await measure('PUT 4 KiB (warm-up)', put);
await measure('PUT 4 KiB', put);
const condition = IF_ABSENT;
await measure('PUT 4 KiB, if absent', (i) =>
  proxy.putObject(operation(), objectName(`c${i}`), putRequest(body, { condition })),
);
await measure(
  'GET 4 KiB',
  async (i) => (await proxy.openObject(operation(), objectName(`o${i}`)))!.inline,
);
await measure('HEAD', (i) => proxy.statObject(operation(), objectName(`o${i}`)));
await measure('DELETE', (i) => proxy.deleteObject(operation(), objectName(`o${i}`)));
const large = Buffer.alloc(1024 * 1024, 'y');
if (process.argv[5] === 'large') {
  await measure('PUT 1 MiB', (i) =>
    proxy.putObject(operation(), objectName(`l${i % 50}`), putRequest(large)),
  );
  await measure('GET 1 MiB', async (i) => {
    const reader = (await proxy.openObject(operation(), objectName(`l${i % 50}`)))!;
    await collect(reader.read(0, reader.length));
  });
  const customerKey = Buffer.alloc(32, 1);
  const encryption = { kind: 'customer', key: customerKey } as const;
  await measure('PUT 1 MiB, encrypted', (i) =>
    proxy.putObject(operation(), objectName(`e${i % 50}`), putRequest(large, { encryption })),
  );
  await measure('GET 1 MiB, encrypted', async (i) => {
    const asked = { ...operation(), customerKey };
    const reader = (await proxy.openObject(asked, objectName(`e${i % 50}`)))!;
    await collect(reader.read(0, reader.length));
  });
}
process.exit(0);
