/** The same device on a real disk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { formatDevice, type LogDevice, openDevice } from './open.ts';
import { bytes, keyOf, pathOf, readAll } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';
import { TableRows } from './testing/table-rows.ts';

let folder: string;
let env: NodeEnv;
let clock: HybridClock;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'anello-device-'));
  env = createNodeEnv({ logLevel: 'silent' });
  clock = new HybridClock({
    workerId: 1,
    wallMicros: () => env.clock.wallMicros(),
    bound: 0,
    reserve: () => undefined,
  });
  await formatDevice(env, folder, { clusterId: 'test', deviceId: 3, name: 'd3', genesis: true });
});

afterEach(async () => {
  await env.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(): Promise<LogDevice> {
  const openRows = (where: string): TableRows => new TableRows(env, where);
  return openDevice(env, folder, {
    clusterId: 'test',
    deviceId: 3,
    clock,
    openRows,
    limits: { inlineLimit: 100_000 },
  });
}

async function put(
  device: LogDevice,
  number: number,
  body: Buffer,
  staged: boolean,
): Promise<string> {
  const at = clock.now();
  const key = keyOf(number);
  const state = {
    data: {
      timestamp: at,
      kind: 'live',
      writeId: at.slice(4),
      clientMicros: 1,
      etag: 'e',
      size: body.length,
      contentType: 'text/plain',
      body: { length: body.length },
    },
    groups: {},
  } as const;
  const common = { key, path: pathOf(number), state, unlisted: true, intent: 'write' } as const;
  if (!staged) return (await device.write({ ...common, body })).kind;
  const stage = await device.stage(key);
  for (let i = 0; i < body.length; i += 65_536) await stage.write(body.subarray(i, i + 65_536));
  await stage.finish();
  return (await device.write({ ...common, body: stage })).kind;
}

describe('a device on a real disk', () => {
  it('keeps many small and some large objects across a restart and a rebuild', async () => {
    const first = await open();
    const small = Array.from({ length: 500 }, (_, n) =>
      put(first, n, bytes(1000 + n, n), n % 3 === 0),
    );
    const large = [600, 601].map((n) => put(first, n, bytes(1_500_000, n), true));
    expect(new Set(await Promise.all([...small, ...large]))).toEqual(new Set(['stored']));
    await first.close();
    for (const lost of [false, true]) {
      if (lost) rmSync(path.join(folder, 'index.db'));
      const device = await open();
      expect(device.opened.rebuilt).toBe(lost);
      expect(device.facts().entries).toBe(502);
      for (const n of [0, 1, 250, 499]) {
        expectBytes(await readAll(device, device.stat(keyOf(n))!), bytes(1000 + n, n));
      }
      for (const n of [600, 601])
        expectBytes(await readAll(device, device.stat(keyOf(n))!), bytes(1_500_000, n));
      await device.close();
    }
  });

  it('wiped under the running process goes out of service instead of acknowledging', async () => {
    const device = await open();
    await put(device, 1, bytes(10), false);
    rmSync(folder, { recursive: true });
    expect(await put(device, 2, bytes(10), false).catch(codeOf)).toBe('device-missing');
    expect(device.status).toBe('missing');
    await device.close();
    expect(await open().then(() => 'open', codeOf)).toBe('device-blank');
  });
});
