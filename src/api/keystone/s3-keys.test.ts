import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import { fetchS3KeysFrom } from '#auth/remote-s3-keys.ts';
import { dayOf } from '#auth/s3-key-cache.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';

let fixture: IdentityFixture;
let servers: Server[];
let urls: string[];
const proxies: ProxyAuthenticator[] = [];
let requests: string[] = [];

async function serve(answer?: number): Promise<Server> {
  const app = createKeystoneApp({
    identity: fixture.identity,
    log: fixture.env.log,
    sites: () => [],
  });
  const listener = getRequestListener(app.fetch);
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    if (answer === undefined) void listener(request, response);
    else response.writeHead(answer).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

beforeAll(async () => {
  fixture = await startIdentity();
  const { users, projects, grants, roles } = fixture.identity;
  const project = await projects.create({ name: 'service' });
  for (const [name, roleName] of [
    ['proxy', 'service'],
    ['nobody', 'member'],
  ] as const) {
    const user = await users.create({ name, password: 'proxy-password' });
    const roleId = (await roles.find(roleName))!.id;
    const grant = {
      actor: { kind: 'user', id: user.id },
      target: { kind: 'project', id: project.id },
    } as const;
    await grants.add({ ...grant, roleId, inherited: false });
  }
  servers = [await serve(503), await serve()];
  urls = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v3`);
});
afterAll(async () => {
  for (const proxy of proxies) await proxy.close();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await fixture.close();
});

async function proxyWith(user: string, endpoints: readonly string[]): Promise<ProxyAuthenticator> {
  const { env, state, folder } = fixture;
  const login = { user, password: 'proxy-password', project: 'service' };
  const fetchS3Key = fetchS3KeysFrom({ env, endpoints, fetch, login });
  const cacheDir = join(folder, `proxy-${proxies.length}`);
  const proxy = createAuthenticator({ env, state, cacheDir, fetchS3Key });
  proxies.push(proxy);
  await proxy.ready;
  requests = [];
  return proxy;
}

const request = (change: object = {}) => ({
  ...{ access: fixture.second.access, region: 'us-east-1', service: 's3' },
  day: dayOf(fixture.env.clock.wallMicros() / 1000),
  ...change,
});

describe('S3 keys over HTTP', () => {
  it('reach a proxy that has no master key, past a dead and a failing service', async () => {
    const proxy = await proxyWith('proxy', ['http://127.0.0.1:9/v3', ...urls]);
    const found = await proxy.findS3Key(request());
    expect(found?.signingKey).toEqual(deriveSigningKey(fixture.second.secret, request()));
    expect(found?.caller.userName).toBe('tester');
    const before = requests.length;
    expect(await proxy.findS3Key(request())).toBeDefined();
    expect(requests).toHaveLength(before);
    expect(await proxy.findS3Key(request({ access: 'UNKNOWN' }))).toBeUndefined();
    await expect(proxy.findS3Key(request({ day: '20200101' }))).rejects.toMatchObject({
      code: 'bad-request',
    });
    // The working one is asked first from then on, and the token is used again.
    requests = [];
    await proxy.findS3Key(request({ region: 'other' }));
    expect(requests).toEqual(['/v3/anello/s3-keys']);
  });

  it('log in again when the token of the proxy itself was revoked', async () => {
    const proxy = await proxyWith('proxy', [urls[1]!]);
    await proxy.findS3Key(request());
    const user = (await fixture.identity.users.find('proxy'))!;
    await fixture.identity.revoke({ kind: 'user', id: user.id });
    expect(await proxy.findS3Key(request({ region: 'second' }))).toBeDefined();
  });

  it('are for services only, and say unavailable when nobody answers', async () => {
    const unavailable = { code: 'state-unavailable' };
    const nobody = await proxyWith('nobody', [urls[1]!]);
    await expect(nobody.findS3Key(request())).rejects.toMatchObject(unavailable);
    const lost = await proxyWith('proxy', ['http://127.0.0.1:9/v3', urls[0]!]);
    await expect(lost.findS3Key(request())).rejects.toMatchObject(unavailable);
  });
});
