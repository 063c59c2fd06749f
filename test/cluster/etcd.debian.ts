/** `anello up --state etcd`: a live cluster on three members that are killed and stopped under it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalRequest, sign, stringToSign } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import { hasEtcd } from '#state/testing/etcd-cluster.ts';
import { slowness } from './client.ts';
import { Cluster, sleep } from './cluster.ts';
import { anello, lines } from './command.ts';

if (!hasEtcd)
  console.log('etcd is not installed (apt-get install etcd-server): --state etcd is not tested');
const required = process.env['CI'] === 'true';
const RECOVERY_MS = 90_000;
/** A revocation is in force everywhere within this. */
const PROMISED_MS = 2_000;

interface Member {
  readonly name: string;
  readonly pid: number | null;
  readonly ports: { readonly client: number; readonly peer: number };
}

describe.skipIf(!hasEtcd && !required)('a cluster with --state etcd', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(['--state', 'etcd']);
  });
  afterAll(() => cluster?.stopAndRemove());

  const members = (): Member[] =>
    JSON.parse(readFileSync(path.join(cluster.folder, 'etcd.json'), 'utf8'));

  async function logIn(proxy: number): Promise<Response> {
    const { user, key } = cluster.access.swift;
    const answer = await fetch(`http://127.0.0.1:${cluster.basePort + proxy}/auth/v1.0`, {
      headers: { 'x-auth-user': user, 'x-auth-key': key },
      signal: AbortSignal.timeout(60_000),
    });
    await answer.arrayBuffer();
    return answer;
  }

  /** The status of a request signed with the cluster's S3 keys. */
  async function s3(method: string, target: string, body?: string): Promise<number> {
    const { accessKey, secretKey } = cluster.access.s3;
    const date = basicTime(Date.now());
    const scope = { date, day: date.slice(0, 8), region: 'lngs', service: 's3' };
    const headers = {
      host: `127.0.0.1:${cluster.basePort}`,
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
      'x-amz-date': date,
    };
    const signedHeaders = Object.keys(headers);
    const claim = { form: 'header', service: 's3', signedHeaders } as const;
    const text = canonicalRequest({ method, target, headers }, claim, 'UNSIGNED-PAYLOAD');
    const signature = sign(deriveSigningKey(secretKey, scope), stringToSign(scope, text));
    const credential = `${accessKey}/${scope.day}/lngs/s3/aws4_request`;
    const authorization = `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${signedHeaders.join(';')},Signature=${signature}`;
    const answer = await fetch(`http://${headers.host}${target}`, {
      ...{ method, body, headers: { ...headers, authorization } },
      signal: AbortSignal.timeout(60_000),
    });
    await answer.arrayBuffer();
    return answer.status;
  }

  async function until(holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + RECOVERY_MS;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error(cluster.output.join(''));
      await sleep(100);
    }
  }

  const allServe = (): Promise<boolean> =>
    Promise.all(
      members().map(({ ports }) =>
        fetch(`http://127.0.0.1:${ports.client}/health`)
          .then((answer) => answer.ok)
          .catch(() => false),
      ),
    ).then((answers) => answers.every(Boolean));

  it('keeps its state in the members, inside the ports of the cluster', async () => {
    expect(existsSync(path.join(cluster.folder, 'state', 'state.db'))).toBe(false);
    for (const { ports } of members()) {
      for (const port of [ports.client, ports.peer]) {
        expect(port).toBeGreaterThan(cluster.basePort);
        expect(port).toBeLessThan(cluster.basePort + 50);
      }
    }
    const taken = new Set(members().flatMap(({ ports }) => [ports.client, ports.peer]));
    for (const node of cluster.nodes)
      for (const port of Object.values(node.ports).flat()) expect(taken).not.toContain(port);
  });

  it('starts a killed member again; log-ins and revocations go on meanwhile', async () => {
    for (const member of members()) {
      process.kill(member.pid!, 'SIGKILL');
      for (const proxy of [0, 1, 2]) expect((await logIn(proxy)).status).toBe(200);
      await until(async () => members().every(({ pid }) => pid !== null && pid !== member.pid));
      await until(allServe);
    }
    const took: number[] = [];
    for (let n = 0; n < 3; n++) took.push(await revocation());
    expect(Math.min(...took), took.join()).toBeLessThan(PROMISED_MS * slowness());
  });

  /** Milliseconds until a revoked token is refused by all proxies. */
  async function revocation(): Promise<number> {
    const token = (await logIn(0)).headers.get('x-auth-token')!;
    const at = (proxy: number) => `http://127.0.0.1:${cluster.basePort + proxy}`;
    const headers = { 'x-auth-token': token, 'x-subject-token': token };
    await fetch(`${at(1)}/v3/auth/tokens`, { method: 'DELETE', headers });
    const started = performance.now();
    const account = new URL(cluster.access.swift.storageUrls[2]!).pathname;
    const refused = async (proxy: number): Promise<boolean> =>
      (await fetch(`${at(proxy)}${account}`, { headers: { 'x-auth-token': token } })).status ===
      401;
    for (const proxy of [0, 1, 2]) await until(() => refused(proxy));
    return performance.now() - started;
  }

  it('goes on with tokens when all members hang, refuses log-ins with a time, and recovers', async () => {
    const { token, url } = await cluster.login();
    expect(await s3('PUT', '/seen-bucket')).toBe(200);
    expect(await s3('PUT', '/seen-bucket/one', 'body')).toBe(200);
    const pids = members().map(({ pid }) => pid!);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      const put = await fetch(`${url}/without-state`, {
        method: 'PUT',
        headers: { 'x-auth-token': token },
      });
      expect(put.status).toBe(201);
      // For some seconds it goes on from memory.
      let answer = await logIn(1);
      await until(async () => (answer = await logIn(1)).status !== 200);
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '2']);
      const get = await fetch(`${url}/without-state`, { headers: { 'x-auth-token': token } });
      expect(get.status).toBe(204);
      expect(await s3('GET', '/seen-bucket/one')).toBe(200);
      expect(await s3('PUT', '/seen-bucket/two', 'body')).toBe(200);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await until(async () => (await logIn(1)).status === 200);
  });

  it('ends with its supervisor, and keeps to its store and ports', async () => {
    const pids = members().map(({ pid }) => pid!);
    process.kill(cluster.pid, 'SIGKILL');
    const alive = () => pids.filter((pid) => spawnSync('kill', ['-0', String(pid)]).status === 0);
    await until(async () => alive().length === 0);
    const other = await anello(
      'up',
      '--data',
      cluster.folder,
      '--port',
      String(cluster.basePort + 60),
    );
    expect([other.code, lines(other.stderr)]).toEqual([
      2,
      [expect.stringContaining(`--port ${cluster.basePort}: use that one`)],
    ]);
    const sqlite = await anello('up', '--data', cluster.folder, '--state', 'sqlite');
    expect([sqlite.code, sqlite.stderr]).toEqual([2, expect.stringContaining('--state etcd')]);
  });
});
