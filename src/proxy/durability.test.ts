/** The durability meter: what it counts is what is there, whoever is away, wiped or damaged. */
import { describe, expect, it } from 'vitest';
import type { DurabilityReport } from '#object/durability-report.ts';
import { objectName, putRequest, TestCluster } from './testing/test-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'padova-2'];

/** Like no other body anywhere, so that it is found on the disk. */
function bodyOf(length: number, salt: number): Buffer {
  const body = Buffer.allocUnsafe(length);
  let state = salt + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    body[i] = state >>> 16;
  }
  return body;
}

async function filled(objects = 30, options: ConstructorParameters<typeof TestCluster>[0] = {}) {
  const cluster = await TestCluster.start({ sites: SITES, ...options });
  await cluster.createContainer();
  for (let n = 0; n < objects; n++) await put(cluster, n);
  await cluster.world.runFor(25_000);
  return cluster;
}

async function put(cluster: TestCluster, n: number): Promise<void> {
  const request = putRequest(bodyOf(n === 0 ? 1_500_000 : 3_000 + n, n));
  await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(`o${n}`), request));
}

function measure(cluster: TestCluster, node = 'lngs'): Promise<DurabilityReport> {
  return cluster.run(cluster.node(node).service.durability.report());
}

/** Damages the body of a small object, and makes the device notice it. Nothing mends it. */
async function damage(cluster: TestCluster, node: string, n: number): Promise<void> {
  const { env, machine, service } = cluster.node(node);
  await cluster.run(service.close());
  const log = await cluster.run(env.disk.read('/d1/log/00000001.seg'));
  const at = log.indexOf(bodyOf(3_000 + n, n).subarray(500, 600));
  expect(at).toBeGreaterThan(0);
  machine.disk.flipByte('/d1/log/00000001.seg', at);
  const device = cluster.device(node);
  expect(() => device.readSmall(device.stat(cluster.keyOf(`o${n}`))!)).toThrow();
}

const COUNTS = { missing1: 0, missing2: 0, lost: 0, unreachable: 0 };

describe('the durability meter', () => {
  it('counts every object once, and says how fresh that is', async () => {
    const cluster = await filled();
    const report = await measure(cluster);
    expect(Object.keys(report).sort()).toEqual(
      ['asOf', 'byPolicy', 'bySite', 'handoffs', 'objects', 'repairDoneAt', 'verifiedSince'].sort(),
    );
    expect(report.objects).toEqual({ ...COUNTS, total: 30, full: 30 });
    expect(report.byPolicy['standard']).toMatchObject({ copies: { 3: 30 }, sites: { 3: 30 } });
    expect(report.bySite['bari']).toMatchObject({ copies: 30, missing: 0 });
    expect(report).toMatchObject({ handoffs: 0, verifiedSince: null, repairDoneAt: null });
    expect(Date.parse(report.asOf)).toBeGreaterThan(0);
  });

  it('is the same whoever is asked, and after overwrites and deletions', async () => {
    const cluster = await filled(12);
    await put(cluster, 5);
    for (const n of [1, 2]) {
      await cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName(`o${n}`)));
    }
    await cluster.world.runFor(25_000);
    for (const node of SITES) {
      expect((await measure(cluster, node)).objects).toEqual({ ...COUNTS, total: 10, full: 10 });
    }
  });

  it('costs one sum per device where nothing has changed', async () => {
    const cluster = await filled();
    const { durability } = cluster.node('lngs').service;
    const first = await measure(cluster);
    await cluster.world.runFor(1_000);
    const second = await measure(cluster);
    expect(durability).toMatchObject({ counted: 1, reused: 1 });
    expect(Date.parse(second.asOf)).toBeGreaterThan(Date.parse(first.asOf));
    await put(cluster, 40);
    await cluster.world.runFor(25_000);
    expect((await measure(cluster)).objects.total).toBe(31);
    expect(durability.counted).toBe(2);
  });

  it('a damaged copy is one short until it is mended', async () => {
    const cluster = await filled();
    await damage(cluster, 'bari', 7);
    expect((await measure(cluster)).objects).toMatchObject({ total: 30, full: 29, missing1: 1 });
    await damage(cluster, 'padova', 7);
    const worse = await measure(cluster);
    expect(worse.objects).toMatchObject({ total: 30, full: 29, missing2: 1 });
    expect(worse.byPolicy['standard']).toMatchObject({ copies: { 1: 1, 3: 29 } });
    for (const node of ['bari', 'padova']) {
      cluster.kill(node);
      await cluster.restart(node);
      const { auditor } = cluster.node(node).service;
      auditor.run(undefined);
      for (let i = 0; i < 20; i++) await cluster.run(auditor.step(new AbortController().signal));
      await cluster.runJob(node, 'object.bodies');
    }
    await cluster.world.runFor(30_000);
    expect((await measure(cluster)).objects).toEqual({ ...COUNTS, total: 30, full: 30 });
  });

  it('is counted anew where a device has mended one body and lost another', async () => {
    const cluster = await filled();
    await damage(cluster, 'bari', 3);
    await damage(cluster, 'padova', 4);
    expect((await measure(cluster)).objects).toMatchObject({ full: 28, missing1: 2 });
    const device = cluster.device('bari');
    const { key, path, state } = device.stat(cluster.keyOf('o3'))!;
    const body = bodyOf(3_003, 3);
    await cluster.run(device.write({ key, path, state, body, unlisted: false, intent: 'join' }));
    await damage(cluster, 'bari', 4);
    expect((await measure(cluster)).objects).toMatchObject({ full: 29, missing2: 1 });
  });

  it('the last good copy quarantined is lost', async () => {
    const cluster = await filled();
    for (const node of ['lngs', 'bari', 'padova']) await damage(cluster, node, 9);
    expect((await measure(cluster)).objects).toMatchObject({ total: 30, full: 29, lost: 1 });
  });

  it('a silent device has no good copies; who answers for none is unreachable, not lost', async () => {
    const cluster = await filled();
    await measure(cluster);
    cluster.kill('bari');
    const one = await measure(cluster);
    expect(one.objects).toEqual({ ...COUNTS, total: 30, full: 0, missing1: 30 });
    expect(one.bySite).toMatchObject({ bari: { copies: 0, missing: 30 }, lngs: { copies: 30 } });
    cluster.kill('padova');
    expect((await measure(cluster)).objects).toEqual({
      ...COUNTS,
      total: 30,
      full: 0,
      missing2: 30,
    });
    // All primaries away: those that were counted before are still known.
    await measure(cluster, 'padova-2');
    cluster.kill('lngs');
    expect((await measure(cluster, 'padova-2')).objects).toEqual({
      ...COUNTS,
      total: 30,
      full: 0,
      unreachable: 30,
    });
    await cluster.restart('bari');
    await cluster.world.runFor(20_000);
    expect((await measure(cluster, 'padova-2')).objects).toMatchObject({ missing2: 30 });
  });

  it("a stand-in's copy is a good copy, and a handoff until it is home", async () => {
    const cluster = await filled(4);
    cluster.kill('bari');
    await cluster.world.runFor(20_000);
    await put(cluster, 20);
    await cluster.world.runFor(25_000);
    const away = await measure(cluster);
    expect(away.objects).toMatchObject({ total: 5, full: 1, missing1: 4 });
    expect(away.handoffs).toBe(1);
    expect(away.byPolicy['standard']).toMatchObject({ sites: { 2: 5 } });
    await cluster.restart('bari');
    await cluster.world.runFor(15_000);
    await cluster.runJob('padova-2', 'object.handover');
    await cluster.world.runFor(3_000);
    await cluster.runJob('padova-2', 'object.handover');
    const home = await measure(cluster);
    expect(home.handoffs).toBe(0);
    expect(home.objects).toEqual({ ...COUNTS, total: 5, full: 5 });
  });

  it('counts against the copies of the policy: a witness keeps no body', async () => {
    const cluster = await filled(10, { copies: 2 });
    const report = await measure(cluster);
    expect(report.objects).toEqual({ ...COUNTS, total: 10, full: 10 });
    expect(report.byPolicy['standard']).toMatchObject({ copies: { 2: 10 } });
    cluster.kill('padova'); // the witness
    expect((await measure(cluster)).objects).toMatchObject({ full: 10 });
    cluster.kill('bari');
    expect((await measure(cluster)).objects).toMatchObject({ missing1: 10 });
  });

  it('stale copies do not count, and what is being written is not counted yet', async () => {
    const cluster = await filled(6);
    cluster.kill('bari');
    await put(cluster, 3);
    await cluster.restart('bari');
    const young = await measure(cluster);
    expect(young.objects.total).toBe(5);
    await cluster.world.runFor(25_000);
    const { objects, handoffs } = await measure(cluster);
    expect(objects.total).toBe(6);
    expect(objects.full + objects.missing1).toBe(6);
    expect(objects.missing1).toBe(handoffs === 0 ? 1 : 0);
  });

  it('says since when everything was verified once every device was audited', async () => {
    const cluster = await filled(3, { runJobs: true });
    expect((await measure(cluster)).verifiedSince).toBeNull();
    const since = cluster.node('lngs').env.clock.wallMicros() / 1000;
    for (const node of SITES) cluster.node(node).service.auditor.run(undefined);
    await cluster.world.runFor(90_000);
    const { verifiedSince, bySite } = await measure(cluster);
    expect(Date.parse(verifiedSince!)).toBeGreaterThanOrEqual(Math.floor(since));
    expect(bySite['lngs']!.verified).toBe(1);
  });

  it('tells when a refill will be done, by what was mended in the last minute', async () => {
    const cluster = await filled(30);
    for (let n = 3; n < 30; n++) await damage(cluster, 'bari', n);
    expect((await measure(cluster)).repairDoneAt).toBeNull();
    // Two thirds come again.
    const device = cluster.device('bari');
    for (let n = 3; n < 21; n++) {
      const { key, path, state } = device.stat(cluster.keyOf(`o${n}`))!;
      const body = bodyOf(3_000 + n, n);
      await cluster.run(device.write({ key, path, state, body, unlisted: false, intent: 'join' }));
    }
    await cluster.world.runFor(10_000);
    const { repairDoneAt, asOf, objects } = await measure(cluster);
    expect(objects.missing1).toBe(9);
    expect((Date.parse(repairDoneAt!) - Date.parse(asOf)) / 1000).toBeCloseTo(5, 0);
  });
});
