/** The auditor of a node among others: damage is found without a read, and mended by the replicas. */
import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { Auditor } from '#object/auditor.ts';
import { JobRunner } from '#worker/runner.ts';
import {
  collect,
  objectName,
  patternBytes,
  putRequest,
  TestCluster,
} from './testing/test-cluster.ts';

const BODY = 20_000;
const HOUR_MS = 3_600_000;

async function filled(options: ConstructorParameters<typeof TestCluster>[0] = {}) {
  const cluster = await TestCluster.start(options);
  await cluster.createContainer();
  for (let n = 0; n < 8; n++) {
    const request = putRequest(patternBytes(n === 0 ? 1_500_000 : BODY, n));
    await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(`o${n}`), request));
  }
  return cluster;
}

function auditorOf(cluster: TestCluster, node: string): Auditor {
  return cluster.node(node).service.auditor;
}

/** A byte of the body as it lies on the disk of a node. */
async function flipBody(cluster: TestCluster, node: string, object: string): Promise<void> {
  const { env, machine } = cluster.node(node);
  const number = Number(object.slice(1));
  const needle = patternBytes(BODY, number).subarray(5_000, 5_100);
  const log = await cluster.run(env.disk.read('/d1/log/00000001.seg'));
  const at = log.indexOf(needle);
  expect(at).toBeGreaterThan(0);
  machine.disk.flipByte('/d1/log/00000001.seg', at + 7);
}

async function flipBlob(cluster: TestCluster, node: string): Promise<void> {
  const { env, machine } = cluster.node(node);
  const [folder] = await cluster.run(env.disk.list('/d1/blobs'));
  const [name] = await cluster.run(env.disk.list(`/d1/blobs/${folder}`));
  machine.disk.flipByte(`/d1/blobs/${folder}/${name}`, 700_000);
}

async function read(cluster: TestCluster, object: string, node = 'lngs'): Promise<Buffer> {
  const { proxy } = cluster.node(node);
  const reader = await cluster.run(proxy.openObject(cluster.operation(), objectName(object)));
  return cluster.run(collect(reader!.read(0, reader!.length)));
}

describe('the auditor', () => {
  it('finds damage that nobody reads, and a good body comes from another replica at once', async () => {
    const cluster = await filled({ runJobs: true });
    await flipBody(cluster, 'bari', 'o3');
    await flipBlob(cluster, 'bari');
    const auditor = auditorOf(cluster, 'bari');
    auditor.run(undefined);
    await cluster.world.runFor(10_000);
    expect(auditor.facts()['found']).toBe(2);
    for (const object of ['o0', 'o3']) {
      const entry = cluster.device('bari').stat(cluster.keyOf(object))!;
      expect(entry.hasBody).toBe(true);
      const body = collect(cluster.device('bari').read(entry, { start: 0, end: 2_000_000 }));
      const salt = Number(object.slice(1));
      const length = salt === 0 ? 1_500_000 : BODY;
      expect((await cluster.run(body)).equals(patternBytes(length, salt))).toBe(true);
    }
    expect(cluster.device('bari').facts().quarantined).toBe(2);
    expect(await cluster.run(cluster.device('bari').quarantined.clear())).toBe(2);
    expect(cluster.device('bari').facts().quarantined).toBe(0);
  });

  it('reads a small device evenly in a 30th of its cycle, then rests; all of it was verified', async () => {
    const cluster = await filled();
    const device = cluster.device('padova');
    const { env } = cluster.node('padova');
    const auditor = new Auditor(env, () => new Map([[device.id, device]]), {
      cycleMs: 30 * HOUR_MS,
    });
    const runner = new JobRunner(env, auditor);
    await cluster.world.runFor(HOUR_MS / 2);
    expect(auditor.report(device).share).toBeGreaterThan(0.2);
    expect(auditor.report(device).share).toBeLessThan(0.8);
    await cluster.world.runFor(HOUR_MS);
    const { cycles, totalBytes } = device.audit.facts();
    expect(cycles).toBe(1);
    expect(totalBytes).toBeGreaterThan(1_600_000);
    const report = auditor.report(device);
    expect(report.rate).toBeCloseTo((totalBytes * 1000) / HOUR_MS);
    expect(report.urgent).toBe(false);
    expect(report.verifiedSinceMs).toBeGreaterThan(0);
    await cluster.run(runner.stop());
  });

  it('keeps to the rate that a person sets', async () => {
    const cluster = await filled({ runJobs: true });
    const device = cluster.device('padova');
    const auditor = auditorOf(cluster, 'padova');
    await cluster.run(auditor.setRate(undefined, 200_000));
    await cluster.run(device.audit.restart());
    const { readBytes: before } = device.audit.facts();
    await cluster.world.runFor(5_000);
    const { readBytes, cycles } = device.audit.facts();
    expect(cycles).toBe(0);
    expect(readBytes - before).toBeGreaterThan(700_000);
    expect(readBytes - before).toBeLessThan(2_100_000);
    await cluster.run(auditor.setRate(undefined, undefined));
    const { rate, totalBytes } = auditor.report(device);
    expect(rate).toBeCloseTo((totalBytes * 1000) / (24 * HOUR_MS));
  });

  it('of a device that can not be read leaves the others and the process alone', async () => {
    const cluster = await filled();
    cluster.node('bari').machine.disk.lose('/d1/index.db');
    const auditor = auditorOf(cluster, 'bari');
    auditor.run(undefined);
    for (let i = 0; i < 20; i++) await cluster.run(auditor.step(new AbortController().signal));
    expect(cluster.device('bari').status).toBe('failed');
    const stat = Promise.resolve().then(() => cluster.device('bari').stat(cluster.keyOf('o1')));
    expect(await stat.then(() => 'answered', codeOf)).toBe('device-failed');
    expect((await read(cluster, 'o1')).equals(patternBytes(BODY, 1))).toBe(true);
  });
});
