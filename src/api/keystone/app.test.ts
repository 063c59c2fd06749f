import fc from 'fast-check';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are JSON of any shape; the expectations check it
type Json = Record<string, any>;

let fixture: IdentityFixture;
let app: Hono;
let adminToken: string;
let userToken: string;
const logged: string[] = [];

beforeAll(async () => {
  fixture = await startIdentity();
  const note = (event: string, facts?: Record<string, unknown>) => {
    logged.push(`${event} ${JSON.stringify(facts)}`);
  };
  const log = { debug: note, info: note, warn: note, error: note, with: () => log };
  app = createKeystoneApp({
    identity: fixture.identity,
    log,
    sites: () =>
      ['lngs', 'bari', 'padova'].map((region, i) => ({
        region,
        objectStore: `http://127.0.0.1:808${i}`,
        identity: `http://127.0.0.1:808${i}`,
      })),
    homeRegion: (request) => request.headers.get('x-test-home') ?? undefined,
  });
  adminToken = (await logIn(fixture.admin.userName, fixture.admin.password, 'demo')).token;
  userToken = (await logIn(fixture.second.userName, fixture.second.password, 'second')).token;
});
afterAll(() => fixture.close());

async function send(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const response = await app.request(path, {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: (text ? JSON.parse(text) : undefined) as Json,
  };
}

const asAdmin = (method: string, path: string, body?: unknown) =>
  send(method, path, body, { 'X-Auth-Token': adminToken });
const asUser = (method: string, path: string, body?: unknown) =>
  send(method, path, body, { 'X-Auth-Token': userToken });

function passwordAuth(name: string, password: string, scope?: unknown) {
  const user = { name, password, domain: { name: 'Default' } };
  return {
    auth: {
      identity: { methods: ['password'], password: { user } },
      ...(scope !== undefined && { scope }),
    },
  };
}

async function logIn(name: string, password: string, project: string) {
  const scope = { project: { name: project, domain: { id: 'default' } } };
  const answer = await send('POST', '/v3/auth/tokens', passwordAuth(name, password, scope));
  expect(answer.status).toBe(201);
  return { token: answer.headers.get('x-subject-token')!, body: answer.body['token'] as Json };
}

describe('discovery', () => {
  it('names the version at / and /v3, with the address that was asked', async () => {
    const root = await send('GET', 'http://example.org:5000/');
    expect(root.status).toBe(300);
    expect(root.body['versions'].values[0].links[0].href).toBe('http://example.org:5000/v3/');
    const v3 = await send('GET', '/v3');
    expect([v3.status, v3.body['version'].id]).toEqual([200, 'v3.14']);
    expect((await send('GET', '/v3/')).status).toBe(200);
  });
});

describe('tokens', () => {
  it('has everything that clients look for in a scoped token', async () => {
    const { body } = await logIn('tester', fixture.second.password, 'second');
    expect(body).toMatchObject({
      methods: ['password'],
      user: {
        name: 'tester',
        domain: { id: 'default', name: 'Default' },
        password_expires_at: null,
      },
      project: { id: fixture.second.projectId, name: 'second', domain: { id: 'default' } },
      is_domain: false,
    });
    expect(body['roles'].map((role: Json) => role['name'])).toEqual(['swiftoperator', 'member']);
    expect(body['expires_at']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(body['audit_ids'][0]).toMatch(/^[\w-]{22}$/);
    const store = body['catalog'].find((service: Json) => service['type'] === 'object-store');
    expect(store.endpoints.map((e: Json) => `${e['region']} ${e['interface']}`)).toContain(
      'padova internal',
    );
    expect(store.endpoints[0].url).toBe(
      `http://127.0.0.1:8080/v1/AUTH_${fixture.second.projectId}`,
    );
  });

  it('puts the region of the proxy that was asked first', async () => {
    const scope = { project: { id: fixture.second.projectId } };
    const auth = passwordAuth('tester', fixture.second.password, scope);
    const { body } = await send('POST', '/v3/auth/tokens', auth, { 'x-test-home': 'bari' });
    expect(body['token'].catalog[0].endpoints[0].region).toBe('bari');
  });

  it('gives an unscoped token on demand, and scopes it by the token method', async () => {
    const auth = passwordAuth('tester', fixture.second.password, 'unscoped');
    const unscoped = await send('POST', '/v3/auth/tokens', auth);
    expect(Object.keys(unscoped.body['token'])).not.toContain('project');
    expect(Object.keys(unscoped.body['token'])).not.toContain('catalog');
    const id = unscoped.headers.get('x-subject-token')!;
    const projects = await send('GET', '/v3/auth/projects', undefined, { 'X-Auth-Token': id });
    expect(projects.body['projects'].map((p: Json) => p['name'])).toEqual(['second']);
    const scope = { project: { id: fixture.second.projectId } };
    const again = { auth: { identity: { methods: ['token'], token: { id } }, scope } };
    const scoped = await send('POST', '/v3/auth/tokens', again);
    expect(scoped.body['token']).toMatchObject({
      methods: ['password', 'token'],
      project: { name: 'second' },
    });
    expect(scoped.body['token'].expires_at).toBe(unscoped.body['token'].expires_at);
    expect(scoped.body['token'].audit_ids[1]).toBe(unscoped.body['token'].audit_ids[0]);
  });

  it('validates and revokes: own tokens for everybody, all for administrators', async () => {
    const { token } = await logIn('tester', fixture.second.password, 'second');
    const subject = (auth: string) => ({ 'X-Auth-Token': auth, 'X-Subject-Token': token });
    for (const auth of [token, userToken, adminToken]) {
      const validated = await send('GET', '/v3/auth/tokens?nocatalog', undefined, subject(auth));
      expect([validated.status, validated.body['token'].user.name]).toEqual([200, 'tester']);
      expect(validated.body['token'].catalog).toBeUndefined();
    }
    const head = await app.request('/v3/auth/tokens', { method: 'HEAD', headers: subject(token) });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const foreign = { 'X-Auth-Token': userToken, 'X-Subject-Token': adminToken };
    expect((await send('GET', '/v3/auth/tokens', undefined, foreign)).status).toBe(403);
    expect((await send('DELETE', '/v3/auth/tokens', undefined, foreign)).status).toBe(403);
    expect((await send('DELETE', '/v3/auth/tokens', undefined, subject(token))).status).toBe(204);
    expect((await send('GET', '/v3/auth/tokens', undefined, subject(adminToken))).status).toBe(404);
    expect((await send('GET', '/v3/auth/tokens', undefined, subject(token))).status).toBe(401);
  });

  it('answers 401 the same way whatever was wrong, and names itself', async () => {
    const wrong = [
      passwordAuth('tester', 'wrong'),
      passwordAuth('nobody', 'wrong'),
      {
        auth: {
          identity: {
            methods: ['application_credential'],
            application_credential: { id: 'from-another-cloud', secret: 's' },
          },
        },
      },
      {
        auth: {
          identity: {
            methods: ['password'],
            password: { user: { id: 'u/1', password: 'p' } },
          },
        },
      },
      passwordAuth('tester', fixture.second.password, { project: { id: fixture.admin.projectId } }),
      passwordAuth('tester', fixture.second.password, { project: { id: 'nowhere' } }),
      { auth: { identity: { methods: ['token'], token: { id: 'at1_AAAA' } } } },
    ];
    const answers = await Promise.all(wrong.map((auth) => send('POST', '/v3/auth/tokens', auth)));
    for (const answer of answers) {
      expect(answer.status).toBe(401);
      expect(answer.body).toEqual(answers[0]!.body);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Keystone uri=/);
    }
    expect((await send('GET', '/v3/auth/projects')).status).toBe(401);
  });

  it('answers 400 to what is not a request, and never 500', async () => {
    const scope = { project: {} };
    const bad = [
      '',
      '{',
      '[]',
      '{}',
      'null',
      { auth: {} },
      { auth: { identity: { methods: [] } } },
    ];
    const more = [
      { auth: { identity: { methods: ['password'] } } },
      { auth: { identity: { methods: ['totp'], totp: {} } } },
      { auth: { identity: { methods: ['password'], password: { user: { name: 'x' } } } } },
      passwordAuth('tester', 'x', scope),
      passwordAuth('tester', 'x'.repeat(5000)),
      passwordAuth('a\0b', 'x'),
    ];
    for (const body of [...bad, ...more]) {
      const answer = await send('POST', '/v3/auth/tokens', body);
      expect(answer.status, JSON.stringify(body)).toBe(400);
      expect(answer.body['error']).toMatchObject({ code: 400, title: 'Bad Request' });
    }
    const huge = await send('POST', '/v3/auth/tokens', { auth: 'x'.repeat(200_000) });
    expect(huge.status).toBe(413);
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (auth) => {
        const answer = await send('POST', '/v3/auth/tokens', { auth });
        expect([400, 401]).toContain(answer.status);
      }),
      { numRuns: 50 },
    );
  });
});

describe('v1', () => {
  const ask = (headers: Readonly<Record<string, string | undefined>>) =>
    app.request('/auth/v1.0', { headers: headers as Record<string, string> });

  it('logs old clients in', async () => {
    const { password, projectId } = fixture.second;
    for (const headers of [
      { 'X-Auth-User': 'second:tester', 'X-Auth-Key': password },
      { 'X-Storage-User': 'second:tester', 'X-Storage-Pass': password },
    ]) {
      const response = await ask(headers);
      expect(response.status).toBe(200);
      expect(response.headers.get('x-storage-url')).toBe(
        `http://127.0.0.1:8080/v1/AUTH_${projectId}`,
      );
      expect(response.headers.get('x-storage-token')).toBe(response.headers.get('x-auth-token'));
      expect(Number(response.headers.get('x-auth-token-expires'))).toBeGreaterThan(3600);
    }
    const home = await ask({
      'X-Auth-User': 'second:tester',
      'X-Auth-Key': password,
      'x-test-home': 'bari',
    });
    expect(home.headers.get('x-storage-url')).toMatch('http://127.0.0.1:8081/');
  });

  it.each([
    {},
    { 'X-Auth-User': 'tester' },
    { 'X-Auth-User': 'second:tester' },
    { 'X-Auth-User': ':', 'X-Auth-Key': '' },
    { 'X-Auth-User': 'second:tester', 'X-Auth-Key': 'no' },
    { 'X-Auth-User': 'demo:tester', 'X-Auth-Key': 'no' },
  ])('answers 401 to %j', async (headers) => {
    expect((await ask(headers)).status).toBe(401);
  });
});

describe('administration', () => {
  it('makes, finds, changes and deletes projects, users, groups, roles and domains', async () => {
    for (const [kind, fields] of [
      ['domain', { name: 'dom' }],
      ['project', { name: 'proj' }],
      ['user', { name: 'usr', password: 'password1', email: 'a@b.c' }],
      ['group', { name: 'grp' }],
      ['role', { name: 'rol' }],
    ] as const) {
      const created = await asAdmin('POST', `/v3/${kind}s`, {
        [kind]: { ...fields, colour: 'blue' },
      });
      expect(created.status, kind).toBe(201);
      const { id } = created.body[kind];
      expect(created.body[kind]).toMatchObject({ name: fields.name, colour: 'blue' });
      expect(JSON.stringify(created.body)).not.toContain('password1');
      expect((await asAdmin('POST', `/v3/${kind}s`, { [kind]: fields })).status).toBe(409);
      const list = await asAdmin('GET', `/v3/${kind}s?name=${fields.name}`);
      expect(list.body[`${kind}s`].map((item: Json) => item['id'])).toEqual([id]);
      const renamed = await asAdmin('PATCH', `/v3/${kind}s/${id}`, {
        [kind]: { name: `${fields.name}2` },
      });
      expect(renamed.body[kind].name).toBe(`${fields.name}2`);
      expect(
        (await asAdmin('POST', `/v3/${kind}s`, { [kind]: { name: `${fields.name}2` } })).status,
      ).toBe(409);
      if (kind === 'domain')
        await asAdmin('PATCH', `/v3/domains/${id}`, { domain: { enabled: false } });
      expect((await asAdmin('DELETE', `/v3/${kind}s/${id}`)).status).toBe(204);
      expect((await asAdmin('GET', `/v3/${kind}s/${id}`)).status).toBe(404);
      expect((await asAdmin('DELETE', `/v3/${kind}s/${id}`)).status).toBe(404);
    }
  });

  it('gives ordinary users nothing of it', async () => {
    const { userId, projectId } = fixture.admin;
    const attempts: [string, string, unknown?][] = [
      ['GET', '/v3/users'],
      ['GET', '/v3/projects'],
      ['GET', '/v3/domains'],
      ['GET', '/v3/roles'],
      ['GET', '/v3/groups'],
      ['GET', '/v3/services'],
      ['GET', '/v3/role_assignments'],
      ['GET', `/v3/users/${userId}`],
      ['GET', `/v3/projects/${projectId}`],
      ['GET', `/v3/users/${userId}/credentials/OS-EC2`],
      ['POST', `/v3/users/${userId}/credentials/OS-EC2`, { tenant_id: projectId }],
      ['POST', '/v3/users', { user: { name: 'x', password: 'y' } }],
      ['PATCH', `/v3/users/${fixture.second.userId}`, { user: { enabled: true } }],
      ['POST', '/v3/projects', { project: { name: 'x' } }],
      ['DELETE', `/v3/users/${userId}`],
      ['PUT', `/v3/projects/${projectId}/users/${fixture.second.userId}/roles/${'0'.repeat(32)}`],
    ];
    for (const [method, path, body] of attempts) {
      expect((await asUser(method, path, body)).status, `${method} ${path}`).toBe(403);
      expect((await send(method, path, body)).status, `${method} ${path}`).toBe(401);
    }
    expect((await asUser('GET', `/v3/users/${fixture.second.userId}`)).status).toBe(200);
    expect((await asUser('GET', `/v3/projects/${fixture.second.projectId}`)).status).toBe(200);
  });

  it('grants, lists and removes roles, also by group, by domain and implied', async () => {
    const make = async (kind: string, name: string) =>
      (
        await asAdmin('POST', `/v3/${kind}s`, {
          [kind]: { name, ...(kind === 'user' && { password: 'password1' }) },
        })
      ).body[kind].id as string;
    const [user, group, project] = [
      await make('user', 'ga'),
      await make('group', 'gg'),
      await make('project', 'gp'),
    ];
    const [prior, implied] = [await make('role', 'prior'), await make('role', 'implied')];
    await asAdmin('PUT', `/v3/groups/${group}/users/${user}`);
    const path = `/v3/OS-INHERIT/domains/default/groups/${group}/roles/${prior}/inherited_to_projects`;
    expect((await asAdmin('PUT', path)).status).toBe(204);
    expect((await asAdmin('HEAD', path)).status).toBe(204);
    expect((await asAdmin('PUT', `/v3/roles/${prior}/implies/${implied}`)).status).toBe(201);
    const { body } = await logIn('ga', 'password1', 'gp');
    expect(body['roles'].map((role: Json) => role['name']).sort()).toEqual(['implied', 'prior']);
    const effective = await asAdmin(
      'GET',
      `/v3/role_assignments?effective&include_names&user.id=${user}&scope.project.id=${project}`,
    );
    expect(effective.body['role_assignments'].map((a: Json) => a['role'].name).sort()).toEqual([
      'implied',
      'prior',
    ]);
    expect((await asAdmin('DELETE', path)).status).toBe(204);
    expect((await asAdmin('DELETE', path)).status).toBe(404);
    const scope = { project: { id: project } };
    expect(
      (await send('POST', '/v3/auth/tokens', passwordAuth('ga', 'password1', scope))).status,
    ).toBe(401);
    const missing = `/v3/projects/${project}/users/${'0'.repeat(32)}/roles/${prior}`;
    expect((await asAdmin('PUT', missing)).status).toBe(404);
  });

  it('lets users change their own password, with the old one', async () => {
    const { body } = await asAdmin('POST', '/v3/users', {
      user: { name: 'pw', password: 'first-one' },
    });
    const path = `/v3/users/${body['user'].id}/password`;
    const change = (original_password: string, password: string) =>
      send('POST', path, { user: { original_password, password } });
    expect((await change('wrong', 'second-one')).status).toBe(401);
    expect((await change('first-one', 'second-one')).status).toBe(204);
    expect((await change('first-one', 'third')).status).toBe(401);
    expect((await send('POST', '/v3/auth/tokens', passwordAuth('pw', 'second-one'))).status).toBe(
      201,
    );
  });

  it('makes key pairs, and keeps the secret out of lists of others', async () => {
    const base = `/v3/users/${fixture.second.userId}/credentials/OS-EC2`;
    const wanted = {
      tenant_id: fixture.second.projectId,
      access: 'MYKEY',
      secret: 'my-own-secret',
    };
    expect((await asUser('POST', base, wanted)).body['credential']).toMatchObject({
      access: 'MYKEY',
      secret: 'my-own-secret',
    });
    expect((await asAdmin('POST', base, wanted)).status).toBe(409);
    expect((await asUser('POST', base, { ...wanted, access: 'a/b' })).status).toBe(400);
    expect((await asUser('POST', base, { tenant_id: fixture.admin.projectId })).status).toBe(403);
    expect((await asUser('GET', `${base}/MYKEY`)).status).toBe(200);
    expect((await asUser('DELETE', `${base}/MYKEY`)).status).toBe(204);
    expect((await asUser('GET', `${base}/MYKEY`)).status).toBe(404);
  });

  it('bounds what an application credential can do', async () => {
    const base = `/v3/users/${fixture.second.userId}/application_credentials`;
    const make = (token: string, fields: Json) =>
      send(
        'POST',
        base,
        { application_credential: { name: 'ac', ...fields } },
        { 'X-Auth-Token': token },
      );
    const created = await make(userToken, { roles: [{ name: 'member' }] });
    expect(created.status).toBe(201);
    const { id, secret } = created.body['application_credential'];
    expect((await make(userToken, { name: 'more', roles: [{ name: 'admin' }] })).status).toBe(400);
    expect((await make(adminToken, { name: 'other' })).status).toBe(403);
    const auth = {
      auth: {
        identity: { methods: ['application_credential'], application_credential: { id, secret } },
      },
    };
    const answer = await send('POST', '/v3/auth/tokens', auth);
    expect(answer.body['token']).toMatchObject({
      methods: ['application_credential'],
      project: { name: 'second' },
      roles: [{ name: 'member' }],
      application_credential: { id, name: 'ac', restricted: true },
    });
    const token = answer.headers.get('x-subject-token')!;
    expect((await make(token, { name: 'child' })).status).toBe(403);
    const key = { tenant_id: fixture.second.projectId };
    const pairs = `/v3/users/${fixture.second.userId}/credentials/OS-EC2`;
    expect((await send('POST', pairs, key, { 'X-Auth-Token': token })).status).toBe(403);
    expect((await asUser('DELETE', `${base}/${id}`)).status).toBe(204);
    expect((await send('POST', '/v3/auth/tokens', auth)).status).toBe(401);
    await fixture.env.clock.sleep(150);
    expect(
      (await send('GET', '/v3/auth/projects', undefined, { 'X-Auth-Token': token })).status,
    ).toBe(401);
  });

  it('registers services of others beside its own, which it keeps', async () => {
    const service = await asAdmin('POST', '/v3/services', {
      service: { type: 'image', name: 'glance' },
    });
    const { id } = service.body['service'];
    const fields = {
      service_id: id,
      interface: 'public',
      region: 'lngs',
      url: 'http://g:9292/$(project_id)s',
    };
    expect((await asAdmin('POST', '/v3/endpoints', { endpoint: fields })).status).toBe(201);
    const { body } = await logIn('tester', fixture.second.password, 'second');
    const image = body['catalog'].find((entry: Json) => entry['type'] === 'image');
    expect(image.endpoints[0].url).toBe(`http://g:9292/${fixture.second.projectId}`);
    const all = await asAdmin('GET', '/v3/services?type=object-store');
    const own = all.body['services'][0].id;
    expect((await asAdmin('DELETE', `/v3/services/${own}`)).status).toBe(403);
    expect((await asAdmin('DELETE', `/v3/services/${id}`)).status).toBe(204);
    expect((await asAdmin('GET', `/v3/endpoints?service_id=${id}`)).body['endpoints']).toEqual([]);
  });

  it('answers 404 to ids that cannot be, and to unknown paths', async () => {
    for (const id of ['x', 'a%2Fb', 'x'.repeat(3000), '%00', `${'0'.repeat(31)}G`]) {
      for (const kind of ['users', 'projects', 'roles', 'groups', 'domains', 'credentials']) {
        expect((await asAdmin('GET', `/v3/${kind}/${id}`)).status, `${kind}/${id}`).toBe(404);
      }
    }
    expect((await asAdmin('GET', '/v3/nothing')).status).toBe(404);
  });

  it('writes every act of an administrator, and no secret, into the log', () => {
    const text = logged.join('\n');
    expect(text).toContain('"act":"user.create"');
    for (const secret of [
      'password1',
      'my-own-secret',
      'first-one',
      fixture.second.password,
      adminToken,
    ]) {
      expect(text).not.toContain(secret);
    }
  });
});

describe('when state is away', () => {
  it('answers 503 with Retry-After to log-ins, and still knows its tokens', async () => {
    const other = await startIdentity();
    const { identity, second } = other;
    const away = createKeystoneApp({ identity, log: other.env.log, sites: () => [] });
    await other.state.close();
    other.advance(10_000);
    const response = await away.request('/v3/auth/tokens', {
      method: 'POST',
      body: JSON.stringify(passwordAuth('tester', second.password)),
    });
    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await response.text()).not.toContain('sqlite');
    // No reason for a balancer to leave it: others cannot log in either, and it validates what it knows.
    expect((await away.request('/healthcheck')).status).toBe(200);
    await other.close();
  });
});
