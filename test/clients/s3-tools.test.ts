/**
 * The S3 programs of Debian's packages against a whole cluster, unmodified: each does what its users
 * do, with files of 0 B, 5 MiB - 1, 5 MiB, 5 MiB + 1 and 100 MiB.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, sleep } from '../cluster/cluster.ts';
import { folderSums } from './folder-sums.ts';
import { has, type RunOptions, run } from './program.ts';

const MIB = 1024 * 1024;
const SIZES: Readonly<Record<string, number>> = {
  empty: 0,
  'below-5': 5 * MIB - 1,
  five: 5 * MIB,
  'above-5': 5 * MIB + 1,
  hundred: 100 * MIB,
};

/** Nobody resolves it: clients that name buckets by host reach it through their HTTP proxy setting. */
const DOMAIN = 's3.anello.test';

let cluster: Cluster;
let work: string;

beforeAll(async () => {
  cluster = await Cluster.start(['--s3-domain', DOMAIN]);
  work = mkdtempSync(path.join(tmpdir(), 'anello-s3-'));
  mkdirSync(path.join(work, 'tree/a/b'), { recursive: true });
  writeFileSync(path.join(work, 'tree/a/b/ünï ☃ 100%+&'), 'names');
  for (const [name, size] of Object.entries(SIZES)) {
    writeFileSync(path.join(work, 'tree', name), randomBytes(size));
  }
  for (let i = 0; i < 50; i++) writeFileSync(path.join(work, `tree/a/${i}`), `file ${i}`);
}, 60_000);

afterAll(async () => {
  await cluster?.stopAndRemove();
  if (work) rmSync(work, { recursive: true, force: true });
});

function environment(): Record<string, string> {
  const { accessKey, secretKey, region } = cluster.access.s3;
  return {
    AWS_ACCESS_KEY_ID: accessKey,
    AWS_SECRET_ACCESS_KEY: secretKey,
    AWS_DEFAULT_REGION: region,
    AWS_CA_BUNDLE: '',
    AWS_EC2_METADATA_DISABLED: 'true',
    HOME: work,
  };
}

async function program(name: string, args: readonly string[], options: RunOptions = {}) {
  const env = { ...environment(), ...options.env };
  const outcome = await run(name, args, { cwd: work, ...options, env });
  expect(outcome.code, `${name} ${args.join(' ')}: ${outcome.stderr}${outcome.stdout}`).toBe(0);
  return outcome.stdout;
}

const endpoint = (): string => cluster.access.s3.endpoints[0]!;

describe.skipIf(!has('/usr/bin/aws'))('awscli', () => {
  const aws = (...args: string[]) =>
    program('/usr/bin/aws', ['--endpoint-url', endpoint(), ...args]);

  it('syncs a tree there and back, moves, lists, presigns and removes it', async () => {
    await aws('s3', 'mb', 's3://awscli');
    await aws('s3', 'sync', '--only-show-errors', 'tree', 's3://awscli/tree');
    expect((await aws('s3', 'ls', '--recursive', 's3://awscli')).trim().split('\n')).toHaveLength(
      56,
    );
    await aws('s3', 'mv', '--only-show-errors', 's3://awscli/tree/hundred', 's3://awscli/moved');
    await aws('s3', 'sync', '--only-show-errors', 's3://awscli/tree', 'aws-back');
    await aws('s3', 'cp', '--only-show-errors', 's3://awscli/moved', 'aws-back/hundred');
    expect(folderSums(path.join(work, 'aws-back'))).toEqual(folderSums(path.join(work, 'tree')));
    const url = (await aws('s3', 'presign', 's3://awscli/tree/a/1')).trim();
    expect(await (await fetch(url)).text()).toBe('file 1');
    await aws('s3', 'rb', '--force', 's3://awscli');
    expect(await aws('s3', 'ls')).not.toContain('awscli');
  });

  it('reads and sets what is beside the bytes', async () => {
    await aws('s3api', 'create-bucket', '--bucket', 'aws-api');
    const put = ['s3api', 'put-object', '--bucket', 'aws-api', '--key', 'k'];
    await aws(...put, '--body', 'tree/five', '--metadata', 'color=blue', '--tagging', 'a=b');
    const head = JSON.parse(await aws('s3api', 'head-object', '--bucket', 'aws-api', '--key', 'k'));
    expect(head).toMatchObject({ ContentLength: 5 * MIB, Metadata: { color: 'blue' } });
    const about = ['--bucket', 'aws-api', '--key', 'k'];
    const tags = JSON.parse(await aws('s3api', 'get-object-tagging', ...about));
    expect(tags.TagSet).toEqual([{ Key: 'a', Value: 'b' }]);
    await aws('s3api', 'delete-object', ...about);
    await aws('s3api', 'delete-bucket', '--bucket', 'aws-api');
  });
});

describe.skipIf(!has('/usr/bin/aws'))('awscli, IAM', () => {
  const aws = (...args: string[]) =>
    program('/usr/bin/aws', ['--endpoint-url', endpoint(), ...args]);
  const iam = async (...args: string[]): Promise<Record<string, Record<string, string>>> =>
    JSON.parse((await aws('iam', ...args)) || '{}');

  it('makes a user who may read one bucket, and a role that may write it', async () => {
    await aws('s3', 'mb', 's3://iam-bucket');
    await aws('s3', 'cp', '--only-show-errors', 'tree/a/1', 's3://iam-bucket/shown/1');
    const user = (await iam('create-user', '--user-name', 'ada'))['User']!;
    const key = (await iam('create-access-key', '--user-name', 'ada'))['AccessKey']!;
    const env = {
      AWS_ACCESS_KEY_ID: key['AccessKeyId']!,
      AWS_SECRET_ACCESS_KEY: key['SecretAccessKey']!,
    };
    const as = (more: Record<string, string>, args: readonly string[]) =>
      run('/usr/bin/aws', ['--endpoint-url', cluster.access.s3.endpoints[1]!, ...args], {
        cwd: work,
        env: { ...environment(), ...env, ...more },
      });
    const write = (name: string, Action: string, Resource: string): string => {
      const Statement = [{ Effect: 'Allow', Action, Resource }];
      writeFileSync(path.join(work, name), JSON.stringify({ Version: '2012-10-17', Statement }));
      return `file://${name}`;
    };
    const read = write('read.json', 's3:GetObject', 'arn:aws:s3:::iam-bucket/shown/*');
    const about = ['--user-name', 'ada', '--policy-name', 'read'];
    await aws('iam', 'put-user-policy', ...about, '--policy-document', read);
    const shown = ['s3', 'cp', 's3://iam-bucket/shown/1', '-'];
    expect(
      await eventually(
        () => as({}, shown),
        ({ code }) => code === 0,
      ),
    ).toMatchObject({
      stdout: 'file 1',
    });
    expect((await as({}, ['s3', 'cp', 'tree/a/1', 's3://iam-bucket/x'])).stderr).toContain(
      'AccessDenied',
    );
    const trust = { Effect: 'Allow', Principal: { AWS: user['Arn'] }, Action: 'sts:AssumeRole' };
    writeFileSync(path.join(work, 'trust.json'), JSON.stringify({ Statement: [trust] }));
    const role = ['--role-name', 'writer'];
    const made = await iam(
      ...['create-role', ...role, '--assume-role-policy-document', 'file://trust.json'],
    );
    const put = write('put.json', 's3:PutObject', 'arn:aws:s3:::iam-bucket/*');
    await aws('iam', 'put-role-policy', ...role, '--policy-name', 'p', '--policy-document', put);
    const arn = ['--role-arn', made['Role']!['Arn']!, '--role-session-name', 'night'];
    const taken = await as({}, ['sts', 'assume-role', ...arn]);
    const session = JSON.parse(taken.stdout).Credentials as Record<string, string>;
    const inRole = {
      AWS_ACCESS_KEY_ID: session['AccessKeyId']!,
      AWS_SECRET_ACCESS_KEY: session['SecretAccessKey']!,
      AWS_SESSION_TOKEN: session['SessionToken']!,
    };
    const upload = ['s3', 'cp', '--only-show-errors', 'tree/a/1', 's3://iam-bucket/x'];
    const outcome = await eventually(
      () => as(inRole, upload),
      ({ code }) => code === 0,
    );
    expect(outcome.code, outcome.stderr).toBe(0);
    expect((await as(inRole, shown)).code).not.toBe(0);
    await aws('iam', 'delete-user-policy', ...about);
    await aws(
      'iam',
      'delete-access-key',
      '--user-name',
      'ada',
      '--access-key-id',
      key['AccessKeyId']!,
    );
    await aws('iam', 'delete-user', '--user-name', 'ada');
    expect(
      await eventually(
        () => as({}, shown),
        ({ code }) => code !== 0,
      ),
    ).toMatchObject({
      stderr: expect.stringContaining('403'),
    });
    await aws('s3', 'rb', '--force', 's3://iam-bucket');
  });
});

/** News takes a moment to every proxy, longer on a busy machine. */
async function eventually<Value>(
  look: () => Promise<Value>,
  isIt: (value: Value) => boolean,
): Promise<Value> {
  for (let attempt = 0; ; attempt++) {
    const value = await look();
    if (isIt(value) || attempt >= 20) return value;
    await sleep(500);
  }
}

describe.skipIf(!has('s3cmd'))('s3cmd', () => {
  const s3cmd = (...args: string[]) => {
    const { accessKey, secretKey } = cluster.access.s3;
    const host = new URL(endpoint()).host;
    const config = [
      `[default]\naccess_key = ${accessKey}\nsecret_key = ${secretKey}`,
      `host_base = ${host}\nhost_bucket = ${host}\nuse_https = False\n`,
    ];
    writeFileSync(path.join(work, 's3cfg'), config.join('\n'));
    return program('s3cmd', ['-c', 's3cfg', '--no-progress', ...args]);
  };

  it('puts, gets, syncs, copies, signs, shares and removes', async () => {
    await s3cmd('mb', 's3://s3cmd');
    await s3cmd('sync', 'tree/', 's3://s3cmd/tree/');
    await s3cmd('sync', 's3://s3cmd/tree/', 's3cmd-back/');
    expect(folderSums(path.join(work, 's3cmd-back'))).toEqual(folderSums(path.join(work, 'tree')));
    await s3cmd('cp', 's3://s3cmd/tree/a/1', 's3://s3cmd/copy');
    await s3cmd('modify', '--add-header=x-amz-meta-color:blue', 's3://s3cmd/copy');
    expect(await s3cmd('info', 's3://s3cmd/copy')).toContain('x-amz-meta-color: blue');
    await s3cmd('mv', 's3://s3cmd/copy', 's3://s3cmd/moved');
    const signed = (await s3cmd('signurl', 's3://s3cmd/moved', '+600')).trim();
    expect(await (await fetch(signed)).text()).toBe('file 1');
    expect((await fetch(`${endpoint()}/s3cmd/moved`)).status).toBe(403);
    await s3cmd('setacl', '--acl-public', 's3://s3cmd/moved');
    expect(await (await fetch(`${endpoint()}/s3cmd/moved`)).text()).toBe('file 1');
    await s3cmd('setacl', '--acl-private', 's3://s3cmd/moved');
    expect((await fetch(`${endpoint()}/s3cmd/moved`)).status).toBe(403);
    expect(await s3cmd('--signature-v2', 'ls', 's3://s3cmd')).toContain('moved');
    await s3cmd('rb', '--recursive', '--force', 's3://s3cmd');
  });
});

describe.skipIf(!has('rclone'))('rclone', () => {
  const rclone = (...args: string[]) => {
    const { accessKey, secretKey, region } = cluster.access.s3;
    const section = (name: string, provider: string, url: string): string =>
      [
        `[${name}]\ntype = s3\nprovider = ${provider}\nregion = ${region}`,
        `access_key_id = ${accessKey}\nsecret_access_key = ${secretKey}\nendpoint = ${url}\n`,
      ].join('\n');
    // As provider AWS it names buckets by host, whatever it is told.
    const sections = [
      section('aws', 'AWS', `http://${DOMAIN}`),
      section('other', 'Other', endpoint()),
    ];
    writeFileSync(path.join(work, 's3.conf'), sections.join(''));
    const env = { http_proxy: endpoint(), HTTP_PROXY: endpoint() };
    return program('rclone', ['--config', 's3.conf', ...args], { env });
  };

  it.each(['aws', 'other'])(
    'as provider %s: copy, check, move, copy back, purge',
    async (remote) => {
      const there = `${remote}:rclone-s3-${remote}`;
      await rclone('copy', 'tree', there);
      await rclone('check', 'tree', there);
      await rclone('moveto', `${there}/five`, `${there}/moved/five`);
      const back = path.join(work, `rclone-${remote}`);
      await rclone('copy', there, back);
      const expected = folderSums(path.join(work, 'tree'));
      expected.set('moved/five', expected.get('five')!);
      expected.delete('five');
      expect(folderSums(back)).toEqual(expected);
      await rclone('purge', there);
      expect(await rclone('lsd', `${remote}:`)).not.toContain(`rclone-s3-${remote}`);
    },
  );

  it('reads the versions of a bucket, and brings back what was deleted', async () => {
    const there = 'other:rclone-versions';
    await rclone('mkdir', there);
    await rclone('backend', 'versioning', there, 'Enabled');
    await rclone('copyto', 'tree/a/1', `${there}/file`);
    await rclone('copyto', 'tree/a/10', `${there}/file`);
    await rclone('deletefile', `${there}/file`);
    expect(await rclone('lsf', there)).toBe('');
    const found = (await rclone('lsf', '--s3-versions', there)).trim().split('\n').sort();
    expect(found).toHaveLength(2);
    for (const name of found) expect(name).toMatch(/^file-v\d{4}-/);
    const texts = await Promise.all(
      found.map((name) => rclone('cat', '--s3-versions', `${there}/${name}`)),
    );
    expect(texts.sort()).toEqual(['file 1', 'file 10']);
    await rclone('backend', 'cleanup-hidden', there);
    expect(await rclone('lsf', '--s3-versions', there)).toBe('');
  });
});

describe.skipIf(!has('restic'))('restic', () => {
  it('backs up, prunes, checks and restores', async () => {
    const env = {
      RESTIC_REPOSITORY: `s3:${endpoint()}/restic`,
      RESTIC_PASSWORD: 'secret',
      RESTIC_CACHE_DIR: path.join(work, 'restic-cache'),
    };
    const restic = (...args: string[]) => program('restic', ['-q', ...args], { env });
    const extra = path.join(work, 'tree/a/extra');
    await restic('init');
    writeFileSync(extra, randomBytes(3 * MIB));
    await restic('backup', 'tree');
    rmSync(extra);
    await restic('backup', 'tree');
    await restic('forget', '--keep-last', '1', '--prune');
    await restic('check', '--read-data');
    await restic('restore', 'latest', '--target', 'restic-back');
    expect(folderSums(path.join(work, 'restic-back/tree'))).toEqual(
      folderSums(path.join(work, 'tree')),
    );
  });
});

describe.skipIf(!has('duplicity'))('duplicity', () => {
  it('backs up twice, verifies and restores', async () => {
    await program('/usr/bin/aws', ['--endpoint-url', endpoint(), 's3', 'mb', 's3://duplicity']);
    const options = [
      ...['--no-encryption', '--archive-dir', 'duplicity-cache'],
      `--s3-endpoint-url=${endpoint()}`,
    ];
    const url = 'boto3+s3://duplicity/backup';
    const file = path.join(work, 'tree/a/1');
    await program('duplicity', [...options, 'full', 'tree', url]);
    writeFileSync(file, 'changed');
    await program('duplicity', [...options, 'incremental', 'tree', url]);
    await program('duplicity', [...options, 'verify', '--compare-data', url, 'tree']);
    await program('duplicity', [...options, 'restore', url, 'duplicity-back']);
    expect(folderSums(path.join(work, 'duplicity-back'))).toEqual(
      folderSums(path.join(work, 'tree')),
    );
    writeFileSync(file, 'file 1');
  });
});

/** No FUSE in this container: nothing can be mounted at all. */
const S3FS = has('s3fs') && existsSync('/dev/fuse');

describe.skipIf(!S3FS)('s3fs', () => {
  it('mounts a bucket as a file system', async () => {
    const { accessKey, secretKey, region } = cluster.access.s3;
    await program('/usr/bin/aws', ['--endpoint-url', endpoint(), 's3', 'mb', 's3://s3fs']);
    writeFileSync(path.join(work, 's3fs-key'), `${accessKey}:${secretKey}`, { mode: 0o600 });
    mkdirSync(path.join(work, 'mnt'));
    const options = `passwd_file=s3fs-key,url=${endpoint()},use_path_request_style,endpoint=${region}`;
    await program('s3fs', ['s3fs', 'mnt', '-o', options]);
    const sh = (script: string) => program('sh', ['-ec', script]);
    try {
      await sh('cp -r tree/. mnt/ && cmp tree/hundred mnt/hundred');
      await sh(
        'mkdir mnt/dir && mv mnt/hundred mnt/dir/renamed && cmp tree/hundred mnt/dir/renamed',
      );
      await sh('echo one > mnt/log && echo two >> mnt/log && chmod 600 mnt/log');
      expect(await sh('cat mnt/log')).toBe('one\ntwo\n');
      await sh('mv mnt/dir/renamed mnt/hundred && rmdir mnt/dir && rm mnt/log');
      expect(folderSums(path.join(work, 'mnt'))).toEqual(folderSums(path.join(work, 'tree')));
      await sh('rm -r mnt/a');
    } finally {
      await run('fusermount', ['-u', 'mnt'], { cwd: work });
    }
  });
});
