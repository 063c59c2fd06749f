/** What is measured, as the table names it. Each case runs on each store in turn. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadPlan, LoadResult } from './load.ts';
import type { PartsPlan } from './parts.ts';
import { presigned } from './presigned.ts';
import { cpuSeconds, pssBytes } from './procfs.ts';
import { fillRows } from './rows.ts';
import type { Store } from './store.ts';
import type { ThrottledPlan } from './throttled.ts';

export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** More is better, or less is. */
  readonly better: 'more' | 'less';
  readonly value: number;
  readonly cpuMsEach?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly errors: number;
}

const LOAD = fileURLToPath(new URL('./load.ts', import.meta.url));
const PARTS = fileURLToPath(new URL('./parts.ts', import.meta.url));
const THROTTLED = fileURLToPath(new URL('./throttled.ts', import.meta.url));
const KEYS = 2000;
const CONTAINER = 'bench';

export async function load(plan: LoadPlan): Promise<LoadResult> {
  return JSON.parse(await output(LOAD, plan));
}

/** What a load program prints. */
function output(program: string, plan: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, JSON.stringify(plan)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`load ended with ${code}`)),
    );
  });
}

type Variation = Partial<LoadPlan> & Pick<LoadPlan, 'method'>;

export function planFor(store: Store, variation: Variation): LoadPlan {
  return {
    host: store.url.hostname,
    port: Number(store.url.port),
    connections: 16,
    seconds: 8,
    path: `${store.account}/${CONTAINER}/k%`,
    keys: KEYS,
    order: 'random',
    bodyBytes: 0,
    ...variation,
    headers: { 'X-Auth-Token': store.token, ...variation.headers },
  };
}

/** Runs load and gives requests per second with the servers' CPU beside it. */
export async function rate(store: Store, name: string, variation: Variation): Promise<Figure> {
  const pids = store.pids();
  const before = cpuSeconds(pids);
  const result = await load(planFor(store, variation));
  const cpu = cpuSeconds(pids) - before;
  return {
    name,
    unit: '/s',
    better: 'more',
    value: result.perSecond,
    cpuMsEach: (cpu * 1000) / Math.max(1, result.requests),
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    errors: result.errors,
  };
}

export async function request(store: Store, method: string, path: string): Promise<number> {
  const response = await fetch(new URL(store.account + path, store.url), {
    method,
    headers: { 'X-Auth-Token': store.token },
  });
  await response.arrayBuffer();
  return response.status;
}

/** Fills k0000000 .. with objects of one size. */
export async function preload(
  store: Store,
  container: string,
  count: number,
  bodyBytes: number,
): Promise<void> {
  await request(store, 'PUT', `/${container}`);
  const connections = 16;
  const each = Math.ceil(count / connections);
  const result = await load(
    planFor(store, {
      method: 'PUT',
      bodyBytes,
      connections,
      order: 'sequential',
      requests: each,
      seconds: 3600,
      path: `${store.account}/${container}/k%`,
    }),
  );
  if (result.errors > 0) throw new Error(`${store.name}: preload had ${result.errors} errors`);
}

export type Case = (store: Store) => Promise<Figure[]>;

const KIB4 = 4096;
const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export const smallObjects: Case = async (store) => {
  const figures: Figure[] = [];
  await request(store, 'PUT', `/${CONTAINER}`);
  await load(
    planFor(store, {
      method: 'PUT',
      bodyBytes: KIB4,
      order: 'sequential',
      seconds: 3,
      path: `${store.account}/${CONTAINER}/warm%`,
    }),
  );
  for (const connections of [1, 16, 64]) {
    const path = `${store.account}/${CONTAINER}/put${connections}-%`;
    figures.push(
      await rate(store, `PUT 4 KiB, ${connections}`, {
        method: 'PUT',
        bodyBytes: KIB4,
        connections,
        order: 'sequential',
        path,
      }),
    );
  }
  await preload(store, CONTAINER, KEYS, KIB4);
  for (const connections of [1, 16, 64]) {
    figures.push(await rate(store, `GET 4 KiB, ${connections}`, { method: 'GET', connections }));
  }
  figures.push(await rate(store, 'HEAD, 16', { method: 'HEAD' }));
  figures.push(await deletes(store));
  return figures;
};

/** Deletes need something to delete: as many as the time is likely to take, no more. */
async function deletes(store: Store): Promise<Figure> {
  const probe = await load(
    planFor(store, {
      method: 'DELETE',
      order: 'sequential',
      seconds: 1,
      path: `${store.account}/${CONTAINER}/warm%`,
    }),
  );
  const count = Math.min(40_000, Math.ceil(probe.perSecond * 5));
  await preload(store, `${CONTAINER}-deletes`, count, 0);
  return rate(store, 'DELETE, 16', {
    method: 'DELETE',
    order: 'sequential',
    seconds: 60,
    requests: Math.floor(count / 16),
    path: `${store.account}/${CONTAINER}-deletes/k%`,
  });
}

export const mediumObjects: Case = async (store) => {
  await request(store, 'PUT', '/bench-1m');
  const path = `${store.account}/bench-1m/k%`;
  const put = await rate(store, 'PUT 1 MiB, 8', {
    method: 'PUT',
    bodyBytes: MIB,
    connections: 8,
    order: 'sequential',
    path,
  });
  const keys = Math.max(1, Math.floor(put.value * 4));
  const get = await rate(store, 'GET 1 MiB, 8', {
    method: 'GET',
    connections: 8,
    keys: Math.min(keys, 100),
    path,
  });
  return [put, get];
};

export const largeObject: Case = async (store) => {
  await request(store, 'PUT', '/bench-1g');
  const path = `${store.account}/bench-1g/big`;
  const one = { connections: 1, requests: 1, seconds: 600, path };
  const put = await rate(store, 'PUT 1 GiB', { ...one, method: 'PUT', bodyBytes: GIB });
  const get = await rate(store, 'GET 1 GiB', { ...one, method: 'GET' });
  return [put, get].map((figure) => ({
    ...figure,
    unit: 'MB/s',
    value: (figure.value * GIB) / 1e6,
  }));
};

/** 1 GiB through S3's API, in parts with checksums in their trailers; plain, and encrypted by default. */
export const uploadInParts: Case = async (store) => {
  if (store.s3 === undefined) return [];
  const figures: Figure[] = [];
  for (const encrypts of [false, true]) {
    const bucket = encrypts ? 'bench-parts-encrypted' : 'bench-parts';
    await request(store, 'PUT', `/${bucket}`);
    const before = cpuSeconds(store.pids());
    const plan: PartsPlan = {
      ...{ host: store.url.hostname, port: Number(store.url.port), keys: store.s3 },
      ...{ bucket, encrypts, parts: GIB / PART, partBytes: PART, atOnce: 4 },
    };
    const seconds = Number(await output(PARTS, plan));
    figures.push({
      ...{ name: `S3 PUT 1 GiB in parts of 16 MiB${encrypts ? ', encrypted' : ''}`, unit: 'MB/s' },
      ...{ better: 'more', value: GIB / 1e6 / seconds, errors: 0 },
      cpuMsEach: (cpuSeconds(store.pids()) - before) * 1000,
    });
  }
  return figures;
};

const PART = 16 * MIB;

/** `sizes`: how many objects the containers hold. */
export function listings(sizes: readonly number[]): Case {
  return async (store) => {
    const figures: Figure[] = [];
    for (const size of sizes) {
      const container = `list-${size}`;
      await fillListing(store, container, size);
      const path = `${store.account}/${container}?format=json&limit=10000`;
      const full = await rate(store, `list 10,000 of ${size.toLocaleString('en')}`, {
        method: 'GET',
        connections: 1,
        path,
      });
      figures.push({ ...full, unit: 'ms', better: 'less', value: full.p50Ms ?? 0 });
      const page = `${store.account}/${container}?format=json&limit=100&marker=k%`;
      for (const connections of [1, 16]) {
        figures.push(
          await rate(store, `page of 100 of ${size.toLocaleString('en')}, ${connections}`, {
            method: 'GET',
            connections,
            path: page,
            keys: size,
          }),
        );
      }
      figures.push(...(await s3Listings(store, container, size)));
    }
    return figures;
  };
}

/** A peer, whose rows can't be written without their objects, takes its time. */
async function fillListing(store: Store, container: string, size: number): Promise<void> {
  if (store.folder === undefined) return await preload(store, container, size, 0);
  await request(store, 'PUT', `/${container}`);
  const account = store.account.slice(store.account.lastIndexOf('/'));
  await fillRows(store.folder, `${account}/${container}`, size);
  // Checkpoints and digests of so many rows at once are not what is measured.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

const SETTLE_MS = 15_000;

/**
 * ListObjectsV2 from the middle. Keys are numbers, so a digit as the delimiter gives keys and common
 * prefixes of one, ten and a hundred keys, mixed.
 */
async function s3Listings(store: Store, bucket: string, size: number): Promise<Figure[]> {
  if (store.s3 === undefined) return [];
  const middle = `k${String(Math.floor(size / 2.5)).padStart(7, '0')}`;
  const figures: Figure[] = [];
  for (const [what, more] of [
    ['', ''],
    [' by a delimiter', '&delimiter=5'],
  ]) {
    const target = `/${bucket}?list-type=2&max-keys=1000&start-after=${middle}${more}`;
    const name = `S3 list 1,000${what} of ${size.toLocaleString('en')}`;
    const path = presigned(store.s3, store.url.host, target);
    const figure = await rate(store, name, { method: 'GET', connections: 1, path });
    figures.push({ ...figure, unit: 'ms', better: 'less', value: figure.p50Ms ?? 0 });
  }
  return figures;
}

export const idleMemory: Case = async (store) => {
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return [
    {
      name: 'memory idle (PSS)',
      unit: 'MB',
      better: 'less',
      value: pssBytes(store.pids()) / 1e6,
      errors: 0,
    },
  ];
};

const SAMPLE_MS = 2000;

/** 100 uploads of 1 MB/s each for a minute: the most memory seen above what was there before. */
export const throttledUploads: Case = async (store) => {
  await request(store, 'PUT', '/bench-slow');
  const before = pssBytes(store.pids());
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, pssBytes(store.pids()) - before);
  }, SAMPLE_MS);
  const plan: ThrottledPlan = {
    host: store.url.hostname,
    port: Number(store.url.port),
    uploads: 100,
    bytesPerSecond: 1_000_000,
    seconds: 60,
    path: `${store.account}/bench-slow/k`,
    token: store.token,
  };
  const stored = Number(await output(THROTTLED, plan));
  clearInterval(timer);
  return [
    {
      name: '100 uploads of 1 MB/s: memory added',
      unit: 'MB',
      better: 'less',
      value: most / 1e6,
      errors: plan.uploads - stored,
    },
  ];
};
