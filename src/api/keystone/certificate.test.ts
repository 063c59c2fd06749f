/** A client with a proxy certificate, through a real TLS connection, to a token and an ACL's decision. */
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decide } from '#auth/acl.ts';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import { accountOf } from '#auth/caller.ts';
import { Grid } from '#identity/grid.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import {
  authority,
  basicConstraints,
  HOUR_MS,
  INHERIT,
  type Issued,
  issue,
  keyUsage,
  LIMITED,
  pem,
  proxyInfo,
} from '#identity/x509/testing/pki.ts';
import { createKeystoneApp } from './app.ts';

let fixture: IdentityFixture;
let server: Server;
let grid: Grid;
let authenticator: ProxyAuthenticator;
let port: number;
let anna: Issued;
let ca: Issued;
const ANNA = '/DC=org/CN=Anna';
const from = Date.now() - HOUR_MS;
const until = Date.now() + 12 * HOUR_MS;
const dates = { fromMs: from, untilMs: until };

const proxyOf = (policy: string): Issued =>
  issue({ ...dates, subject: `${ANNA}/CN=1`, issuer: anna, extensions: [proxyInfo(policy)] });

beforeAll(async () => {
  fixture = await startIdentity();
  const { env, identity, folder, state } = fixture;
  await identity.projects.create({ name: 'atlas' });
  const caKeys = authority('/DC=org/CN=CA');
  ca = issue({
    ...dates,
    subject: '/DC=org/CN=CA',
    keys: caKeys,
    extensions: [basicConstraints(true), keyUsage(0x06)],
  });
  anna = issue({
    ...dates,
    subject: ANNA,
    issuer: ca,
    extensions: [basicConstraints(false), keyUsage(0x80)],
  });
  mkdirSync(join(folder, 'ca'));
  writeFileSync(join(folder, 'ca', 'ca.pem'), pem('CERTIFICATE', ca.der));
  const rules = {
    version: 1,
    rules: [
      { when: { subject: ['/DC=org/*'] }, user: '{cn}', project: 'atlas', roles: ['member'] },
    ],
  };
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(rules));
  const parseRules = (text: string): unknown => JSON.parse(text);
  grid = new Grid({
    env,
    caFolder: join(folder, 'ca'),
    rulesFile: join(folder, 'rules.json'),
    parseRules,
  });
  await grid.start();
  authenticator = createAuthenticator({ env, state, cacheDir: join(folder, 'cache') });
  await authenticator.ready;
  const app = createKeystoneApp({ identity, log: env.log, sites: () => [], grid });
  const own = issue({ ...dates, subject: '/CN=localhost' });
  const tls = {
    cert: pem('CERTIFICATE', own.der),
    key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
  server = createServer(
    { ...tls, requestCert: true, rejectUnauthorized: false },
    getRequestListener(app.fetch),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  grid.close();
  await authenticator.close();
  await fixture.close();
});

async function logIn(chain: readonly Issued[], scope?: unknown, more: object = {}) {
  const [leaf] = chain;
  const auth = {
    identity: { methods: ['external'], external: {}, ...more },
    ...(scope !== undefined && { scope }),
  };
  const sent = request({
    ...{
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: '/v3/auth/tokens',
      rejectUnauthorized: false,
      agent: false,
    },
    ...(leaf && {
      cert: chain.map(({ der }) => pem('CERTIFICATE', der)).join(''),
      key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    }),
  });
  sent.end(JSON.stringify({ auth }));
  const [response] = await once(sent, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  const token = String(response.headers['x-subject-token'] ?? '');
  return { status: response.statusCode as number, token, body: JSON.parse(text) };
}

describe('log-in by certificate', () => {
  it('leads a proxy certificate to a token whose holder the ACLs know', async () => {
    const { status, token, body } = await logIn([proxyOf(INHERIT), anna]);
    expect([status, body.token?.user.name, body.token?.project.name]).toEqual([
      201,
      'Anna',
      'atlas',
    ]);
    expect(body.token.methods).toEqual(['mapped']);
    const caller = await authenticator.authenticate({ 'x-auth-token': token });
    const account = accountOf(fixture.second.projectId);
    const ask = (readAcl: string) =>
      decide({
        caller,
        account,
        operation: 'read',
        readAcl,
        accountDomainId: authenticator.accountDomain(account),
      });
    expect(ask('atlas:*')).toEqual({ allowed: true, owner: false });
    expect(ask('cms:*')).toEqual({ allowed: false, status: 403 });
  });

  it('works with the certificate itself, and finds the same user again', async () => {
    const first = await logIn([anna]);
    const second = await logIn([anna], { project: { name: 'atlas', domain: { id: 'default' } } });
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.body.token.user.id).toBe(first.body.token.user.id);
  });

  it('is not the log-in of a user with a password who has that name', async () => {
    const { admin, identity } = fixture;
    const atlas = (await identity.projects.find('atlas', 'default'))!;
    const roleId = (await identity.roles.find('admin'))!.id;
    await identity.grants.add({
      actor: { kind: 'user', id: admin.userId },
      target: { kind: 'project', id: atlas.id },
      ...{ roleId, inherited: false },
    });
    const thief = issue({
      ...{ ...dates, subject: '/DC=org/CN=admin', issuer: ca },
      extensions: [basicConstraints(false), keyUsage(0x80)],
    });
    expect((await logIn([thief])).status).toBe(401);
  });

  it('refuses who has none, a foreign one, or asks for another project', async () => {
    const stranger = issue({ ...dates, subject: '/DC=org/CN=Eve' });
    expect((await logIn([])).status).toBe(401);
    expect((await logIn([stranger])).status).toBe(401);
    expect((await logIn([anna], { project: { id: fixture.admin.projectId } })).status).toBe(401);
    expect((await logIn([anna], 'unscoped')).status).toBe(401);
    const combined = { methods: ['external', 'token'], token: { id: 'x' } };
    expect((await logIn([anna], undefined, combined)).status).toBe(400);
  });

  it('gives a limited proxy nothing that lasts', async () => {
    const { token, body } = await logIn([proxyOf(LIMITED), anna]);
    expect(body.token.methods).toEqual(['mapped', 'limited']);
    const app = createKeystoneApp({
      identity: fixture.identity,
      log: fixture.env.log,
      sites: () => [],
    });
    const userId = body.token.user.id as string;
    const post = async (path: string, value: unknown, as = token) => {
      const headers = { 'X-Auth-Token': as };
      return (await app.request(path, { method: 'POST', headers, body: JSON.stringify(value) }))
        .status;
    };
    const key = { tenant_id: body.token.project.id as string };
    expect(await post(`/v3/users/${userId}/credentials/OS-EC2`, key)).toBe(403);
    const credential = { application_credential: { name: 'x' } };
    expect(await post(`/v3/users/${userId}/application_credentials`, credential)).toBe(403);
    const exchange = { auth: { identity: { methods: ['token'], token: { id: token } } } };
    expect(await post('/v3/auth/tokens', exchange)).toBe(201);
  });
});
