import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are JSON of any shape; the expectations check it
type Json = Record<string, any>;

let closed: IdentityFixture;
let open: IdentityFixture;

beforeAll(async () => {
  closed = await startIdentity();
  open = await startIdentity({ openRegistration: { roles: ['swiftoperator'] } });
});
afterAll(async () => {
  await closed.close();
  await open.close();
});

function apiOf(fixture: IdentityFixture) {
  const app: Hono = createKeystoneApp({
    identity: fixture.identity,
    log: fixture.env.log,
    sites: () => [],
  });
  return async (method: string, path: string, body?: unknown, token?: string) => {
    const response = await app.request(path, {
      method,
      headers: token === undefined ? {} : { 'X-Auth-Token': token },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: (text ? JSON.parse(text) : {}) as Json };
  };
}

const tokenOf = async (fixture: IdentityFixture, account = fixture.admin): Promise<string> => {
  const { userId, password } = account;
  const request = { password: { user: { id: userId }, password }, address: 'x' };
  return (await fixture.identity.logIns.logIn(request)).text;
};

const user = (name: string, invitation?: string) => ({
  user: { name, password: 'my password', invitation },
});

describe('invitations', () => {
  it('let somebody in, once, with the roles and the project that they are for', async () => {
    const api = apiOf(closed);
    const admin = await tokenOf(closed);
    const wanted = {
      invitation: { project_id: closed.second.projectId, roles: [{ name: 'member' }] },
    };
    const made = await api('POST', '/v3/anello/invitations', wanted, admin);
    expect(made.status).toBe(201);
    const { code, id } = made.body['invitation'];
    const list = await api('GET', '/v3/anello/invitations', undefined, admin);
    expect(JSON.stringify(list.body)).not.toContain(code);
    const enrolled = await api('POST', '/v3/anello/users', user('invited', code));
    expect(enrolled.body['user']).toMatchObject({ name: 'invited', project: { name: 'second' } });
    const domain = { id: 'default' };
    const { fields } = await closed.identity.logIns.logIn({
      password: { user: { name: 'invited', domain }, password: 'my password' },
      address: 'x',
    });
    expect(fields.scope).toEqual({ kind: 'project', id: closed.second.projectId });
    expect(fields.roles).toHaveLength(1);
    expect((await api('POST', '/v3/anello/users', user('again', code))).status).toBe(403);
    expect((await api('DELETE', `/v3/anello/invitations/${id}`, undefined, admin)).status).toBe(
      404,
    );
  });

  it('end, can be withdrawn, and are made by administrators only', async () => {
    const api = apiOf(closed);
    const admin = await tokenOf(closed);
    const invitation = {
      project_id: closed.second.projectId,
      roles: [{ name: 'member' }],
      days: 1,
      uses: 2,
    };
    const tester = await tokenOf(closed, closed.second);
    expect((await api('POST', '/v3/anello/invitations', { invitation }, tester)).status).toBe(403);
    expect((await api('GET', '/v3/anello/invitations')).status).toBe(401);
    const make = async () =>
      (await api('POST', '/v3/anello/invitations', { invitation }, admin)).body['invitation'];
    const withdrawn = await make();
    expect(
      (await api('DELETE', `/v3/anello/invitations/${withdrawn.id}`, undefined, admin)).status,
    ).toBe(204);
    expect((await api('POST', '/v3/anello/users', user('late', withdrawn.code))).status).toBe(403);
    const over = await make();
    closed.advance(25 * 3600_000);
    expect((await api('POST', '/v3/anello/users', user('late', over.code))).status).toBe(403);
  });

  it('cannot be guessed', async () => {
    const api = apiOf(closed);
    const statuses = [];
    for (let i = 0; i < 14; i++)
      statuses.push((await api('POST', '/v3/anello/users', user('x', `guess${i}`))).status);
    expect(statuses.at(-1)).toBe(429);
  });
});

describe('open registration', () => {
  it('is off unless switched on', async () => {
    const fixture = await startIdentity();
    expect((await apiOf(fixture)('POST', '/v3/anello/users', user('x'))).status).toBe(403);
    await fixture.close();
  });

  it('gives everybody a project of their own', async () => {
    const api = apiOf(open);
    const enrolled = await api('POST', '/v3/anello/users', user('otto'));
    expect(enrolled.body['user']).toMatchObject({ name: 'otto', project: { name: 'otto' } });
    expect((await api('POST', '/v3/anello/users', user('otto'))).status).toBe(409);
    for (const name of ['', 'a:b', 'a/b', 'a,b', ' x', 'x'.repeat(65)]) {
      expect((await api('POST', '/v3/anello/users', user(name))).status, name).toBe(400);
    }
    const short = { user: { name: 'short', password: 'short' } };
    expect((await api('POST', '/v3/anello/users', short)).status).toBe(400);
  });
});
