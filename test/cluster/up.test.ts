/** `anello up` from outside: what it refuses, what it writes, how it stops. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from './client.ts';
import { Cluster, freeBase } from './cluster.ts';
import { anello, lines } from './command.ts';

const scratch = mkdtempSync(path.join(tmpdir(), 'anello-up-'));

const ONE_DEVICE = `
format: 1
name: tiny
part_power: 6
overload: 0
min_part_hours: 1
policies: [{name: standard, index: 0, replicas: 3, default: true}]
container: {replicas: 3}
account: {replicas: 3}
sites:
  home: [{node: a, zone: z1, wire: '127.0.0.1:7400', devices: [{name: d1, weight: 100}]}]
`;

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe('what anello up refuses', () => {
  it('names a taken port in one line and leaves nothing half-started', async () => {
    const base = await freeBase();
    const other = createServer().listen(base + 11, '127.0.0.1');
    const folder = path.join(scratch, 'taken');
    const result = await anello('up', '--data', folder, '--port', String(base));
    other.close();
    expect(result.code).toBe(1);
    expect(lines(result.stderr)).toEqual([
      `anello: port ${base + 11} is taken: choose another --port`,
    ]);
    expect(existsSync(path.join(folder, 'nodes'))).toBe(false);
    expect(existsSync(path.join(folder, 'up.lock'))).toBe(false);
  });

  it('names an unwritable folder', async () => {
    const file = path.join(scratch, 'a-file');
    writeFileSync(file, '');
    const result = await anello('up', '--data', path.join(file, 'below'));
    expect(result.code).toBe(1);
    expect(lines(result.stderr)).toHaveLength(1);
    expect(result.stderr).toMatch(/cannot write to .*ENOTDIR/);
  });

  it.each([
    [['--port', '80'], /--port 80: a whole number from 1024/],
    [['--port', '5990'], /6000-6063 belong to X11/],
    [['--rtt', 'far'], /--rtt far: a time such as 20ms/],
    [['--workers', '-1'], /--workers -1/],
    [['--sites', '/nowhere.yaml'], /cannot read \/nowhere\.yaml/],
  ])('exits with 2 for %j', async (options, message) => {
    const result = await anello('up', '--data', path.join(scratch, 'wrong'), ...options);
    expect(result.stderr).toMatch(message);
    expect(result.code).toBe(2);
  });

  it.each([
    ['a list, not a description', '- 1\n- 2\n'],
    ['no YAML', 'x: [1\ny: }'],
    ['too few devices', ONE_DEVICE],
  ])('says in one line what is wrong with --sites: %s; nothing is left behind', async (_, text) => {
    const [folder, sites] = [path.join(scratch, 'sites'), path.join(scratch, 'sites.yaml')];
    writeFileSync(sites, text);
    const base = String(await freeBase());
    const result = await anello('up', '--data', folder, '--port', base, '--sites', sites);
    expect(result.code).toBeGreaterThan(0);
    expect(lines(result.stderr)).toHaveLength(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('takes no folder that is none: an unset variable, /proc', async () => {
    const unset = await anello('up', '--data', '');
    expect([unset.code, unset.stderr]).toEqual([2, 'anello: --data: a folder is needed\n']);
    const proc = await anello('up', '--data', '/proc/anello/data');
    expect([proc.code, lines(proc.stderr).length]).toEqual([1, 1]);
    expect(proc.stderr).toMatch(/cannot write to \/proc\/anello\/data/);
  });

  it('takes nodes without their cluster.json, or a damaged one, for what they are', async () => {
    const folder = path.join(scratch, 'half');
    mkdirSync(path.join(folder, 'nodes', 'lngs-1'), { recursive: true });
    mkdirSync(path.join(folder, 'state'));
    const base = String(await freeBase());
    const lost = await anello('up', '--data', folder, '--port', base);
    expect([lost.code, lines(lost.stderr).length]).toEqual([1, 1]);
    expect(lost.stderr).toMatch(/has nodes but no state\/cluster\.json/);
    writeFileSync(path.join(folder, 'state', 'cluster.json'), '{');
    const damaged = await anello('up', '--data', folder, '--port', base);
    expect(damaged.stderr).toMatch(/state\/cluster\.json is damaged/);
    expect(existsSync(path.join(folder, 'nodes', 'lngs-1'))).toBe(true);
  });

  it('tells its version', async () => {
    expect((await anello('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('exits with 2 for an unknown option or verb', async () => {
    expect((await anello('up', '--unknown')).code).toBe(2);
    expect((await anello('nonsense')).code).toBe(2);
  });
});

describe('a running cluster', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster?.stopAndRemove());

  it('keeps secrets to its owner and describes every process', async () => {
    expect(statSync(path.join(cluster.folder, 'access.json')).mode & 0o777).toBe(0o600);
    const { access, nodes } = cluster;
    expect(access.swift.storageUrls).toHaveLength(3);
    expect(access.second.swift.user).not.toBe(access.swift.user);
    expect(nodes.map((node) => node.name)).toEqual(['lngs-1', 'bari-1', 'padova-1', 'padova-2']);
    for (const node of nodes) {
      expect(() => process.kill(node.pid, 0)).not.toThrow();
      expect(node.devices.every((folder) => existsSync(path.join(folder, 'device.json')))).toBe(
        true,
      );
      expect(node.devices).toHaveLength(2);
    }
  });

  it('limits what an account holds, at every proxy and by every API', async () => {
    const quota = (...args: string[]) =>
      anello('quota', ...args, '--data', cluster.folder, '--json');
    const [project] = cluster.access.second.swift.user.split(':') as [string];
    const { user, project: own } = cluster.access.keystone;
    const role = ['--role', 'ResellerAdmin', '--data', cluster.folder];
    expect((await quota('set', project, '--bytes', '1000')).stderr).toContain('ResellerAdmin');
    expect(await anello('grant', '--user', user, '--project', own, ...role)).toMatchObject({
      code: 0,
    });
    const set = await quota('set', project, '--bytes', '1000');
    expect(JSON.parse(set.stdout)).toMatchObject({ maxBytes: 1000 });
    const { url, token } = await cluster.login(cluster.access.second);
    const headers = { 'x-auth-token': token };
    await fetch(`${url}/limited`, { method: 'PUT', headers });
    const put = async (proxy: number): Promise<number> => {
      const at = `${cluster.proxies[proxy]}${new URL(url).pathname}/limited/o`;
      return (await fetch(at, { method: 'PUT', headers, body: 'x'.repeat(1001) })).status;
    };
    // What a proxy does not know yet stops nobody: the first second is free.
    for (const proxy of [0, 1, 2])
      await until(
        'the quota',
        () => put(proxy),
        (status) => status === 413,
      );
    await quota('set', project, '--bytes', '-');
    expect(JSON.parse((await quota('show', project)).stdout).maxBytes).toBeUndefined();
    await until(
      'no quota',
      () => put(0),
      (status) => status === 201,
    );
    const rate = await quota('set', project, '--requests-per-second', '1');
    expect(JSON.parse(rate.stdout)).toMatchObject({ requestsPerSecond: 1 });
    const head = async (): Promise<number> =>
      (await fetch(url, { method: 'HEAD', headers })).status;
    const heads = () => Promise.all(Array.from({ length: 8 }, head));
    await until('the rate', heads, (statuses) => statuses.includes(498));
    await quota('set', project, '--requests-per-second', '-');
    await until('no rate', heads, (statuses) => !statuses.includes(498));
  });

  it('listens only inside its fifty ports', () => {
    const { basePort } = cluster;
    for (const node of cluster.nodes) {
      const text = readFileSync(`/proc/${node.pid}/net/tcp`, 'utf8');
      const inodes = socketsOf(node.pid);
      const ports = text
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/))
        .filter((fields) => fields[3] === '0A' && inodes.has(fields[9] ?? ''));
      expect(ports.length).toBeGreaterThan(0);
      for (const fields of ports) {
        const port = Number.parseInt(fields[1]!.split(':')[1]!, 16);
        expect(port).toBeGreaterThanOrEqual(basePort);
        expect(port).toBeLessThan(basePort + 50);
      }
    }
  });

  it('refuses a second supervisor on the same folder', async () => {
    const result = await anello('up', '--data', cluster.folder, '--port', String(await freeBase()));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/already runs on this data folder/);
  });

  it('tells its status, and the path of one request', async () => {
    const status = await anello('status', '--data', cluster.folder, '--json');
    const found = JSON.parse(status.stdout);
    expect(found.nodes).toHaveLength(4);
    expect(found.nodes.every((node: { status?: unknown }) => node.status !== undefined)).toBe(true);
    const { token, url } = await cluster.login();
    const response = await fetch(`${url}/traced`, {
      method: 'PUT',
      headers: { 'x-auth-token': token },
    });
    expect(response.status).toBe(201);
    const trace = await anello(
      'trace',
      response.headers.get('x-trans-id')!,
      '--data',
      cluster.folder,
      '--json',
    );
    expect(trace.code).toBe(0);
    expect(JSON.parse(trace.stdout)[0].steps.length).toBeGreaterThan(0);
  });

  it('survives a stop and a start on other ports, with passwords and objects kept', async () => {
    const { token, url } = await cluster.login();
    const put = await fetch(`${url}/kept`, { method: 'PUT', headers: { 'x-auth-token': token } });
    expect(put.status).toBe(201);
    const object = await fetch(`${url}/kept/object`, {
      method: 'PUT',
      headers: { 'x-auth-token': token },
      body: 'kept',
    });
    expect(object.status).toBe(201);
    const before = cluster.access;
    expect(await cluster.stop()).toBe(0);
    cluster = await Cluster.start([], cluster.folder);
    expect(cluster.access.swift.key).toBe(before.swift.key);
    const again = await cluster.login();
    const read = await fetch(`${again.url}/kept/object`, {
      headers: { 'x-auth-token': again.token },
    });
    expect(await read.text()).toBe('kept');
  });
});

function socketsOf(pid: number): Set<string> {
  const found = new Set<string>();
  for (let fd = 0; fd < 256; fd += 1) {
    try {
      const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (match !== null) found.add(match[1]!);
    } catch {
      // No such descriptor.
    }
  }
  return found;
}
