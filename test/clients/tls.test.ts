/** HTTPS: one client of each API over `npm start -- --tls`, and a certificate renewed without a restart. */
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certifyServer, createRequest, newPrivateKey } from '#authority/certificates.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Cluster, sleep } from '../cluster/cluster.ts';
import { loginOf, must } from './openstack-env.ts';
import { has } from './program.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'anello-tls-'));
const file = path.join(folder, 'file');
let cluster: Cluster;
let authority = '';

beforeAll(async () => {
  writeFileSync(file, 'over TLS');
  cluster = await Cluster.start(['--tls']);
  authority = path.join(cluster.folder, 'grid', 'certificates', 'demo-ca.pem');
}, 60_000);
afterAll(async () => {
  await cluster?.stopAndRemove();
  rmSync(folder, { recursive: true, force: true });
});

describe('clients over HTTPS', { timeout: 60_000 }, () => {
  it.skipIf(!has('swift'))('python-swiftclient, by v1 and by Keystone', async () => {
    const { auth, user, key } = cluster.access.swift;
    expect(auth).toMatch(/^https:/);
    const v1 = ['--os-cacert', authority, '-A', auth, '-U', user, '-K', key];
    await must('swift', [...v1, 'upload', 'box', file, '--object-name', 'o'], {});
    const login = { ...loginOf(cluster.access.keystone), OS_CACERT: authority };
    expect(await must('swift', ['download', 'box', 'o', '-o', '-'], login)).toBe('over TLS');
  });

  it.skipIf(!has('openstack'))('python-openstackclient', async () => {
    const login = { ...loginOf(cluster.access.keystone), OS_CACERT: authority };
    expect(await must('openstack', ['token', 'issue', '-f', 'value', '-c', 'id'], login)).not.toBe(
      '',
    );
  });

  it.skipIf(!has('aws'))('awscli', async () => {
    const { endpoints, accessKey, secretKey } = cluster.access.s3;
    const login = {
      AWS_ACCESS_KEY_ID: accessKey,
      AWS_SECRET_ACCESS_KEY: secretKey,
      AWS_DEFAULT_REGION: 'lngs',
      AWS_CA_BUNDLE: authority,
    };
    const aws = (...args: string[]) =>
      must('aws', ['--endpoint-url', endpoints[0]!, ...args], login);
    await aws('s3', 'mb', 's3://bucket');
    await aws('s3', 'cp', file, 's3://bucket/o');
    expect(await aws('s3', 'cp', 's3://bucket/o', '-')).toBe('over TLS');
  });

  it('a renewed certificate is in force within seconds, one that does not fit is not taken', async () => {
    const env = createNodeEnv({ logLevel: 'silent' });
    const grid = (name: string): string => path.join(cluster.folder, 'grid', name);
    const before = await serialOf();
    const ca = {
      key: readFileSync(grid('demo-ca.key'), 'utf8'),
      certificate: readFileSync(authority, 'utf8'),
    };
    const key = newPrivateKey();
    const nowMs = env.clock.wallMicros() / 1000;
    const issuance = { random: env.random, nowMs, days: 2 };
    const request = createRequest(key, 'localhost');
    const next = certifyServer(ca, request, ['localhost', '127.0.0.1'], issuance);
    copyFileSync(grid('host.pem'), path.join(folder, 'old.pem'));
    replace(grid('host.pem'), next);
    // The key does not belong to it yet: the old pair goes on.
    await sleep(6000);
    expect(await serialOf()).toBe(before);
    replace(grid('host.key'), key);
    for (let wait = 0; wait < 150 && (await serialOf()) === before; wait += 1) await sleep(100);
    expect(await serialOf()).not.toBe(before);
    await env.close();
  });
});

function replace(name: string, content: string): void {
  writeFileSync(`${name}.new`, content, { mode: 0o600 });
  renameSync(`${name}.new`, name);
}

function serialOf(): Promise<string> {
  const port = cluster.nodes[0]!.ports.proxy!;
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, ca: readFileSync(authority) };
    const socket = connect(options, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.once('error', reject);
  });
}
