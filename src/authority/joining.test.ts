import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseMachineFile } from '#config/machine-file.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { NodeRandom } from '#env/node/random.ts';
import { certificateFacts } from './certificate-facts.ts';
import { createCertificateAuthority } from './certificates.ts';
import { join, loadNodeConfig } from './joining.ts';

let data: string;
beforeEach(() => {
  data = mkdtempSync(path.join(tmpdir(), 'anello-joining-'));
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

const unreachable = async (): Promise<never> => {
  throw new Error('a machine that has joined asks nobody');
};

describe('the file of a machine that has joined', () => {
  it('says how it serves its users; all else is known from the authority', async () => {
    const known = {
      ...{ name: 'bari-1', site: 'bari', roles: ['proxy', 'identity', 'storage'], workerIds: [3] },
      ...{ clusterId: '0'.repeat(32), authorityKey: 'PEM', caCertificate: '', certificate: '' },
      ...{ authorities: ['https://10.1.0.1:7600'], state: 'etcd:https://10.1.0.1:2379' },
      devices: [{ id: 4, name: 'disk1' }],
    };
    writeFileSync(path.join(data, 'membership.json'), JSON.stringify(known));
    const service = {
      trustedProxies: ['10.2.0.10'],
      publicUrls: { bari: 'https://bari.example.org' },
      s3Domains: ['s3.example.org'],
      s3WebsiteDomains: ['s3-website.example.org'],
      identity: { tokenHours: 4 },
      identityTls: { keyFile: 'k', certificateFile: 'c' },
      mapping: { rulesFile: 'rules.yaml' },
    };
    const machine = {
      ...{ format: 1, name: 'bari-1', data, disks: ['/srv/disk1'], address: '10.2.0.1' },
      ...{ authorities: ['https://10.1.0.1:7600'], listen: { identityTls: 5443 }, ...service },
    };
    const file = path.join(data, 'node.yaml');
    writeFileSync(file, stringify(machine));
    const { disk } = createNodeEnv({ logLevel: 'silent' });
    const config = await loadNodeConfig(file, { disk, get: unreachable, post: unreachable });
    expect(config).toMatchObject({ site: 'bari', ...service, listen: { identityTls: 5443 } });
    expect(config.devices).toMatchObject([{ id: 4, path: '/srv/disk1', mountPoint: true }]);
  });
});

describe('a machine that joins', () => {
  it('asks again for the same key where it has not heard the answer', async () => {
    const file = path.join(data, 'node.yaml');
    const machine = {
      ...{ format: 1, name: 'bari-1', data, disks: [], address: '10.2.0.1', token: 'a.b.c' },
      ...{ authorities: ['https://10.1.0.1:7600'] },
    };
    writeFileSync(file, stringify(machine));
    const { disk } = createNodeEnv({ logLevel: 'silent' });
    const ca = createCertificateAuthority('0'.repeat(32), {
      random: new NodeRandom(),
      nowMs: 1.7e12,
    }).certificate;
    const token = `anello-join-1.0.x.${certificateFacts(ca).fingerprint}`;
    const asked: { request: string }[] = [];
    const effects = {
      disk,
      get: async () => Buffer.from(ca),
      post: async (_: string, body: string) => {
        asked.push(JSON.parse(body) as { request: string });
        throw new Error('the line broke');
      },
    };
    const joining = { ...parseMachineFile(stringify(machine)), token };
    for (let attempt = 0; attempt < 2; attempt++)
      await expect(join(joining, effects)).rejects.toMatchObject({ code: 'no-authority' });
    expect(asked).toHaveLength(2);
    expect(asked[1]!.request).toBe(asked[0]!.request);
  });

  it('is told of its clock where the authority is not valid yet by it', async () => {
    const machine = parseMachineFile(
      stringify({
        ...{ format: 1, name: 'bari-1', data, disks: [], address: '10.2.0.1', token: 'a.b.c' },
        ...{ authorities: ['https://10.1.0.1:7600'] },
      }),
    );
    const { disk } = createNodeEnv({ logLevel: 'silent' });
    const early = async (): Promise<never> => {
      const code = 'CERT_NOT_YET_VALID';
      throw Object.assign(new Error('certificate is not yet valid'), { code });
    };
    await expect(join(machine, { disk, get: early, post: early })).rejects.toMatchObject({
      code: 'no-authority',
      message: expect.stringContaining("this machine's clock is wrong"),
    });
  });
});
