/**
 * OpenStack's image service in front of the cluster: Debian's glance-api with paste flavour `keystone`
 * (its users' tokens are validated by Anello) and glance_store's swift driver, with one account for all
 * images, and with each in its owner's account; and its s3 driver.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DeleteBucketCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { fails, type Login, loginOf, must, openstackJson } from './openstack-env.ts';

const GLANCE = '/usr/bin/glance-api';
const PASTE = '/etc/glance/glance-api-paste.ini';
const AVAILABLE = existsSync(GLANCE) && existsSync(PASTE);
if (!AVAILABLE && process.env['CI'] === 'true') throw new Error('glance-api is not installed');
if (!AVAILABLE) console.warn('glance-api is not installed: its tests are skipped');
const IMAGE_MIB = Number(process.env['GLANCE_IMAGE_MIB'] ?? 1024);
const MIB = 1024 * 1024;
/** Below and above the driver's limit for uploads in parts, which is set to 64 MiB here. */
const SIZES = [0, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 100 * MIB];

interface Glance {
  readonly port: number;
  readonly process: ChildProcess;
}

describe.skipIf(!AVAILABLE)('glance', () => {
  let cluster: Cluster;
  let work: string;
  let image: string;
  let sum: string;
  let owner: Login;
  let friend: Login;
  let service: Login;

  beforeAll(async () => {
    cluster = await Cluster.start();
    work = mkdtempSync(path.join(tmpdir(), 'anello-glance-'));
    owner = loginOf(cluster.access.keystone);
    friend = loginOf(cluster.access.second.keystone);
    service = {
      ...owner,
      OS_USERNAME: 'glance',
      OS_PASSWORD: 'glance-secret',
      OS_PROJECT_NAME: 'service',
    };
    await must('openstack', ['project', 'create', 'service'], owner);
    await must('openstack', ['user', 'create', '--password', 'glance-secret', 'glance'], owner);
    for (const role of ['service', 'swiftoperator']) {
      await must(
        'openstack',
        ['role', 'add', '--user', 'glance', '--project', 'service', role],
        owner,
      );
    }
    await must('openstack', ['service', 'create', '--name', 'glance', 'image'], owner);
    image = path.join(work, 'image.raw');
    for (let i = 0; i < IMAGE_MIB; i++) appendFileSync(image, randomBytes(MIB));
    sum = await sumOf(image);
  });
  afterAll(async () => {
    await cluster?.stopAndRemove();
    if (work) rmSync(work, { recursive: true, force: true });
  });

  it('keeps images in one account: up in segments, down, shared, deleted', async () => {
    const keystone = cluster.access.keystone.url;
    const reference = `[ref]\nuser = service:glance\nkey = glance-secret\nauth_address = ${keystone}\nauth_version = 3\nuser_domain_id = default\nproject_domain_id = default\n`;
    const file = path.join(work, 'swift.conf');
    writeFileSync(file, reference);
    const glance = await startGlance('single', [
      ...SWIFT_DRIVER,
      `swift_store_config_file = ${file}`,
    ]);
    try {
      const id = await upload('first');
      const segments = (await must('swift', ['list', 'glance'], service)).split('\n');
      expect(segments.length).toBeGreaterThan(1);
      await shareAndRead(id);
      await must('openstack', ['image', 'delete', id], owner);
      expect(await must('swift', ['list', 'glance'], service)).toBe('');
    } finally {
      await stop(glance);
    }
  });

  it("keeps each image in its owner's account, readable for whom it is shared with", async () => {
    const keystone = cluster.access.keystone.url;
    const glance = await startGlance('multi', [
      ...SWIFT_DRIVER,
      'swift_store_multi_tenant = True',
      'swift_store_admin_tenants = service:glance',
      `swift_store_auth_address = ${keystone}`,
      'swift_store_user = service:glance',
      'swift_store_key = glance-secret',
    ]);
    try {
      const id = await upload('second');
      expect(await must('swift', ['list'], owner)).toContain(`glance_${id}`);
      await shareAndRead(id);
      await must('openstack', ['image', 'delete', id], owner);
      expect(await must('swift', ['list'], owner)).not.toContain(`glance_${id}`);
    } finally {
      await stop(glance);
    }
  });

  it('keeps images in a bucket of S3', async () => {
    const { accessKey, secretKey } = cluster.access.s3;
    const endpoint = cluster.access.s3.endpoints[0]!;
    const glance = await startGlance('s3', [
      ...['stores = s3', 'default_store = s3', `s3_store_host = ${endpoint}`],
      ...[`s3_store_access_key = ${accessKey}`, `s3_store_secret_key = ${secretKey}`],
      ...['s3_store_bucket = glance-images', 's3_store_create_bucket_on_put = True'],
      ...['s3_store_bucket_url_format = path'],
      ...['s3_store_large_object_size = 64', 's3_store_large_object_chunk_size = 32'],
    ]);
    try {
      const id = await upload('third');
      expect(await must('swift', ['list', 'glance-images'], owner)).toBe(id);
      await must('openstack', ['image', 'delete', id], owner);
      expect(await must('swift', ['list', 'glance-images'], owner)).toBe('');
      await keepEach(glance, SIZES);
      expect(await must('swift', ['list', 'glance-images'], owner)).toBe('');
      await leavesNothing('glance-images');
    } finally {
      await stop(glance);
    }
  });

  /** An image of each size by Glance's own API: up, down again, compared, deleted. */
  async function keepEach({ port }: Glance, sizes: readonly number[]): Promise<void> {
    const images = `http://127.0.0.1:${port}/v2/images`;
    const token = { 'x-auth-token': await tokenOf(owner) };
    const ask = async (method: string, url: string, body?: Buffer | string): Promise<Response> => {
      const type = typeof body === 'string' ? 'application/json' : 'application/octet-stream';
      const headers = { ...token, ...(body !== undefined && { 'content-type': type }) };
      const answer = await fetch(url, { method, headers, ...(body !== undefined && { body }) });
      expect(answer.status, `${method} ${url}`).toBeLessThan(300);
      return answer;
    };
    const facts = { disk_format: 'raw', container_format: 'bare' };
    for (const size of sizes) {
      const bytes = randomBytes(size);
      const made = await ask('POST', images, JSON.stringify({ ...facts, name: `of-${size}` }));
      const url = `${images}/${((await made.json()) as { id: string }).id}`;
      await ask('PUT', `${url}/file`, bytes);
      const checksum = createHash('md5').update(bytes).digest('hex');
      const shown = await (await ask('GET', url)).json();
      expect(shown).toMatchObject({ status: 'active', size, checksum });
      const back = Buffer.from(await (await ask('GET', `${url}/file`)).arrayBuffer());
      expect(back.equals(bytes), `image of ${size} bytes`).toBe(true);
      await ask('DELETE', url);
    }
  }

  /** Neither an upload is under way nor an object left: the bucket can be deleted. */
  async function leavesNothing(bucket: string): Promise<void> {
    const { accessKey, secretKey, region, endpoints } = cluster.access.s3;
    const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
    const s3 = new S3Client({
      ...{ credentials, region, endpoint: endpoints[0]!, forcePathStyle: true },
    });
    try {
      const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      expect(Uploads).toEqual([]);
      await s3.send(new DeleteBucketCommand({ Bucket: bucket }));
    } finally {
      s3.destroy();
    }
  }

  async function upload(name: string): Promise<string> {
    const format = ['--disk-format', 'raw', '--container-format', 'bare'];
    await must('openstack', ['image', 'create', ...format, '--file', image, name], owner);
    const shown = (await openstackJson(['image', 'show', name], owner)) as Record<string, unknown>;
    expect(shown).toMatchObject({ status: 'active', size: IMAGE_MIB * MIB });
    await download(String(shown['id']), owner);
    return String(shown['id']);
  }

  async function download(id: string, login: Login): Promise<void> {
    const back = path.join(work, 'back.raw');
    await must('openstack', ['image', 'save', '--file', back, id], login);
    expect(await sumOf(back)).toBe(sum);
    rmSync(back);
  }

  async function shareAndRead(id: string): Promise<void> {
    await fails('openstack', ['image', 'show', id], friend);
    const shown = (await openstackJson(['project', 'show', 'second'], owner)) as Record<
      string,
      string
    >;
    await must('openstack', ['image', 'add', 'project', id, shown['id']!], owner);
    await must('openstack', ['image', 'set', '--accept', id], friend);
    await download(id, friend);
    await fails('openstack', ['image', 'delete', id], friend);
  }

  async function startGlance(name: string, store: readonly string[]): Promise<Glance> {
    const folder = path.join(work, name);
    for (const inner of ['staging', 'tasks', 'none'])
      mkdirSync(path.join(folder, inner), { recursive: true });
    const port = await freePort();
    const file = path.join(folder, 'glance-api.conf');
    writeFileSync(file, configOf(folder, port, store));
    await must('glance-manage', ['--config-file', file, 'db_sync'], {});
    const child = spawn(GLANCE, ['--config-file', file], { stdio: 'ignore' });
    const url = `http://127.0.0.1:${port}`;
    for (let i = 0; !(await answers(url)); i++) {
      if (i > 1800) throw new Error('glance-api did not start');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // The endpoint of the test before, if there is one, goes.
    const known = (await openstackJson(['endpoint', 'list', '--service', 'image'], owner)) as {
      ID: string;
    }[];
    for (const { ID } of known) await must('openstack', ['endpoint', 'delete', ID], owner);
    await must(
      'openstack',
      ['endpoint', 'create', '--region', 'lngs', 'image', 'public', url],
      owner,
    );
    return { port, process: child };
  }

  function configOf(folder: string, port: number, store: readonly string[]): string {
    const keystone = cluster.access.keystone.url;
    return [
      ...['[DEFAULT]', 'bind_host = 127.0.0.1', `bind_port = ${port}`, 'workers = 0'],
      ...['[database]', `connection = sqlite:///${folder}/glance.db`],
      ...['[keystone_authtoken]', `auth_url = ${keystone}`, `www_authenticate_uri = ${keystone}`],
      ...['auth_type = password', 'username = glance', 'password = glance-secret'],
      ...['project_name = service', 'user_domain_id = default', 'project_domain_id = default'],
      ...['region_name = lngs', 'interface = public'],
      ...['[paste_deploy]', 'flavor = keystone', `config_file = ${PASTE}`],
      ...['[oslo_policy]', `policy_dirs = ${folder}/none`],
      ...['[os_glance_staging_store]', `filesystem_store_datadir = ${folder}/staging`],
      ...['[os_glance_tasks_store]', `filesystem_store_datadir = ${folder}/tasks`],
      ...['[glance_store]', ...store],
      '',
    ].join('\n');
  }
});

/** What both of its ways have in common. */
const SWIFT_DRIVER = [
  ...['stores = swift', 'default_store = swift', 'default_swift_reference = ref'],
  ...['swift_store_auth_version = 3', 'swift_store_container = glance'],
  ...['swift_store_region = bari', 'swift_store_endpoint_type = publicURL'],
  'swift_store_create_container_on_put = True',
  ...['swift_store_large_object_size = 64', 'swift_store_large_object_chunk_size = 32'],
];

async function tokenOf(login: Login): Promise<string> {
  const domain = { name: login['OS_USER_DOMAIN_NAME'] };
  const user = { name: login['OS_USERNAME'], password: login['OS_PASSWORD'], domain };
  const identity = { methods: ['password'], password: { user } };
  const scope = { project: { name: login['OS_PROJECT_NAME'], domain } };
  const answer = await fetch(`${login['OS_AUTH_URL']}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope } }),
  });
  expect(answer.status).toBe(201);
  return answer.headers.get('x-subject-token')!;
}

async function stop({ process: child }: Glance): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    return response.status === 300;
  } catch {
    return false;
  }
}

async function sumOf(file: string): Promise<string> {
  const hash = createHash('md5');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });
}
