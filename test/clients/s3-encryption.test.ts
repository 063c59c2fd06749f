/** Encrypted objects with awscli against a whole cluster: nothing of them in plain on any disk. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { anello } from '../cluster/command.ts';
import { has, run } from './program.ts';

const MIB = 1024 * 1024;
const SECRET = 'the plain text that no disk may hold';
const AWS = '/usr/bin/aws';

let cluster: Cluster;
let work: string;

beforeAll(async () => {
  if (!has(AWS)) return;
  cluster = await Cluster.start();
  work = mkdtempSync(path.join(tmpdir(), 'anello-sse-'));
  const line = `${SECRET}\n`;
  writeFileSync(path.join(work, 'small'), line);
  // awscli sends it in parts.
  writeFileSync(path.join(work, 'large'), Buffer.alloc(20 * MIB, line));
  writeFileSync(path.join(work, 'key'), Buffer.alloc(32, 7));
}, 60_000);

afterAll(async () => {
  await cluster?.stopAndRemove();
  if (work) rmSync(work, { recursive: true, force: true });
});

async function aws(...args: string[]): Promise<{ code: number | null; text: string }> {
  const { accessKey, secretKey, region, endpoints } = cluster.access.s3;
  const env = {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_DEFAULT_REGION: region,
    AWS_EC2_METADATA_DISABLED: 'true',
    HOME: work,
  };
  const outcome = await run(AWS, ['--endpoint-url', endpoints[0]!, ...args], { cwd: work, env });
  return { code: outcome.code, text: outcome.stdout + outcome.stderr };
}

async function done(...args: string[]): Promise<string> {
  const { code, text } = await aws(...args);
  expect(code, `aws ${args.join(' ')}: ${text}`).toBe(0);
  return text;
}

const KEY_VERB = ['encryption', 'key'];

async function keys(...args: string[]): Promise<string> {
  const outcome = await anello(...KEY_VERB, ...args, '--data', cluster.folder);
  expect(outcome.code, outcome.stderr).toBe(0);
  return outcome.stdout;
}

function isOnDisk(text: string): boolean {
  const folders = cluster.nodes.flatMap(({ devices }) => devices);
  return folders.some((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .some((entry) => readFileSync(path.join(entry.parentPath, entry.name)).includes(text)),
  );
}

function expectSame(name: string): void {
  const [back, file] = ['back', name].map((each) => readFileSync(path.join(work, each)));
  expect(back!.equals(file!)).toBe(true);
}

const QUIET = '--only-show-errors';
const CUSTOMER = ['--sse-c', 'AES256', '--sse-c-key', 'fileb://key'];

describe.skipIf(!has(AWS))('awscli', () => {
  it("encrypts with the store's, a named and its own key, over rotations; disks hold no plain text", async () => {
    await done('s3', 'mb', 's3://sealed');
    await keys('create', 'payroll');
    const wishes = {
      own: ['--sse', 'AES256'],
      named: ['--sse', 'aws:kms', '--sse-kms-key-id', 'payroll'],
      customer: CUSTOMER,
    };
    for (const name of ['small', 'large']) {
      for (const [kind, wish] of Object.entries(wishes)) {
        await done('s3', 'cp', QUIET, name, `s3://sealed/${kind}-${name}`, ...wish);
      }
    }
    await keys('rotate');
    await keys('rotate', 'payroll');
    for (const name of ['small', 'large']) {
      for (const kind of Object.keys(wishes)) {
        const opens = kind === 'customer' ? CUSTOMER : [];
        await done('s3', 'cp', QUIET, `s3://sealed/${kind}-${name}`, 'back', ...opens);
        expectSame(name);
      }
    }
    const without = await aws('s3', 'cp', QUIET, 's3://sealed/customer-small', 'back');
    expect([without.code, without.text]).toEqual([1, expect.stringContaining('400')]);
    expect(isOnDisk(SECRET)).toBe(false);
    expect((await keys('list')).match(/payroll/g)).toHaveLength(2);
  });

  it("encrypts by the bucket's default, and Swift reads it", async () => {
    const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } };
    const configuration = JSON.stringify({ Rules: [rule] });
    const about = ['--bucket', 'sealed'];
    const put = ['put-bucket-encryption', ...about];
    await done('s3api', ...put, '--server-side-encryption-configuration', configuration);
    expect(await done('s3api', 'get-bucket-encryption', ...about)).toContain('AES256');
    await done('s3', 'cp', QUIET, 'small', 's3://sealed/by-default');
    const head = await done('s3api', 'head-object', ...about, '--key', 'by-default');
    expect(JSON.parse(head)).toMatchObject({ ServerSideEncryption: 'AES256' });
    expect(isOnDisk(SECRET)).toBe(false);
    const { token, url } = await cluster.login();
    const headers = { 'x-auth-token': token };
    const read = await fetch(`${url}/sealed/by-default`, { headers });
    expect(await read.text()).toBe(`${SECRET}\n`);
    const refused = await fetch(`${url}/sealed/customer-small`, { headers });
    expect(refused.status).toBe(422);
  });
});
