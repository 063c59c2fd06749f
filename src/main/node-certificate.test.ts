/** Certificates renew themselves: two months of a node's life on virtual time, some of it without an authority. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  certifyNode,
  createCertificateAuthority,
  createRequest,
  newPrivateKey,
} from '#authority/certificates.ts';
import { CERTIFICATE_DAYS } from '#authority/membership.ts';
import { parseNodeConfig } from '#config/node-config.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { AskAuthority } from './authority-client.ts';
import { NodeCertificate } from './node-certificate.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LOOK_HOURS = 4;
const { signal } = new AbortController();
const CLUSTER_ID = 'c'.repeat(32);
const folder = mkdtempSync(path.join(tmpdir(), 'anello-certificate-'));
const file = (name: string): string => path.join(folder, name);
const real = createNodeEnv({ logLevel: 'silent' });
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await real.close();
});

const config = parseNodeConfig(
  JSON.stringify({
    format: 1,
    name: 'bari-1',
    site: 'bari',
    roles: ['storage'],
    data: folder,
    clusterId: CLUSTER_ID,
    wireTls: {
      keyFile: file('node.pem'),
      certificateFile: file('node.pem'),
      authorityFile: file('ca.pem'),
    },
    workerIds: [1],
    listen: {},
    authorities: ['https://first:7600', 'https://second:7600'],
    state: { driver: 'sqlite', path: '-' },
    masterKeyFile: '-',
    authorityKey: '-',
    devices: [],
  }),
);

/** Clock of a simulated machine, files of this one: certificates are read where TLS reads them. */
function nodeOnVirtualTime() {
  const world = new SimWorld({ seed: 7 });
  const { clock, random, log } = world.machine('bari-1').env;
  const nowMs = (): number => clock.wallMicros() / 1000;
  const authority = createCertificateAuthority(CLUSTER_ID, { random, nowMs: nowMs() });
  const certify = (request: string): string => {
    const subject = { clusterId: CLUSTER_ID, name: 'bari-1', site: 'bari', roles: [], hosts: [] };
    return certifyNode(authority, request, subject, {
      random,
      nowMs: nowMs(),
      days: CERTIFICATE_DAYS,
    });
  };
  const key = newPrivateKey();
  writeFileSync(file('node.pem'), key + certify(createRequest(key, 'bari-1')));
  writeFileSync(file('ca.pem'), authority.certificate);
  return { world, env: { clock, log, disk: real.disk }, nowMs, certify };
}

describe('a node’s certificate', () => {
  it('is renewed after two thirds of its month, as soon as any authority answers; no restart', async () => {
    const { world, env, nowMs, certify } = nodeOnVirtualTime();
    const certificate = NodeCertificate.open(config)!;
    const worker = NodeCertificate.open(config)!;
    const startedMs = nowMs();
    let away = false;
    const asked: string[] = [];
    const ask: AskAuthority = async (url, _method, body) => {
      asked.push(url);
      // The first one is gone for good; the second answers unless it is away too.
      if (away || url.startsWith('https://first')) return { status: 503, body: Buffer.alloc(0) };
      const { request } = body as { request: string };
      return { status: 200, body: Buffer.from(JSON.stringify({ certificate: certify(request) })) };
    };
    const renewedOn: number[] = [];
    certificate.renewed(() => renewedOn.push(Math.floor((nowMs() - startedMs) / DAY_MS)));
    let seenByWorker = 0;
    worker.renewed(() => (seenByWorker += 1));
    const [keeper, reader] = [certificate.keeper(env, ask, true), worker.keeper(env, ask, false)];
    const failures: number[] = [];
    for (let hour = 0; hour < 70 * 24; hour += LOOK_HOURS) {
      await world.runFor(LOOK_HOURS * HOUR_MS);
      // From the day on which the second renewal is due, nobody is there for two days.
      away = hour >= 38 * 24 && hour < 42 * 24;
      await keeper.step(signal).catch(() => failures.push(Math.floor(hour / 24)));
      await reader.step(signal);
      expect(certificate.validUntilMs).toBeGreaterThan(nowMs());
    }
    // It counts from twelve hours before it was made, so two thirds are a few hours less than twenty days.
    expect(renewedOn).toEqual([20, 42, 62]);
    expect([failures[0], failures.at(-1)]).toEqual([39, 41]);
    expect(asked.slice(0, 2)).toEqual([
      'https://first:7600/v1/certificate',
      'https://second:7600/v1/certificate',
    ]);
    expect(seenByWorker).toBe(3);
    // Key and certificate of one file belong together.
    expect(readFileSync(file('node.pem'), 'utf8')).toContain(certificate.current.certificate);
    expect(worker.current).toEqual(certificate.current);
  });

  it('is never replaced by what can’t be read', async () => {
    const { world, env } = nodeOnVirtualTime();
    const before = readFileSync(file('node.pem'), 'utf8');
    const certificate = NodeCertificate.open(config)!;
    const answers = ['no JSON', '{"certificate":"-----BEGIN CERTIFICATE-----\\nAAAA\\n"}', '{}'];
    const ask: AskAuthority = async () => ({ status: 200, body: Buffer.from(answers.pop()!) });
    await world.runFor(25 * DAY_MS);
    const keeper = certificate.keeper(env, ask, true);
    for (let n = 0; n < 3; n += 1) await expect(keeper.step(signal)).rejects.toThrow();
    expect(readFileSync(file('node.pem'), 'utf8')).toBe(before);
    expect(answers).toEqual([]);
  });
});
