/** Three real etcd members that answer nobody without a certificate of their authority. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  certifyNode,
  createCertificateAuthority,
  createRequest,
  newPrivateKey,
} from '#authority/certificates.ts';
import { codeOf } from '#base/errors.ts';
import type { CertificateFiles } from '#env/node/certified-fetch.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { EtcdCluster, hasEtcd } from '#state/testing/etcd-cluster.ts';
import { openNodeState } from './node-state.ts';

const required = process.env['CI'] === 'true';
const CLUSTER_ID = 'e'.repeat(32);

describe.skipIf(!hasEtcd && !required)('etcd with certificates', () => {
  const env = createNodeEnv({ logLevel: 'silent' });
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-etcd-tls-'));
  let cluster: EtcdCluster;
  let own: CertificateFiles;
  let foreign: CertificateFiles;

  /** An authority, and one certificate for members and clients alike, which both are. */
  const certificates = (name: string): CertificateFiles => {
    const issuance = { random: env.random, nowMs: Date.now(), days: 2 };
    const authority = createCertificateAuthority(CLUSTER_ID, issuance);
    const key = newPrivateKey();
    const subject = { clusterId: CLUSTER_ID, name, site: 'bari', roles: [], hosts: ['127.0.0.1'] };
    const certificate = certifyNode(authority, createRequest(key, name), subject, issuance);
    const write = (file: string, text: string): string => {
      writeFileSync(path.join(folder, file), text);
      return path.join(folder, file);
    };
    return {
      authorityFile: write(`${name}-ca.pem`, authority.certificate),
      certificateFile: write(`${name}.pem`, certificate),
      keyFile: write(`${name}.key`, key),
    };
  };
  const open = (tls?: CertificateFiles) =>
    openNodeState(env, {
      state: { driver: 'etcd', endpoints: cluster.endpoints, ...(tls && { tls }) },
    });

  beforeAll(async () => {
    own = certificates('own');
    foreign = certificates('foreign');
    cluster = await EtcdCluster.start(own);
  }, 60_000);
  afterAll(async () => {
    await cluster.stop();
    await env.close();
    rmSync(folder, { recursive: true });
  });

  it('serves transactions and watches of who shows one', { timeout: 30_000 }, async () => {
    const state = open(own);
    const seen: string[] = [];
    const { revision } = await state.txn({
      success: [{ kind: 'put', key: 'tls/a', value: Buffer.from('1') }],
    });
    const watch = state.watch({ prefix: 'tls/' }, revision, {
      onEvents: (events) => {
        for (const event of events) if (event.kind === 'put') seen.push(event.item.key);
      },
      onCompacted: () => undefined,
    });
    await state.txn({ success: [{ kind: 'put', key: 'tls/b', value: Buffer.from('2') }] });
    while (seen.length < 2) await env.clock.sleep(20);
    expect(seen).toEqual(['tls/a', 'tls/b']);
    watch.close();
    await state.close();
  });

  it('is as if it were away for who shows none, or another authority’s', async () => {
    const ask = async (tls?: CertificateFiles): Promise<string> => {
      const state = open(tls);
      const outcome = await state.get('tls/a').then(() => 'answered', codeOf);
      await state.close();
      return outcome;
    };
    const deceived = { ...own, authorityFile: foreign.authorityFile };
    const outcomes = await Promise.all([ask(), ask(foreign), ask(deceived)]);
    expect(outcomes).toEqual(['state-unavailable', 'state-unavailable', 'state-unavailable']);
  }, 60_000);
});
