/** Three real etcd members that answer nobody without a certificate of their authority. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from '#authority/authority.ts';
import { collectBackup } from '#authority/backup.ts';
import { decodeBackup, encodeBackup } from '#authority/backup-format.ts';
import {
  certifyNode,
  createCertificateAuthority,
  createRequest,
  newPrivateKey,
} from '#authority/certificates.ts';
import { initialiseCluster } from '#authority/genesis.ts';
import { restoreBackup } from '#authority/restore.ts';
import { codeOf } from '#base/errors.ts';
import type { CertificateFiles } from '#env/node/certified-fetch.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
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
  });
  afterAll(async () => {
    await cluster.stop();
    await env.close();
    rmSync(folder, { recursive: true });
  });

  it('serves transactions and watches of who shows one', async () => {
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
  });

  it('takes a restored backup: the same cluster, above what its nodes know', async () => {
    const state = open(own);
    await state.txn({ success: [{ kind: 'deleteRange', range: { start: '\0' } }] });
    const sealer = createVault(
      env.random,
      await loadMasterKey(env, path.join(folder, 'master.key')),
    );
    const options = { env, state, sealer, address: '', askMoves: async () => [] };
    const authority = createAuthority(options);
    const policy = { index: 0, name: 'standard', copies: 3, states: 3, isDefault: true };
    const description = { name: 'test', policies: [{ ...policy, mode: 'strict' as const }] };
    await initialiseCluster(authority, env, { description, sites: ['bari'], state: 'etcd:x' });
    const key = 'identity/public/user/u';
    const put = (text: string) =>
      state.txn({ success: [{ kind: 'put', key, value: Buffer.from(text) }] });
    await put('before');
    const before = (await authority.store.snapshot()).head.version;
    const backup = decodeBackup(encodeBackup(await collectBackup(state, env.clock)));
    await put('after');
    await authority.store.change({ what: 'later', who: 'test' }, () => ({ result: undefined }));
    const into = { env, state, sealer, backup, without: [] };
    const refused = restoreBackup({ ...into, last: undefined, replace: false });
    expect(await refused.catch(codeOf)).toBe('not-empty');
    const restored = await restoreBackup({ ...into, last: undefined, replace: true });
    expect(restored.version).toBeGreaterThan(before + 1);
    expect((await state.get(key))?.value.toString()).toBe('before');
    const again = createAuthority(options);
    const { document } = await again.store.snapshot();
    expect(document.sites.map(({ name }) => name)).toEqual(['bari']);
    expect(await again.store.knownCluster()).toEqual(await authority.store.knownCluster());
    await state.close();
  });
});
