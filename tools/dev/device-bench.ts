/**
 * How fast one device is in one process: `node tools/dev/device-bench.ts [FOLDER] [SECONDS]`.
 *
 * Durable 4 KiB writes by 32 writers (two keys' worth of states each time new), reads of what was
 * written (stat and readSmall), and staged bodies of 1 GiB in all. CPU is the whole process's, with its
 * threads. The folder must be on the disk that is to be measured; it is removed afterwards.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EntryState } from '../../src/base/entry.ts';
import { HybridClock } from '../../src/base/hybrid-clock.ts';
import { formatDevice, type LogDevice, openDevice } from '../../src/device/open.ts';
import { TableRows } from '../../src/device/testing/table-rows.ts';
import { createNodeEnv } from '../../src/env/node/node-env.ts';

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'anello-device-bench-'));
const seconds = Number(process.argv[3] ?? 4);
const WRITERS = 32;
const env = createNodeEnv({ logLevel: 'warn' });
const clock = new HybridClock({
  workerId: 1,
  wallMicros: () => env.clock.wallMicros(),
  bound: 0,
  reserve: () => undefined,
});
const hashes: Buffer[] = [];

function liveState(length: number): EntryState {
  const timestamp = clock.now();
  return {
    data: {
      timestamp,
      kind: 'live',
      writeId: env.random.bytes(8).toString('hex'),
      clientMicros: env.clock.wallMicros(),
      etag: '0123456789abcdef0123456789abcdef',
      size: length,
      contentType: 'application/octet-stream',
      body: { length },
    },
    groups: { user: { timestamp, values: { color: 'blue' } } },
  };
}

async function measure(
  name: string,
  work: () => Promise<{ count: number; bytes: number }>,
): Promise<void> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const { count, bytes } = await work();
  const elapsed = (performance.now() - start) / 1000;
  const used = process.cpuUsage(cpu);
  const cpuMicros = used.user + used.system;
  const share = Math.round((100 * used.system) / cpuMicros);
  const rate = Math.round(count / elapsed);
  const megabytes = (bytes / elapsed / 1e6).toFixed(0);
  const each = (cpuMicros / count).toFixed(1);
  console.log(
    `${name}: ${rate}/s, ${megabytes} MB/s, ${each} us of CPU each, ${(cpuMicros / 1e6).toFixed(2)} s in all, ${share} % of it the kernel's`,
  );
}

async function writes(
  device: LogDevice,
  forSeconds: number,
): Promise<{ count: number; bytes: number }> {
  const body = env.random.bytes(4096);
  const end = performance.now() + forSeconds * 1000;
  let count = 0;
  const writer = async (): Promise<void> => {
    while (performance.now() < end) {
      const hash = env.random.bytes(16);
      const path = `/AUTH_demo/photos/${hash.toString('hex')}`;
      const state = liveState(body.length);
      const request = {
        key: { policy: 0, hash },
        path,
        state,
        body,
        unlisted: true,
        intent: 'write',
      } as const;
      await device.write(request);
      device.markListed(request.key, state.data!.timestamp);
      if (hashes.length < 100_000) hashes.push(hash);
      count++;
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  return { count, bytes: count * body.length };
}

async function reads(device: LogDevice, spread: number): Promise<{ count: number; bytes: number }> {
  const end = performance.now() + 2000;
  let count = 0;
  let bytes = 0;
  while (performance.now() < end) {
    for (let i = 0; i < 1000; i++) {
      const hash = hashes[Math.floor(Math.random() * Math.min(spread, hashes.length))]!;
      const entry = device.stat({ policy: 0, hash })!;
      const body = device.readSmall(entry);
      if (body === undefined) {
        for await (const part of device.read(entry, { start: 0, end: 4096 })) bytes += part.length;
      } else bytes += body.length;
      count++;
    }
    await new Promise(setImmediate);
  }
  return { count, bytes };
}

const LARGE_BYTES = 1024 ** 3;
const largeKey = { policy: 0, hash: env.random.bytes(16) };

async function upload(
  device: LogDevice,
  parallel: number,
): Promise<{ count: number; bytes: number }> {
  const chunk = env.random.bytes(65_536);
  const each = LARGE_BYTES / parallel;
  const one = async (number: number): Promise<void> => {
    const key = number === 0 ? largeKey : { policy: 0, hash: env.random.bytes(16) };
    const stage = await device.stage(key);
    for (let done = 0; done < each; done += chunk.length) await stage.write(chunk);
    await stage.finish();
    const path = `/AUTH_demo/photos/large-${number}`;
    await device.write({
      key,
      path,
      state: liveState(each),
      body: stage,
      unlisted: true,
      intent: 'write',
    });
  };
  await Promise.all(Array.from({ length: parallel }, (_, i) => one(i)));
  return { count: parallel, bytes: LARGE_BYTES };
}

async function download(device: LogDevice): Promise<{ count: number; bytes: number }> {
  const entry = device.stat(largeKey)!;
  let bytes = 0;
  for await (const part of device.read(entry, { start: 0, end: entry.state.data!.size }))
    bytes += part.length;
  return { count: 1, bytes };
}

try {
  await formatDevice(env, folder, { clusterId: 'bench', deviceId: 1, name: 'd1', genesis: true });
  const options = {
    clusterId: 'bench',
    deviceId: 1,
    clock,
    openRows: (folder: string) => new TableRows(env, folder),
  };
  let device = await openDevice(env, folder, options);
  await measure('(warming up)', () => writes(device, 1));
  await measure('write 4 KiB, 32 writers', () => writes(device, seconds));
  const { commits, syncs } = device.facts();
  console.log(`  ${commits} commits, ${syncs} syncs`);
  await reads(device, 100);
  await measure('stat and read 4 KiB, 1,000 objects', () => reads(device, 1000));
  await measure('stat and read 4 KiB, all objects', () => reads(device, 100_000));
  await measure('upload 1 GiB', () => upload(device, 1));
  await measure('download 1 GiB', () => download(device));
  await measure('upload 1 GiB in 8 bodies at once', () => upload(device, 8));
  let start = performance.now();
  await device.close();
  console.log(`close: ${Math.round(performance.now() - start)} ms`);
  start = performance.now();
  device = await openDevice(env, folder, options);
  console.log(
    `open: ${Math.round(performance.now() - start)} ms, ${device.facts().entries} entries`,
  );
  await device.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
  await env.close();
}
