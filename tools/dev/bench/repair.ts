/**
 * What repair costs: a device is wiped under the running cluster, and three copies are there again after
 * so long; what clients feel of it; and what a cluster costs in which nothing happens.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Case, type Figure, load, planFor, preload, request } from './cases.ts';
import { cpuSeconds } from './procfs.ts';
import type { Store } from './store.ts';

interface RunningNode {
  readonly name: string;
  readonly pid: number;
  readonly ports: { readonly admin: number };
  readonly devices: readonly string[];
}

interface NodeStatus {
  readonly devices: readonly {
    readonly path: string;
    readonly incarnation: string;
    readonly status: string;
    readonly facts: { readonly entries: number };
  }[];
  readonly jobs: readonly {
    readonly name: string;
    readonly facts: Readonly<Record<string, number>>;
  }[];
  readonly wire: {
    readonly connections: readonly {
      readonly peer: string;
      readonly bytesOut: number;
      readonly bytesIn: number;
    }[];
  };
}

export interface RefillSize {
  readonly count: number;
  readonly bodyBytes: number;
}

const KIB = 1024;
const GIB = KIB ** 3;
const LOOK_MS = 200;
const LIMIT_MS = 30 * 60_000;
const VICTIM_SITE = 'bari';
const VICTIM = `${VICTIM_SITE}-1`;
/** More would not fit on the disk beside the cluster's own. */
const MOST_DD_BYTES = 8 * GIB;
const LOAD_SECONDS = 10;
/** After a load, until garbage is collected and checkpoints are made. */
const SETTLE_MS = 60_000;
const IDLE_TURNS = 4;

/** Wipes one device after the other: once for the time and the CPU, once under the eyes of clients. */
export function refills({ count, bodyBytes }: RefillSize): Case {
  return async (store) => {
    const what = `${count.toLocaleString('en')} x ${bodyBytes / KIB} KiB`;
    await preload(store, `refill-${count}-${bodyBytes}`, count, bodyBytes);
    await untilFull(store);
    return [...(await refill(store, 0, what)), ...(await underLoad(store, what))];
  };
}

/**
 * A cluster for `largeRefill` in which one device has a copy of everything: it needs three times as many bytes
 * of the disk as that device shall have, where the cluster of `anello up` would need six.
 */
export const LARGE_SITES = {
  format: 1,
  name: 'refill',
  part_power: 10,
  min_part_hours: 1,
  policies: [{ name: 'standard', index: 0, replicas: 3, default: true, mode: 'strict' }],
  container: { replicas: 3 },
  account: { replicas: 3 },
  // `anello up` gives the wire addresses of its own ports.
  // `anello up` gives the wire addresses of its own ports.
  sites: Object.fromEntries(
    ['lngs', VICTIM_SITE, 'padova'].map((site, i) => [
      site,
      [
        {
          node: `${site}-1`,
          zone: 'z1',
          wire: `127.0.0.1:${8090 + i}`,
          devices: [{ name: 'd1', weight: 100 }],
        },
      ],
    ]),
  ),
};

/** Objects of half a gibibyte, on the device that has most of them; beside it what dd does with as many bytes. */
export function largeRefill(gibibytes: number): Case {
  return async (store) => {
    await request(store, 'PUT', '/refill-large');
    const count = gibibytes * 2;
    const plan = { method: 'PUT' as const, bodyBytes: GIB / 2, connections: 1, requests: count };
    const path = `${store.account}/refill-large/k%`;
    await load(planFor(store, { ...plan, path, order: 'sequential', seconds: 3_600 }));
    await untilFull(store);
    const held = nodeOf(store).devices.map((folder) => blobBytes(folder));
    const bytes = Math.max(...held);
    const what = `${(bytes / GIB).toFixed(1)} GiB in objects of 512 MiB`;
    // The disk of a shared machine changes from minute to minute: dd comes before and after.
    const before = ddSeconds(store, bytes);
    const [time, cpu] = await refill(store, held.indexOf(bytes), what);
    const percent = (50 * (before + ddSeconds(store, bytes))) / time!.value;
    const speed = { ...time!, unit: 'MB/s', value: bytes / 1e6 / time!.value };
    const share = { ...time!, name: `device wiped, ${what}: of dd's speed`, unit: '%' };
    return [{ ...speed, better: 'more' }, { ...share, better: 'more', value: percent }, cpu!];
  };
}

/**
 * What a node takes while nothing changes, what two nodes tell each other, and how much of both the background
 * jobs are: with them and, while they are held, without them, in turns.
 */
export function idleCost(objects: number, minutes: number): Case {
  return async (store) => {
    await preload(store, `idle-${objects}`, objects, 4 * KIB);
    await untilFull(store);
    await sleep(SETTLE_MS);
    const nodes = nodesOf(store);
    const sums = { working: { percent: 0, kibibytes: 0 }, held: { percent: 0, kibibytes: 0 } };
    for (let turn = 0; turn < IDLE_TURNS; turn++) {
      for (const kind of ['working', 'held'] as const) {
        const spent = await spentBy(nodes, (minutes * 60_000) / IDLE_TURNS, kind);
        sums[kind].percent += spent.percent / IDLE_TURNS;
        sums[kind].kibibytes += spent.kibibytes / IDLE_TURNS;
      }
    }
    const { working, held } = sums;
    const what = `idle over ${objects.toLocaleString('en')} objects`;
    const cpu = '% of a core';
    const bytes = 'KiB/minute';
    return [
      figure(`${what}: CPU of a node, all it does`, cpu, working.percent),
      figure(`${what}: of that background jobs`, cpu, working.percent - held.percent),
      figure(`${what}: bytes between two nodes, all they say`, bytes, working.kibibytes),
      figure(`${what}: of that repair's`, bytes, working.kibibytes - held.kibibytes),
    ];
  };
}

/** Of one core by an average node; by the pair of nodes that says most, per minute. */
async function spentBy(
  nodes: readonly RunningNode[],
  ms: number,
  kind: 'working' | 'held',
): Promise<{ percent: number; kibibytes: number }> {
  const seconds = kind === 'held' ? Math.ceil((ms + SETTLE_MS) / 1_000) : 0;
  await Promise.all(nodes.map((node) => hold(node, seconds)));
  await sleep(SETTLE_MS / 4);
  const pids = nodes.map(({ pid }) => pid);
  const [cpu, bytes] = [cpuSeconds(pids), await mostBytes(nodes)];
  await sleep(ms);
  const percent = (100_000 * (cpuSeconds(pids) - cpu)) / pids.length / ms;
  const kibibytes = ((await mostBytes(nodes)) - bytes) / KIB / (ms / 60_000);
  return { percent, kibibytes };
}

async function hold({ ports }: RunningNode, seconds: number): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/repair/hold`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ seconds }),
  });
  if (!response.ok) throw new Error(`hold: ${response.status} ${await response.text()}`);
}

async function refill(store: Store, device: number, what: string): Promise<Figure[]> {
  const cpu = cpuSeconds(store.pids());
  const seconds = await wipe(store, device);
  return [
    figure(`device wiped, ${what}: until three copies`, 's', seconds),
    figure(`device wiped, ${what}: CPU`, 's', cpuSeconds(store.pids()) - cpu),
  ];
}

/**
 * 99th percentiles of clients beside a refill, as multiples of the undisturbed ones. Those change by half from
 * one minute to the next on a shared machine: they are measured before the refill and after it.
 */
async function underLoad(store: Store, what: string): Promise<Figure[]> {
  const clients = async (name: string): Promise<{ put: number; get: number }> => {
    const plan = { connections: 4, seconds: LOAD_SECONDS, bodyBytes: 4 * KIB, keys: 500 };
    const path = `${store.account}/refill-load/${name}%`;
    const put = await load(planFor(store, { ...plan, method: 'PUT', order: 'sequential', path }));
    const get = await load(planFor(store, { ...plan, method: 'GET', bodyBytes: 0, path }));
    return { put: put.p99Ms, get: get.p99Ms };
  };
  await request(store, 'PUT', '/refill-load');
  const before = await clients('before');
  const [, beside] = await Promise.all([wipe(store, 1), clients('beside')]);
  const after = await clients('after');
  return [
    figure(
      `device wiped, ${what}: PUT p99 beside it, undisturbed 1`,
      'times',
      beside.put / ((before.put + after.put) / 2),
    ),
    figure(
      `device wiped, ${what}: GET p99 beside it, undisturbed 1`,
      'times',
      beside.get / ((before.get + after.get) / 2),
    ),
  ];
}

/** Seconds from the device back in service to three copies of everything. */
async function wipe(store: Store, device: number): Promise<number> {
  const node = nodeOf(store);
  const folder = node.devices[device]!;
  const before = (await deviceAt(node, folder))!;
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true });
  await until(async () => {
    const now = await deviceAt(node, folder);
    return now?.status === 'ok' && now.incarnation !== before.incarnation;
  });
  const startMs = performance.now();
  // The meter counts what differs one by one: it is asked when the device says that it has all.
  await until(async () => {
    const { devices, jobs } = await statusOf(node);
    const entries = devices.find(({ path: at }) => at === folder)?.facts.entries ?? 0;
    const waiting = jobs.find(({ name }) => name === 'object.bodies')?.facts['waiting'] ?? 0;
    return entries >= before.facts.entries && waiting === 0;
  });
  await untilFull(store);
  return (performance.now() - startMs) / 1000;
}

function untilFull(store: Store): Promise<void> {
  const { admin } = nodesOf(store)[0]!.ports;
  return until(async () => {
    const { objects } = (await json(`http://127.0.0.1:${admin}/durability?maxAgeMs=0`)) as {
      objects: { total: number; full: number };
    };
    return objects.total > 0 && objects.full === objects.total;
  });
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + LIMIT_MS;
  while (!(await isSo().catch(() => false))) {
    if (performance.now() > endMs) throw new Error('the cluster did not get there in half an hour');
    await sleep(LOOK_MS);
  }
}

async function deviceAt(node: RunningNode, folder: string) {
  const { devices } = await statusOf(node);
  return devices.find((device) => device.path === folder);
}

async function statusOf({ ports }: RunningNode): Promise<NodeStatus> {
  return (await json(`http://127.0.0.1:${ports.admin}/status`)) as NodeStatus;
}

/** How long dd takes, or would take, to write as much beside the cluster's data, synced. */
function ddSeconds({ folder }: Store, bytes: number): number {
  const file = path.join(folder!, 'dd');
  const written = Math.min(bytes, MOST_DD_BYTES);
  const args = [`of=${file}`, 'if=/dev/zero', 'bs=1M', `count=${Math.round(written / KIB ** 2)}`];
  const startMs = performance.now();
  execFileSync('dd', [...args, 'conv=fdatasync'], { stdio: 'ignore' });
  const seconds = (performance.now() - startMs) / 1_000;
  rmSync(file);
  return (seconds * bytes) / written;
}

/** Of the pair of nodes that has said most so far. */
async function mostBytes(nodes: readonly RunningNode[]): Promise<number> {
  let most = 0;
  for (const node of nodes) {
    const { connections } = (await statusOf(node)).wire;
    for (const same of Map.groupBy(connections, ({ peer }) => peer).values()) {
      const bytes = same.reduce((sum, { bytesIn, bytesOut }) => sum + bytesIn + bytesOut, 0);
      most = Math.max(most, bytes);
    }
  }
  return most;
}

async function json(url: string): Promise<unknown> {
  const response = await fetch(url);
  return response.json();
}

function nodesOf({ folder }: Store): RunningNode[] {
  if (folder === undefined) throw new Error('only a cluster of "anello up" can be looked into');
  return JSON.parse(readFileSync(path.join(folder, 'nodes.json'), 'utf8')) as RunningNode[];
}

function nodeOf(store: Store): RunningNode {
  return nodesOf(store).find(({ name }) => name === VICTIM)!;
}

function blobBytes(folder: string): number {
  const files = readdirSync(path.join(folder, 'blobs'), { withFileTypes: true, recursive: true });
  const sizes = files
    .filter((file) => file.isFile())
    .map((file) => sizeOf(file.parentPath, file.name));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function sizeOf(folder: string, name: string): number {
  return statSync(path.join(folder, name)).size;
}

function figure(name: string, unit: string, value: number): Figure {
  return { name, unit, better: 'less', value, errors: 0 };
}
