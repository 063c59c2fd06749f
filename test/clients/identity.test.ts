/** Identity as operators and users of OpenStack know it: python-openstackclient makes, swift uses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { fails, type Login, loginOf, must, openstackJson } from './openstack-env.ts';
import { has } from './program.ts';

const AVAILABLE = has('openstack') && has('swift');

describe.skipIf(!AVAILABLE)('identity through openstack and swift', () => {
  let cluster: Cluster;
  let work: string;
  let admin: Login;
  const openstack = (...args: string[]) => must('openstack', args, admin);

  beforeAll(async () => {
    cluster = await Cluster.start();
    work = mkdtempSync(path.join(tmpdir(), 'anello-identity-'));
    admin = loginOf(cluster.access.keystone);
  }, 60_000);
  afterAll(async () => {
    await cluster?.stopAndRemove();
    if (work) rmSync(work, { recursive: true, force: true });
  });

  const anna = (): Login => ({
    ...admin,
    ...{ OS_USERNAME: 'anna', OS_PASSWORD: 'annas-secret', OS_PROJECT_NAME: 'photos' },
    ...{ OS_USER_DOMAIN_NAME: 'lab', OS_PROJECT_DOMAIN_NAME: 'lab' },
  });

  it('makes a domain, project, user and role assignment, and the user stores an object', async () => {
    await openstack('domain', 'create', 'lab');
    await openstack('project', 'create', '--domain', 'lab', 'photos');
    await openstack('user', 'create', '--domain', 'lab', '--password', 'annas-secret', 'anna');
    const place = [
      '--user',
      'anna',
      '--user-domain',
      'lab',
      '--project',
      'photos',
      '--project-domain',
      'lab',
    ];
    await fails('swift', ['list'], anna());
    await openstack('role', 'add', ...place, 'swiftoperator');
    const file = path.join(work, 'hello.txt');
    writeFileSync(file, 'hello');
    await must('swift', ['upload', 'box', file, '--object-name', 'hello.txt'], anna());
    for (const region of ['lngs', 'bari', 'padova']) {
      const back = path.join(work, `back-${region}`);
      const args = ['--os-region-name', region, 'download', 'box', 'hello.txt', '-o', back];
      await must('swift', args, anna());
      expect(readFileSync(back, 'utf8')).toBe('hello');
    }
    await openstack('role', 'remove', ...place, 'swiftoperator');
    await fails('swift', ['list'], anna());
    await openstack('role', 'add', ...place, 'swiftoperator');
  });

  it('logs in with an application credential, until it is deleted', async () => {
    const made = (await openstackJson(
      ['application', 'credential', 'create', 'robot'],
      anna(),
    )) as Record<string, string>;
    const robot: Login = {
      OS_AUTH_TYPE: 'v3applicationcredential',
      OS_AUTH_URL: admin['OS_AUTH_URL']!,
      OS_IDENTITY_API_VERSION: '3',
      OS_REGION_NAME: 'bari',
      OS_APPLICATION_CREDENTIAL_ID: made['id']!,
      OS_APPLICATION_CREDENTIAL_SECRET: made['secret']!,
    };
    expect(await must('openstack', ['container', 'list', '-f', 'value'], robot)).toBe('box');
    await fails('openstack', ['ec2', 'credentials', 'create'], robot);
    await must('openstack', ['application', 'credential', 'delete', 'robot'], anna());
    await fails('openstack', ['container', 'list'], robot);
  });

  it('makes and lists EC2 credentials, and changes a password', async () => {
    const made = (await openstackJson(['ec2', 'credentials', 'create'], anna())) as Record<
      string,
      string
    >;
    const list = (await openstackJson(['ec2', 'credentials', 'list'], anna())) as Record<
      string,
      string
    >[];
    expect(list.map((entry) => entry['Access'])).toEqual([made['access']]);
    const change = [
      'user',
      'password',
      'set',
      '--original-password',
      'annas-secret',
      '--password',
      'another-one',
    ];
    await must('openstack', change, anna());
    await fails('openstack', ['token', 'issue'], anna());
    await must('openstack', ['token', 'issue'], { ...anna(), OS_PASSWORD: 'another-one' });
  });

  it('refuses administration to ordinary users', async () => {
    const tester = loginOf(cluster.access.second.keystone);
    for (const args of [
      ['user', 'list'],
      ['project', 'create', 'x'],
      ['domain', 'list'],
      ['endpoint', 'list'],
    ]) {
      expect(await fails('openstack', args, tester)).toContain('403');
    }
  });
});
