/** Ways to act for a user without their password: trusts, and signatures checked for other services. */
import { createHash, createHmac } from 'node:crypto';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are JSON of any shape; the expectations check it
type Json = Record<string, any>;

let fixture: IdentityFixture;
let app: Hono;
let admin: string;
let tester: string;

beforeAll(async () => {
  fixture = await startIdentity();
  app = createKeystoneApp({ identity: fixture.identity, log: fixture.env.log, sites: () => [] });
  admin = await tokenOf('admin', fixture.admin.password, 'demo');
  tester = await tokenOf('tester', fixture.second.password, 'second');
});
afterAll(() => fixture.close());

async function send(method: string, path: string, token?: string, body?: unknown) {
  const response = await app.request(path, {
    method,
    headers: token === undefined ? {} : { 'X-Auth-Token': token },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const subject = response.headers.get('x-subject-token') ?? '';
  return { status: response.status, subject, body: (text ? JSON.parse(text) : {}) as Json };
}

function logIn(name: string, password: string, scope: unknown) {
  const user = { name, password, domain: { id: 'default' } };
  const identity = { methods: ['password'], password: { user } };
  return send('POST', '/v3/auth/tokens', undefined, { auth: { identity, scope } });
}

async function tokenOf(name: string, password: string, project: string): Promise<string> {
  const answer = await logIn(name, password, {
    project: { name: project, domain: { id: 'default' } },
  });
  expect(answer.status).toBe(201);
  return answer.subject;
}

describe('trusts', () => {
  const trust = (fields: Json = {}) => ({
    trust: {
      trustor_user_id: fixture.second.userId,
      trustee_user_id: fixture.admin.userId,
      project_id: fixture.second.projectId,
      roles: [{ name: 'member' }],
      impersonation: true,
      ...fields,
    },
  });
  const use = (id: string) => logIn('admin', fixture.admin.password, { 'OS-TRUST:trust': { id } });

  it('let the trustee act for the trustor, in that project, with those roles', async () => {
    const made = await send('POST', '/v3/OS-TRUST/trusts', tester, trust());
    expect(made.status).toBe(201);
    const { id } = made.body['trust'];
    const answer = await use(id);
    expect(answer.body['token']).toMatchObject({
      methods: ['password', 'trust'],
      user: { name: 'tester' },
      project: { name: 'second' },
      roles: [{ name: 'member' }],
      'OS-TRUST:trust': { id, impersonation: true, trustee_user: { id: fixture.admin.userId } },
    });
    const path = `/v3/OS-TRUST/trusts/${id}`;
    for (const token of [tester, admin]) expect((await send('GET', path, token)).status).toBe(200);
    expect((await send('GET', path)).status).toBe(401);
    // The token can't be exchanged for one that lasts, nor make credentials that do.
    const exchange = { auth: { identity: { methods: ['token'], token: { id: answer.subject } } } };
    expect((await send('POST', '/v3/auth/tokens', undefined, exchange)).status).toBe(401);
    expect((await send('POST', '/v3/OS-TRUST/trusts', answer.subject, trust())).status).toBe(403);
    const pairs = `/v3/users/${fixture.second.userId}/credentials/OS-EC2`;
    const pair = { tenant_id: fixture.second.projectId };
    expect((await send('POST', pairs, answer.subject, pair)).status).toBe(403);
    expect((await send('DELETE', path, tester)).status).toBe(204);
    expect((await use(id)).status).toBe(401);
    await fixture.env.clock.sleep(150);
    expect((await send('GET', '/v3/auth/projects', answer.subject)).status).toBe(401);
  });

  it('keep the trustee without impersonation, and count their uses', async () => {
    const fields = { impersonation: false, remaining_uses: 1 };
    const made = await send('POST', '/v3/OS-TRUST/trusts', tester, trust(fields));
    const { id } = made.body['trust'];
    const answer = await use(id);
    expect(answer.body['token'].user.name).toBe('admin');
    expect(answer.body['token'].roles).toMatchObject([{ name: 'member' }]);
    expect((await use(id)).status).toBe(403);
  });

  it('are handed on as far as they allow, never wider, and end together', async () => {
    const { users, roles, grants } = fixture.identity;
    const make = (token: string, fields: Json) =>
      send('POST', '/v3/OS-TRUST/trusts', token, trust(fields));
    const helper = await users.create({ name: 'helper', password: 'helpers-secret' });
    const byHelper = (id: string) =>
      logIn('helper', 'helpers-secret', { 'OS-TRUST:trust': { id } });
    expect((await make(tester, { allow_redelegation: true, remaining_uses: 3 })).status).toBe(400);
    expect((await make(tester, { allow_redelegation: true, redelegation_count: 9 })).status).toBe(
      403,
    );

    const expires_at = new Date(fixture.env.clock.wallMicros() / 1000 + 3600_000).toISOString();
    const first = await make(tester, {
      ...{ allow_redelegation: true, redelegation_count: 1, impersonation: false, expires_at },
      roles: [{ name: 'member' }, { name: 'swiftoperator' }],
    });
    expect(first.body['trust'].redelegation_count).toBe(1);
    // The trustee's own token through it makes the next.
    const { subject } = await use(first.body['trust'].id);
    const onward = { trustor_user_id: fixture.admin.userId, trustee_user_id: helper.id };
    for (const more of [
      { impersonation: true },
      { roles: [{ name: 'reader' }] },
      { expires_at: '2099-01-01T00:00:00Z' },
      { trustor_user_id: fixture.second.userId },
      { project_id: fixture.admin.projectId },
      { allow_redelegation: true, redelegation_count: 1 },
    ]) {
      const answer = await make(subject, { ...onward, impersonation: false, ...more });
      expect([more, answer.status]).toEqual([more, 403]);
    }
    const second = await make(subject, { ...onward, impersonation: false });
    expect(second.body['trust']).toMatchObject({
      ...{ redelegated_trust_id: first.body['trust'].id, redelegation_count: 0 },
      expires_at: first.body['trust'].expires_at,
    });
    const { id } = second.body['trust'];
    const through = await byHelper(id);
    expect(through.body['token']).toMatchObject({
      ...{ user: { name: 'helper' }, project: { name: 'second' }, roles: [{ name: 'member' }] },
    });
    // It is the end of its chain.
    const last = { trustor_user_id: helper.id, trustee_user_id: fixture.second.userId };
    expect((await make(through.subject, { ...last, impersonation: false })).status).toBe(403);

    // Whose roles they are decides, not whoever is in between.
    const member = (await roles.find('member'))!.id;
    const grant = {
      actor: { kind: 'user', id: fixture.second.userId },
      target: { kind: 'project', id: fixture.second.projectId },
      ...{ roleId: member, inherited: false },
    } as const;
    await grants.remove(grant);
    expect((await byHelper(id)).status).toBe(401);
    await expect
      .poll(() => send('GET', '/v3/auth/projects', through.subject))
      .toMatchObject({ status: 401 });
    await grants.add(grant);
    tester = await tokenOf('tester', fixture.second.password, 'second');
    expect((await byHelper(id)).status).toBe(201);
    const path = `/v3/OS-TRUST/trusts/${first.body['trust'].id}`;
    expect((await send('DELETE', path, tester)).status).toBe(204);
    expect((await byHelper(id)).status).toBe(401);
    expect((await send('GET', `/v3/OS-TRUST/trusts/${id}`, admin)).status).toBe(404);
  });

  it('all end with a role of the trustor, however many there are', async () => {
    const fields = { impersonation: false };
    const ids: string[] = [];
    for (let n = 0; n < 130; n++) {
      const made = await send('POST', '/v3/OS-TRUST/trusts', tester, trust(fields));
      ids.push(made.body['trust'].id);
    }
    const tokens = await Promise.all(ids.map(async (id) => (await use(id)).subject));
    const { grants, roles } = fixture.identity;
    const grant = {
      actor: { kind: 'user' as const, id: fixture.second.userId },
      target: { kind: 'project' as const, id: fixture.second.projectId },
      roleId: (await roles.find('swiftoperator'))!.id,
      inherited: false,
    };
    await grants.remove(grant);
    const { verifier } = fixture.identity;
    const stillGood = () => tokens.filter((token) => verifier.verify(token).valid).length;
    for (let n = 0; n < 200 && stillGood() > 0; n++) await fixture.env.clock.sleep(20);
    expect(stillGood()).toBe(0);
    await grants.add(grant);
    tester = await tokenOf('tester', fixture.second.password, 'second');
  });

  it('give no role that the trustor does not have, or has lost', async () => {
    const more = trust({ roles: [{ name: 'admin' }] });
    expect((await send('POST', '/v3/OS-TRUST/trusts', tester, more)).status).toBe(403);
    const foreign = trust({ project_id: fixture.admin.projectId });
    expect((await send('POST', '/v3/OS-TRUST/trusts', tester, foreign)).status).toBe(403);
    expect((await send('POST', '/v3/OS-TRUST/trusts', admin, trust())).status).toBe(403);

    const fields = { impersonation: false, roles: [{ name: 'swiftoperator' }] };
    const made = await send('POST', '/v3/OS-TRUST/trusts', tester, trust(fields));
    const { id } = made.body['trust'];
    const before = await use(id);
    expect(before.status).toBe(201);
    const { grants, roles } = fixture.identity;
    const grant = {
      actor: { kind: 'user' as const, id: fixture.second.userId },
      target: { kind: 'project' as const, id: fixture.second.projectId },
      roleId: (await roles.find('swiftoperator'))!.id,
      inherited: false,
    };
    await grants.remove(grant);
    await fixture.env.clock.sleep(150);
    expect((await send('GET', '/v3/auth/projects', before.subject)).status).toBe(401);
    expect((await use(id)).status).toBe(401);
    await grants.add(grant);
    tester = await tokenOf('tester', fixture.second.password, 'second');
  });
});

describe('signatures checked for other services', () => {
  const stringToSign = (day: string) =>
    `AWS4-HMAC-SHA256\n${day}T000000Z\n${day}/us-east-1/s3/aws4_request\n${'0'.repeat(64)}`;
  const hmac = (key: string | Buffer, text: string) =>
    createHmac('sha256', key).update(text).digest();
  const keyFor = (secret: string, day: string) =>
    hmac(hmac(hmac(hmac(`AWS4${secret}`, day), 'us-east-1'), 's3'), 'aws4_request');

  it('s3tokens: versions 4 and 2, for services and administrators only', async () => {
    const { access, secret } = fixture.second;
    const text = stringToSign('20260101');
    const four = hmac(keyFor(secret, '20260101'), text).toString('hex');
    const plain = 'GET\n\n\nThu, 01 Jan 2026 00:00:00 GMT\n/bucket/key';
    const two = createHmac('sha1', secret).update(plain).digest('base64');
    const ask = (signature: string, signed: string, token = admin) => {
      const credentials = { access, signature, token: Buffer.from(signed).toString('base64url') };
      return send('POST', '/v3/s3tokens', token, { credentials });
    };
    for (const answer of [await ask(four, text), await ask(two, plain)]) {
      expect(answer.status).toBe(200);
      expect(answer.body['token']).toMatchObject({
        methods: ['ec2credential'],
        user: { name: 'tester' },
        project: { name: 'second' },
      });
    }
    expect((await ask(four, plain)).status).toBe(401);
    expect((await ask(`${four.slice(0, -1)}x`, text)).status).toBe(401);
    expect((await ask(four, text, tester)).status).toBe(403);
    expect((await ask(four, text, '')).status).toBe(401);
  });

  it('ec2tokens: version 2 and 4', async () => {
    const { access, secret } = fixture.second;
    const params = { Action: 'Describe', 'A b': "x'y" };
    const query = 'A%20b=x%27y&Action=Describe';
    const two = createHmac('sha256', secret).update(`GET\nhost\n/p\n${query}`).digest('base64');
    const base = { access, host: 'host:8000', verb: 'GET', path: '/p', params };
    const ask = (fields: Json) =>
      send('POST', '/v3/ec2tokens', admin, { ec2Credentials: { ...base, ...fields } });
    expect((await ask({ signature: two })).body['token'].user.name).toBe('tester');
    expect((await ask({ signature: two, path: '/q' })).status).toBe(401);

    const scope = '20260101/us-east-1/s3/aws4_request';
    const body_hash = createHash('sha256').update('').digest('hex');
    const canonical = `GET\n/p\n${query}\nhost:h\nx-amz-date:20260101T000000Z\n\nhost;x-amz-date\n${body_hash}`;
    const digest = createHash('sha256').update(canonical).digest('hex');
    const text = `AWS4-HMAC-SHA256\n20260101T000000Z\n${scope}\n${digest}`;
    const signature = hmac(keyFor(secret, '20260101'), text).toString('hex');
    const headers = {
      Host: 'h',
      'X-Amz-Date': '20260101T000000Z',
      Authorization: `AWS4-HMAC-SHA256 Credential=${access}/${scope}, SignedHeaders=host;x-amz-date, Signature=${signature}`,
    };
    expect((await ask({ signature, headers, body_hash })).status).toBe(200);
    expect(
      (await ask({ signature, headers: { ...headers, Host: 'other' }, body_hash })).status,
    ).toBe(401);
    expect((await ask({ signature, headers: {}, body_hash })).status).toBe(401);
  });
});
