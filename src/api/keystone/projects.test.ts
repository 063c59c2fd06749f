/** Tags and hierarchy of projects, effective assignments, and what PATCH keeps. */
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

beforeAll(async () => {
  fixture = await startIdentity();
  app = createKeystoneApp({
    identity: fixture.identity,
    log: fixture.env.log,
    sites: () => [{ region: 'lngs', objectStore: 'http://s', identity: 'http://i' }],
  });
  adminToken = await logIn(fixture.admin.userName, fixture.admin.password, 'demo');
  userToken = await logIn(fixture.second.userName, fixture.second.password, 'second');
});
afterAll(() => fixture.close());

async function ask(method: string, path: string, body?: unknown, token = adminToken) {
  const response = await app.request(`/v3${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', 'X-Auth-Token': token },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const { status, headers } = response;
  return { status, headers, body: (text ? JSON.parse(text) : undefined) as Json };
}

async function logIn(name: string, password: string, project: string): Promise<string> {
  const domain = { id: 'default' };
  const user = { name, password, domain };
  const identity = { methods: ['password'], password: { user } };
  const auth = { identity, scope: { project: { name: project, domain } } };
  return (await ask('POST', '/auth/tokens', { auth }, '')).headers.get('x-subject-token')!;
}

async function make(kind: string, fields: Json): Promise<Json> {
  const { status, body } = await ask('POST', `/${kind}s`, { [kind]: fields });
  expect(status, JSON.stringify(body)).toBe(201);
  return body[kind];
}

async function names(path: string): Promise<string[]> {
  return (await ask('GET', path)).body['projects'].map((one: Json) => one['name']).sort();
}

describe('tags of a project', () => {
  it('are put, shown and removed, one by one and all at once', async () => {
    const { id } = await make('project', { name: 'tagged', tags: ['red'], colour: 'x' });
    const tags = `/projects/${id}/tags`;
    expect((await ask('PUT', `${tags}/light%20green`)).status).toBe(201);
    expect((await ask('PUT', `${tags}/red`)).status).toBe(201);
    expect((await ask('GET', tags)).body['tags']).toEqual(['red', 'light green']);
    expect((await ask('GET', `${tags}/red`)).status).toBe(204);
    expect((await ask('HEAD', `${tags}/blue`)).status).toBe(404);
    expect((await ask('DELETE', `${tags}/red`)).status).toBe(204);
    expect((await ask('DELETE', `${tags}/red`)).status).toBe(404);
    const all = await ask('PUT', tags, { tags: ['a', 'b'] });
    expect([all.status, all.body['tags']]).toEqual([200, ['a', 'b']]);
    const shown = (await ask('GET', `/projects/${id}`)).body['project'];
    expect(shown).toMatchObject({ tags: ['a', 'b'], colour: 'x' });
    expect((await ask('DELETE', tags)).status).toBe(204);
    expect((await ask('GET', tags)).body['tags']).toEqual([]);
  });

  it('have a form and a number', async () => {
    const { id } = await make('project', { name: 'strict' });
    const tags = `/projects/${id}/tags`;
    for (const bad of [['a,b'], ['a/b'], [''], ['x'.repeat(256)], ['a', 'a'], 'a', [1]]) {
      expect((await ask('PUT', tags, { tags: bad })).status, String(bad)).toBe(400);
      expect((await ask('PATCH', `/projects/${id}`, { project: { tags: bad } })).status).toBe(400);
    }
    const many = Array.from({ length: 80 }, (_, i) => `t${i}`);
    expect((await ask('PUT', tags, { tags: many })).status).toBe(200);
    expect((await ask('PUT', `${tags}/one-more`)).status).toBe(400);
    expect((await ask('GET', tags)).body['tags']).toEqual(many);
  });

  it('are for administrators to change, and for members to see', async () => {
    const own = `/projects/${fixture.second.projectId}/tags`;
    expect((await ask('GET', own, undefined, userToken)).status).toBe(200);
    expect((await ask('PUT', `${own}/x`, undefined, userToken)).status).toBe(403);
    const other = `/projects/${fixture.admin.projectId}/tags`;
    expect((await ask('GET', other, undefined, userToken)).status).toBe(403);
  });

  it('filter lists', async () => {
    const { id } = await make('domain', { name: 'labels' });
    await make('project', { name: 'rb', domain_id: id, tags: ['r', 'b'] });
    await make('project', { name: 'r', domain_id: id, tags: ['r'] });
    await make('project', { name: 'none', domain_id: id });
    const list = (query: string) => names(`/projects?domain_id=${id}&${query}`);
    expect(await list('tags=r,b')).toEqual(['rb']);
    expect(await list('tags-any=r,b')).toEqual(['r', 'rb']);
    expect(await list('not-tags=r,b')).toEqual(['none', 'r']);
    expect(await list('not-tags-any=r,b')).toEqual(['none']);
    expect(await list('name__startswith=r')).toEqual(['r', 'rb']);
    expect(await list('name__icontains=ON')).toEqual(['none']);
    expect(await list('name__contains=ON')).toEqual([]);
  });
});

describe('projects within projects', () => {
  it('show what is above and below them', async () => {
    const { id: domain } = await make('domain', { name: 'tree' });
    const top = (await make('project', { name: 'top', domain_id: domain }))['id'];
    const mid = await make('project', { name: 'mid', parent_id: top });
    expect(mid).toMatchObject({ domain_id: domain, parent_id: top });
    const low = (await make('project', { name: 'low', parent_id: mid['id'] }))['id'];
    const shown = async (id: string, query: string) =>
      (await ask('GET', `/projects/${id}?${query}`)).body['project'];
    expect((await shown(low, 'parents_as_ids'))['parents']).toEqual({
      [mid['id']]: { [top]: { [domain]: null } },
    });
    expect((await shown(top, 'parents_as_ids&subtree_as_ids'))['subtree']).toEqual({
      [mid['id']]: { [low]: null },
    });
    expect((await shown(low, 'subtree_as_ids'))['subtree']).toBeNull();
    // Only where the caller has a role.
    const listed = async () =>
      (await shown(low, 'parents_as_list'))['parents'].map((one: Json) => one['project'].name);
    expect(await listed()).toEqual([]);
    const role = (await make('role', { name: 'climber' }))['id'];
    const { userId } = fixture.admin;
    await ask('PUT', `/projects/${top}/users/${userId}/roles/${role}`);
    expect(await listed()).toEqual(['top']);
    const both = await ask('GET', `/projects/${low}?parents_as_list&parents_as_ids`);
    expect(both.status).toBe(400);
  });

  it('belong to the domain of their parent, which must be there', async () => {
    const { id } = await make('project', { name: 'parent' });
    const { id: domain_id } = await make('domain', { name: 'elsewhere' });
    const create = (fields: Json) => ask('POST', '/projects', { project: fields });
    expect((await create({ name: 'x', parent_id: '0'.repeat(32) })).status).toBe(404);
    expect((await create({ name: 'x', parent_id: id, domain_id })).status).toBe(400);
    const direct = await create({ name: 'x', parent_id: domain_id });
    expect(direct.body['project']).toMatchObject({ domain_id, parent_id: domain_id });
  });
});

it('keeps further fields that a change does not name, within a limit', async () => {
  for (const kind of ['domain', 'project', 'user', 'group', 'role', 'service', 'region']) {
    const wanted = kind === 'region' ? { id: 'extras' } : { name: 'extras', type: 't' };
    const { id } = await make(kind, { ...wanted, one: 1 });
    const patch = (fields: Json) => ask('PATCH', `/${kind}s/${id}`, { [kind]: fields });
    const changed = await patch({ two: 2 });
    expect(changed.body[kind], kind).toMatchObject({ one: 1, two: 2 });
    expect((await patch({ three: 'x'.repeat(20_000) })).status, kind).toBe(400);
    expect((await ask('GET', `/${kind}s/${id}`)).body[kind]).toMatchObject({ one: 1, two: 2 });
  }
});

describe('effective assignments', () => {
  it('spell out inheritance, groups and implied roles, and name the grant', async () => {
    const { id: domain_id } = await make('domain', { name: 'effects' });
    const top = (await make('project', { name: 'top', domain_id }))['id'];
    const low = (await make('project', { name: 'low', parent_id: top }))['id'];
    const user = (await make('user', { name: 'u', domain_id }))['id'];
    const group = (await make('group', { name: 'g', domain_id }))['id'];
    await ask('PUT', `/groups/${group}/users/${user}`);
    const [prior, implied] = [
      (await make('role', { name: 'first' }))['id'],
      (await make('role', { name: 'second' }))['id'],
    ];
    await ask('PUT', `/roles/${prior}/implies/${implied}`);
    await ask('PUT', `/projects/${top}/groups/${group}/roles/${prior}`);
    const inherit = `/OS-INHERIT/domains/${domain_id}/users/${user}/roles/${implied}`;
    await ask('PUT', `${inherit}/inherited_to_projects`);
    const list = async (query: string) =>
      (await ask('GET', `/role_assignments?${query}`)).body['role_assignments'] as Json[];
    const places = (items: Json[]) =>
      items.map((item) => [item['scope'].project?.id, item['role'].id].join(' ')).sort();
    const all = await list(`effective&user.id=${user}`);
    expect(places(all)).toEqual(
      [`${top} ${prior}`, `${top} ${implied}`, `${top} ${implied}`, `${low} ${implied}`].sort(),
    );
    const [below] = await list(`effective&user.id=${user}&scope.project.id=${low}`);
    expect(below!['links'].assignment).toContain(`${inherit}/inherited_to_projects`);
    expect(below!['scope']).toEqual({ project: { id: low } });
    const ofGroup = all.find((item) => item['role'].id === prior);
    expect(ofGroup!['links'].membership).toContain(`/groups/${group}/users/${user}`);
    const granted = await list(`user.id=${user}`);
    expect(granted.map((item) => item['scope'])).toEqual([
      { domain: { id: domain_id }, 'OS-INHERIT:inherited_to': 'projects' },
    ]);
    await ask('PUT', `/projects/${low}/users/${user}/roles/${prior}`);
    expect(await list(`scope.project.id=${top}`)).toHaveLength(1);
    expect(await list(`scope.project.id=${top}&include_subtree=true`)).toHaveLength(2);
  });

  it.each(['user.id=a&group.id=b', 'effective&group.id=a', 'include_subtree'])(
    'refuse what nothing can match: %s',
    async (query) => {
      expect((await ask('GET', `/role_assignments?${query}`)).status).toBe(400);
    },
  );
});

it('refuses bodies that are nested too deeply, and keeps those of a sane depth', async () => {
  const nested = (levels: number): unknown =>
    JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
  const project = (levels: number) => ({ project: { name: `n${levels}`, notes: nested(levels) } });
  expect((await ask('POST', '/projects', project(62))).status).toBe(201);
  expect((await ask('POST', '/projects', project(63))).status).toBe(400);
  const deepest = JSON.stringify(project(1)).replace(
    '[]',
    `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
  );
  const headers = { 'Content-Type': 'application/json', 'X-Auth-Token': adminToken };
  for (const path of ['projects', 'users', 'auth/tokens', 'credentials']) {
    const request = { method: 'POST', headers, body: deepest };
    expect([path, (await app.request(`/v3/${path}`, request)).status]).toEqual([path, 400]);
  }
});

it('answers 405 with Allow to a method that a path does not take', async () => {
  const answer = await ask('PUT', '/projects');
  expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST']);
  expect(answer.body['error']).toMatchObject({ code: 405, title: 'Method Not Allowed' });
  const one = await ask('POST', `/users/${fixture.admin.userId}`);
  expect(one.headers.get('allow')).toBe('DELETE, GET, HEAD, PATCH');
  expect((await ask('PUT', '/nothing')).status).toBe(404);
});

it('keeps regions and endpoints that refer to each other', async () => {
  await make('region', { id: 'outer' });
  await make('region', { id: 'inner', parent_region_id: 'outer' });
  const within = await ask('GET', '/regions?parent_region_id=outer');
  expect(within.body['regions'].map((region: Json) => region['id'])).toEqual(['inner']);
  const region = (fields: Json, method = 'POST', path = '/regions') =>
    ask(method, path, { region: fields });
  expect((await region({ id: 'x', parent_region_id: 'none' })).status).toBe(404);
  expect((await region({ parent_region_id: 'inner' }, 'PATCH', '/regions/outer')).status).toBe(400);
  expect((await ask('DELETE', '/regions/outer')).status).toBe(403);
  expect((await ask('DELETE', '/regions/lngs')).status).toBe(403);
  const { id } = await make('service', { type: 'image', name: 'i' });
  const endpoint = { service_id: id, interface: 'public', url: 'http://x' };
  const create = (fields: Json) =>
    ask('POST', '/endpoints', { endpoint: { ...endpoint, ...fields } });
  expect((await create({ region_id: 'none' })).status).toBe(400);
  expect((await create({ region_id: 'inner' })).status).toBe(201);
  expect((await create({ region: 'made-by-its-name' })).status).toBe(201);
  expect((await ask('GET', '/regions/made-by-its-name')).status).toBe(200);
  expect((await ask('DELETE', '/regions/inner')).status).toBe(403);
  await ask('DELETE', `/services/${id}`);
  expect((await ask('DELETE', '/regions/inner')).status).toBe(204);
  expect((await ask('DELETE', '/regions/outer')).status).toBe(204);
});
