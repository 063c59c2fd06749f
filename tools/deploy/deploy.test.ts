/** Every template is taken by the program it is for. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createCertificateAuthority } from '#authority/certificates.ts';
import { parseDocument } from '#authority/document.ts';
import { thrownCode } from '#base/testing/thrown.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import {
  etcdContext,
  etcdMemberContext,
  grafanaContext,
  haproxyContext,
  nftablesContext,
  prometheusContext,
  systemdContext,
} from './contexts.ts';
import type { ClusterFacts } from './facts.ts';
import { render } from './render.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'anello-deploy-'));
afterAll(() => rmSync(folder, { recursive: true }));

const member = (name: string, site: string, host: string, roles: string[]) => ({
  name,
  site,
  roles,
  wire: { host, port: 7400 },
  ports: { proxy: 8080, identity: 5000, authority: 7600, admin: 7500 },
  expelled: name === 'gone-1',
});
const ROLES = ['proxy', 'identity', 'storage'];
const facts: ClusterFacts = {
  version: 7,
  document: parseDocument({
    name: 'physics',
    policies: [
      { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
    ],
    sites: [
      { name: 'lngs', clients: ['192.0.2.0/24', '2001:db8::/32'] },
      { name: 'bari' },
      { name: 'padova' },
    ],
    links: [{ between: ['lngs', 'bari'], rttMs: 35 }],
    state: 'etcd:http://10.1.0.1:2379,http://10.2.0.1:2379,http://10.3.0.1:2379',
  }),
  members: [
    member('lngs-1', 'lngs', '10.1.0.1', ['authority', ...ROLES]),
    member('bari-1', 'bari', '10.2.0.1', ROLES),
    member('padova-1', 'padova', 'fd00::13', ROLES),
    member('gone-1', 'lngs', '10.1.0.9', ROLES),
  ],
};

function file(name: string, text: string): string {
  const at = path.join(folder, name);
  writeFileSync(at, text);
  return at;
}

/** With CI=true a missing program is a failure; elsewhere it is said, and the test is skipped. */
function has(program: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (!found && process.env['CI'] !== 'true') console.warn(`${program} is not installed: skipped`);
  return found || process.env['CI'] === 'true';
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

describe('deployment', () => {
  it.skipIf(!has('haproxy'))(
    'HAProxy takes its configuration; local proxies serve, others stand by',
    () => {
      const env = createNodeEnv({ logLevel: 'silent' });
      const nowMs = env.clock.wallMicros() / 1000;
      const pair = createCertificateAuthority('test', { random: env.random, nowMs });
      const certificate = file('public.pem', pair.key + pair.certificate);
      const ca = file('ca.pem', pair.certificate);
      const runtime = path.join(folder, 'admin.sock');
      for (const options of [{ runtime }, { runtime, certificate, proxyTls: true, caFile: ca }]) {
        const text = render('haproxy.cfg', haproxyContext(facts, 'lngs', options));
        run('haproxy', '-c', '-f', file('haproxy.cfg', text));
        expect(text).toMatch(/server lngs-1 10\.1\.0\.1:8080\n/);
        expect(text).toMatch(/server bari-1 10\.2\.0\.1:8080 backup\n/);
        expect(text).toMatch(/server padova-1 \[fd00::13\]:8080 backup\n/);
        expect(text).not.toContain('gone-1');
        expect(text).not.toMatch(/^\s*(cookie|stick)/m);
      }
    },
  );

  it.skipIf(!has('nft'))(
    'nftables takes the rules: three kinds of port between sites, and the public ones',
    () => {
      for (const site of ['lngs', 'bari']) {
        const text = render('nftables.conf', nftablesContext(facts, site));
        const checked = spawnSync('nft', ['-c', '-f', file(`${site}.nft`, text)], {
          encoding: 'utf8',
        });
        // Without the right to ask the kernel, nft can still say what is wrong with the text.
        if (checked.status !== 0)
          expect(checked.stderr).toMatch(/not permitted|No such file|cache init/i);
        expect(checked.stderr).not.toMatch(/syntax error/);
        expect(text).toContain('elements = { 10.1.0.1, 10.2.0.1 }');
        expect(text).not.toContain('10.1.0.9');
      }
      const rules = render('nftables.conf', nftablesContext(facts, 'lngs'));
      expect(rules).toContain('tcp dport { 7400, 2380, 2379 } jump from_nodes\n');
      expect(rules).toContain('tcp dport { 7600 } jump from_nodes');
      expect(rules).toContain('tcp dport { 443, 5000, 8080 } jump from_clients');
      expect(rules).toContain('elements = { 192.0.2.0/24 }');
    },
  );

  it.skipIf(!has('systemd-analyze'))('systemd takes the unit', () => {
    const context = {
      config: '/etc/anello/node.yaml',
      data: '/var/lib/anello',
      disks: ['/srv/disk1'],
      command: '/bin/true',
    };
    const unit = file('anello.service', render('anello.service', context));
    const checked = spawnSync('systemd-analyze', ['verify', '--man=no', unit], {
      encoding: 'utf8',
    });
    const complaints = checked.stderr.split('\n').filter((line) => line.includes('anello.service'));
    expect(complaints).toEqual([]);
    expect(checked.status).toBe(0);
  });

  it.skipIf(!has('promtool'))('Prometheus takes the scrape configuration and the rules', () => {
    const rules = file(
      'anello-rules.yml',
      render('anello-rules.yml', prometheusContext(facts, '')),
    );
    run('promtool', 'check', 'rules', rules);
    const config = render('prometheus.yml', prometheusContext(facts, 'anello-rules.yml'));
    run('promtool', 'check', 'config', file('prometheus.yml', config));
    expect(config).toContain('targets: ["10.2.0.1:7500"]');
  });

  it('the dashboard is JSON with a panel for each question', () => {
    const dashboard = JSON.parse(render('grafana-dashboard.json', grafanaContext(facts)));
    expect(dashboard.panels.length).toBeGreaterThan(5);
    expect(dashboard.panels[0].targets[0].expr).toContain('anello_http_request_seconds_count');
  });

  it('an etcd member knows the others, with time-outs that follow from the round trip', () => {
    const text = render('etcd.env', etcdContext(facts, 'bari'));
    expect(text).toContain('ETCD_NAME=anello-2\n');
    expect(text).toContain(
      'anello-1=http://10.1.0.1:2380,anello-2=http://10.2.0.1:2380,anello-3=http://10.3.0.1:2380',
    );
    expect(text).toContain('ETCD_ELECTION_TIMEOUT=1000\n');
    expect(text).not.toContain('CERT');
  });

  it('an etcd member’s file is the same before there is a cluster that tells of it', () => {
    const { name, state } = facts.document;
    const before = render('etcd.env', etcdMemberContext({ name, state }, ['10.2.0.1'], 20));
    const nearer = { ...facts, document: { ...facts.document, links: [] } };
    expect(before).toBe(render('etcd.env', etcdContext(nearer, 'bari')));
    expect(() => etcdMemberContext({ name, state }, ['10.9.0.1'])).toThrow('no etcd member');
  });

  it('etcd members named with https ask clients and each other for certificates', () => {
    const state = facts.document.state.replaceAll('http:', 'https:');
    const secured = { ...facts, document: { ...facts.document, state } };
    const text = render('etcd.env', etcdContext(secured, 'bari'));
    expect(text).toContain('ETCD_LISTEN_CLIENT_URLS=https://10.2.0.1:2379\n');
    expect(text).toContain('ETCD_LISTEN_PEER_URLS=https://10.2.0.1:2380\n');
    expect(text).toContain('ETCD_CLIENT_CERT_AUTH=true\n');
    expect(text).toContain('ETCD_PEER_CLIENT_CERT_AUTH=true\n');
    expect(text).not.toContain('http://');
  });

  it('what a template needs and nobody gives is an error, not an empty place', () => {
    expect(() => render('haproxy.cfg', {})).toThrow();
    expect(() => haproxyContext(facts, 'rome', {})).toThrow(/rome/);
  });
});

describe('what the command line fills in', () => {
  it('says nothing else to a program than what it is for', () => {
    const wrong = { port: ['0', '65536', '443 ssl', 'https'], bind: ['::\nglobal', 'a b', ''] };
    for (const port of wrong.port)
      expect(
        thrownCode(() => haproxyContext(facts, 'lngs', { port })),
        port,
      ).toBe('wrong-use');
    for (const bind of wrong.bind)
      expect(
        thrownCode(() => haproxyContext(facts, 'lngs', { bind })),
        bind,
      ).toBe('wrong-use');
    expect(haproxyContext(facts, 'lngs', { port: '8443', bind: '::1' })).toMatchObject({
      bind: '::1',
    });
    const unit = {
      config: '/etc/anello/node.yaml',
      data: '/var/lib/anello',
      command: '/usr/bin/anello',
    };
    for (const disk of ['srv/disk1', '/srv/my disk', '/srv/d\nExecStart=/bin/sh', '/srv/%n', ''])
      expect(
        thrownCode(() => systemdContext({ ...unit, disks: [disk] })),
        disk,
      ).toBe('wrong-use');
    expect(systemdContext({ ...unit, disks: ['/srv/disk1'] }).disks).toEqual(['/srv/disk1']);
  });

  it('is told where the state is in no etcd', () => {
    const state = 'sqlite:/var/lib/anello/state.db';
    const plain = { ...facts, document: { ...facts.document, state } };
    expect(() => etcdContext(plain, 'lngs')).toThrow(/the cluster's state is not in etcd/);
  });
});
