/**
 * A virtual organisation against a running cluster: members with a VOMS proxy reach what is shared with
 * `atlas:*`, others do not; certificates become tokens and S3 credentials at identity's TLS port.
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  basicConstraints,
  HOUR_MS,
  INHERIT,
  type Issued,
  issue,
  keyUsage,
  pem,
  proxyInfo,
} from '#identity/x509/testing/pki.ts';
import { vomsExtension } from '#identity/x509/testing/voms.ts';
import { Cluster } from './cluster.ts';
import { anello } from './command.ts';

const dates = { fromMs: Date.now() - HOUR_MS, untilMs: Date.now() + 12 * HOUR_MS };
const CA = '/DC=org/CN=Test CA';
const VOMS = '/DC=org/CN=voms.example.org';
const ca = issue({
  ...{ ...dates, subject: CA },
  extensions: [basicConstraints(true), keyUsage(0x06)],
});
const leaf = (subject: string, serial: number): Issued =>
  issue({
    ...{ ...dates, subject, issuer: ca, serial },
    extensions: [basicConstraints(false), keyUsage(0x80)],
  });
const server = leaf(VOMS, 10);
const anna = leaf('/DC=org/CN=Anna', 11);
const eve = leaf('/DC=org/CN=Eve', 12);

function proxyOf(holder: Issued, serial: number, vo: string): Issued {
  const fqans = [`/${vo}/Role=NULL/Capability=NULL`];
  const attributes = {
    ...dates,
    vo,
    fqans,
    holderIssuer: ca.subject,
    holderSerial: serial,
    server,
  };
  const subject = holder === anna ? '/DC=org/CN=Anna/CN=1' : '/DC=org/CN=Eve/CN=1';
  const extensions = [proxyInfo(INHERIT), vomsExtension(attributes)];
  return issue({ ...dates, subject, issuer: holder, extensions });
}

const RULES = `
version: 1
rules:
  - { name: members, when: { vo: [atlas] }, user: "{subject}", project: atlas, roles: [member] }
  - { name: others, when: { subject: ["/DC=org/*"] }, user: "{subject}", project: grid, roles: [member] }
`;

let cluster: Cluster;
let chains: { readonly member: readonly Issued[]; readonly stranger: readonly Issued[] };

beforeAll(async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-test-'));
  const grid = path.join(folder, 'grid');
  mkdirSync(path.join(grid, 'certificates'), { recursive: true });
  mkdirSync(path.join(grid, 'vomsdir', 'atlas'), { recursive: true });
  writeFileSync(path.join(grid, 'certificates', 'test.pem'), pem('CERTIFICATE', ca.der));
  writeFileSync(path.join(grid, 'vomsdir', 'atlas', 'voms.example.org.lsc'), `${VOMS}\n${CA}\n`);
  writeFileSync(path.join(grid, 'mapping.yaml'), RULES);
  cluster = await Cluster.start([], folder);
  await anello('project', 'create', 'atlas', '--data', folder);
  // Eve's server is not one that speaks for cms here, so her proxy proves only who she is.
  chains = { member: [proxyOf(anna, 11, 'atlas'), anna], stranger: [proxyOf(eve, 12, 'cms'), eve] };
});
afterAll(() => cluster?.stopAndRemove());

const texts = (chain: readonly Issued[]): string =>
  chain.map(({ der }) => pem('CERTIFICATE', der)).join('');

/** At identity's TLS port of a site; the agent resumes sessions where the server lets it. */
function post(agent: Agent, site: number, target: string, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const port = Number(new URL(grid().urls[site]!).port);
    const options = { agent, host: '127.0.0.1', port, method: 'POST', path: target };
    const sent = request(options, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          token: String(response.headers['x-subject-token'] ?? ''),
          text: Buffer.concat(parts).toString(),
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

interface Answer {
  readonly status: number;
  readonly token: string;
  readonly text: string;
}

interface GridAccess {
  readonly urls: readonly string[];
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

const grid = (): GridAccess =>
  JSON.parse(readFileSync(path.join(cluster.folder, 'access.json'), 'utf8')).grid;

function agentOf(chain: readonly Issued[]): Agent {
  const key = chain[0]?.privateKey.export({ type: 'pkcs8', format: 'pem' });
  return new Agent({
    ca: readFileSync(grid().authority),
    ...(key !== undefined && { key, cert: texts(chain) }),
  });
}

const LOG_IN = JSON.stringify({
  auth: { identity: { methods: ['external'], external: {} } },
});

async function tokenOf(chain: readonly Issued[], site = 0): Promise<string> {
  const { status, token, text } = await post(agentOf(chain), site, '/v3/auth/tokens', LOG_IN);
  expect([status, text]).toEqual([201, expect.stringContaining('mapped')]);
  return token;
}

describe('a virtual organisation', () => {
  it('is named in an ACL: a member reads at every site, a non-member gets 403', async () => {
    const { token, url } = await cluster.login();
    const owner = { 'x-auth-token': token };
    const put = (target: string, headers: Record<string, string>) =>
      fetch(`${url}${target}`, { method: 'PUT', headers: { ...owner, ...headers } });
    expect((await put('/vo', { 'x-container-read': 'atlas:*' })).status).toBe(201);
    expect((await put('/vo/data', {})).status).toBe(201);
    const tokens = {
      member: await tokenOf(chains.member, 1),
      stranger: await tokenOf(chains.stranger, 2),
    };
    const account = new URL(url).pathname;
    for (const proxy of cluster.proxies) {
      const get = async (headers: Record<string, string>) =>
        (await fetch(`${proxy}${account}/vo/data`, { headers })).status;
      expect(await get({ 'x-auth-token': tokens.member })).toBe(200);
      expect(await get({ 'x-auth-token': tokens.stranger })).toBe(403);
      expect(await get({})).toBe(401);
    }
    const usage = await fetch(`${cluster.proxies[0]}/v3/anello/usage`, { headers: owner });
    expect([usage.status, await usage.json()]).toEqual([
      200,
      { usage: expect.objectContaining({ containers: expect.any(Number), bytes: 0 }) },
    ]);
  });

  it('gets S3 credentials for its proxies, also over a connection that resumes another', async () => {
    const agent = agentOf(chains.member);
    const form = 'Action=AssumeRoleWithCertificate&Version=2011-06-15&DurationSeconds=900';
    for (let i = 0; i < 3; i++) {
      const { status, text } = await post(agent, 0, '/sts', form);
      expect([status, text]).toEqual([200, expect.stringContaining('<SessionToken>at1_')]);
    }
  });

  it('is nothing for who has no certificate, or one of nobody', async () => {
    const self = issue({ ...dates, subject: '/DC=org/CN=Anna' });
    for (const chain of [[], [self]]) {
      expect((await post(agentOf(chain), 0, '/v3/auth/tokens', LOG_IN)).status).toBe(401);
    }
    const plain = `http://127.0.0.1:${cluster.basePort}/v3/auth/tokens`;
    expect((await fetch(plain, { method: 'POST', body: LOG_IN })).status).toBe(401);
  });

  it('is told by anello identity map what its certificates would get', async () => {
    const file = path.join(cluster.folder, 'proxy.pem');
    writeFileSync(file, texts(chains.member));
    const test = ['identity', 'map', '--data', cluster.folder, '--test'];
    const told = await anello(...test, file, '--json');
    expect(JSON.parse(told.stdout)).toMatchObject({
      ...{ rule: 'members', user: '/DC=org/CN=Anna', project: 'atlas', roles: ['member'] },
      fqans: ['/atlas'],
    });
    expect((await anello(...test, grid().certificate)).code).toBe(1);
    expect((await anello(...test, '/nowhere')).code).toBe(2);
  });
});
