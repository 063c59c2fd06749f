import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryNews, openNews } from '#identity/directory-news.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import type { State } from '#state/state.ts';
import { type Authenticator, createAuthenticator } from './authenticator.ts';
import { ANONYMOUS, accountOf } from './caller.ts';
import type { AskDirectory } from './directory-relay.ts';

let fixture: IdentityFixture;
let state: State;
let authenticator: Authenticator;
let token: string;
let auditId: string;
const open: Authenticator[] = [];

const FILE = 'identity-directory.bin';

function start(
  name: string,
  on: State,
  options: { readonly refuseAfterMs?: number; readonly relay?: AskDirectory } = {},
): Authenticator {
  const cacheDir = join(fixture.folder, name);
  const made = createAuthenticator({ env: fixture.env, state: on, cacheDir, ...options });
  open.push(made);
  return made;
}

async function logIn(): Promise<string> {
  const { userId, projectId, password } = fixture.second;
  const { text, fields } = await fixture.identity.logIns.logIn({
    password: { user: { id: userId }, password },
    scope: { kind: 'project', id: projectId },
    address: 'test',
  });
  auditId = fields.auditId;
  return text;
}

beforeAll(async () => {
  fixture = await startIdentity();
  state = fixture.openState();
  authenticator = start('one', state);
  await authenticator.ready;
  token = await logIn();
});
afterAll(async () => {
  for (const each of open) await each.close();
  await state.close();
  await fixture.close();
});

const unreachable = (): State => {
  const fail = async (): Promise<never> => {
    throw Object.assign(new Error('away'), { code: 'state-unavailable' });
  };
  const watch = () => ({ heardAtMs: () => 0, close: () => undefined });
  const lease = { grantLease: fail, keepAlive: fail, revokeLease: fail };
  return {
    get: fail,
    range: fail,
    txn: fail,
    watch,
    ...lease,
    compact: fail,
    close: async () => undefined,
  };
};

describe('authenticator', () => {
  it('tells who asks, from every header that can carry a token', async () => {
    const expected = {
      kind: 'user',
      userId: fixture.second.userId,
      userName: 'tester',
      domainId: 'default',
      projectId: fixture.second.projectId,
      projectName: 'second',
      projectDomainId: 'default',
      roles: ['swiftoperator', 'member'],
    };
    for (const headers of [
      { 'x-auth-token': token },
      { 'x-storage-token': token },
      { authorization: `Bearer ${token}` },
      { 'x-auth-token': [token] },
    ]) {
      expect(await authenticator.authenticate(headers)).toMatchObject(expected);
    }
    expect(authenticator.accountDomain(accountOf(fixture.second.projectId))).toBe('default');
    expect(authenticator.accountDomain('AUTH_nowhere')).toBeUndefined();
    expect(authenticator.accountDomain('other')).toBeUndefined();
  });

  it('makes everybody else anonymous, and says why', async () => {
    expect(await authenticator.authenticate({})).toBe(ANONYMOUS);
    expect(await authenticator.authenticate({ 'x-auth-token': '' })).toBe(ANONYMOUS);
    expect(await authenticator.authenticate({ authorization: 'Basic eDp5' })).toBe(ANONYMOUS);
    const rejected = async (text: string) => authenticator.authenticate({ 'x-auth-token': text });
    expect(await rejected('AUTH_tk0123')).toEqual({ kind: 'anonymous', rejected: 'malformed' });
    const broken = `${token.slice(0, -8)}AAAAAAAA`;
    expect(await rejected(broken)).toEqual({ kind: 'anonymous', rejected: 'bad-signature' });
  });

  it('waits for the news of a user who was made a moment ago', async () => {
    const { users, projects, roles, grants, logIns } = fixture.identity;
    const user = await users.create({ name: 'new', password: 'password' });
    const project = await projects.create({ name: 'new' });
    const role = (await roles.find('member'))!;
    await grants.add({
      actor: { kind: 'user', id: user.id },
      target: { kind: 'project', id: project.id },
      roleId: role.id,
      inherited: false,
    });
    const { text } = await logIns.logIn({
      password: { user: { id: user.id }, password: 'password' },
      scope: { kind: 'project', id: project.id },
      address: 'test',
    });
    const caller = await authenticator.authenticate({ 'x-auth-token': text });
    expect(caller).toMatchObject({ userName: 'new', projectName: 'new', roles: ['member'] });
  });

  it('learns of a revocation within 2 s', async () => {
    const text = await logIn();
    expect((await authenticator.authenticate({ 'x-auth-token': text })).kind).toBe('user');
    await fixture.identity.revoke({ kind: 'audit', id: auditId });
    // Looks, not milliseconds: on a machine that has more to do each takes as much longer.
    for (let look = 0; ; look++) {
      const caller = await authenticator.authenticate({ 'x-auth-token': text });
      if (caller.kind === 'anonymous') break;
      await fixture.env.clock.sleep(10);
      expect(look).toBeLessThan(200);
    }
  });

  it('goes on from its own disk when state is away from the start', async () => {
    const first = start('two', state);
    await first.ready;
    await first.close();
    const alone = start('two', unreachable());
    await alone.ready;
    expect(await alone.authenticate({ 'x-auth-token': token })).toMatchObject({
      userName: 'tester',
    });
  });

  it('ignores a damaged file and asks state', async () => {
    const first = start('three', state);
    await first.ready;
    await first.close();
    const path = join(fixture.folder, 'three', FILE);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
    const second = start('three', state);
    await second.ready;
    expect(await second.authenticate({ 'x-auth-token': token })).toMatchObject({
      userName: 'tester',
    });
  });

  it('hears of revocations from an authority while state is silent', async () => {
    const first = start('five', state);
    await first.ready;
    await first.close();
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const relay: AskDirectory = async (above) => {
      const news = await directoryNews(state, (bytes) => sign(null, bytes, privateKey), above);
      return (
        news && openNews(news, (bytes, signature) => verify(null, bytes, publicKey, signature))
      );
    };
    const cutOff = start('five', unreachable(), { relay, refuseAfterMs: 60_000 });
    await cutOff.ready;
    const text = await logIn();
    const rejected = async (): Promise<unknown> => {
      const caller = await cutOff.authenticate({ 'x-auth-token': text });
      return caller.kind === 'anonymous' ? caller.rejected : 'nothing';
    };
    expect(await rejected()).toBe('nothing');
    await fixture.identity.revoke({ kind: 'audit', id: auditId });
    fixture.advance(61_000);
    // Neither state nor an authority was heard for longer than it may be.
    expect(await rejected()).toBe('stale');
    while ((await rejected()) !== 'revoked') await fixture.env.clock.sleep(20);
    expect((await cutOff.authenticate({ 'x-auth-token': await logIn() })).kind).toBe('user');
  });

  it('believes no directory that the authority has not signed', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const { publicKey } = generateKeyPairSync('ed25519');
    const news = await directoryNews(state, (bytes) => sign(null, bytes, privateKey), 0);
    const open = (bytes: Buffer) => () =>
      openNews(bytes, (signed, signature) => verify(null, signed, publicKey, signature));
    expect(open(news!)).toThrow(expect.objectContaining({ code: 'bad-signature' }));
    expect(open(news!.subarray(0, 40))).toThrow(expect.objectContaining({ code: 'malformed' }));
    const { revision } = await state.range({ prefix: 'identity/public/' });
    expect(await directoryNews(state, () => Buffer.alloc(64), revision)).toBeUndefined();
  });

  it('accepts known tokens in silence by default, and refuses after the time that was set', async () => {
    const first = start('four', state);
    await first.ready;
    await first.close();
    const trusting = start('four', unreachable());
    const strict = start('four', unreachable(), { refuseAfterMs: 60_000 });
    await Promise.all([trusting.ready, strict.ready]);
    expect((await strict.authenticate({ 'x-auth-token': token })).kind).toBe('user');
    fixture.advance(61_000);
    expect(await strict.authenticate({ 'x-auth-token': token })).toEqual({
      kind: 'anonymous',
      rejected: 'stale',
    });
    expect((await trusting.authenticate({ 'x-auth-token': token })).kind).toBe('user');
  });

  it('costs little: figures for the README, with ample room', async () => {
    const headers = { 'x-auth-token': token };
    const cached = await timed(20_000, () => authenticator.authenticate(headers));
    const tokens = await Promise.all(Array.from({ length: 50 }, logInByToken));
    const fresh = await timed(50, (i) =>
      authenticator.authenticate({ 'x-auth-token': tokens[i]! }),
    );
    console.log(`verify: cached ${cached.toFixed(2)} µs, not cached ${fresh.toFixed(0)} µs`);
    expect(cached).toBeLessThan(50);
    expect(fresh).toBeLessThan(2000);
  });
});

async function logInByToken(): Promise<string> {
  const issued = await fixture.identity.logIns.logIn({ token, address: 'test' });
  return issued.text;
}

/** Microseconds of the processor for each. */
async function timed(count: number, act: (i: number) => Promise<unknown>): Promise<number> {
  const start = process.cpuUsage();
  for (let i = 0; i < count; i++) await act(i);
  const { user, system } = process.cpuUsage(start);
  return (user + system) / count;
}

describe('a service token', () => {
  it('lets a service finish with a token that has ended, but not with one that was revoked', async () => {
    const own = await startIdentity();
    const { identity, env, folder, second, admin } = own;
    const proxy = createAuthenticator({ env, state: own.state, cacheDir: join(folder, 'service') });
    await proxy.ready;
    const logInAs = async (account: typeof second) => {
      const { userId, projectId, password } = account;
      return identity.logIns.logIn({
        password: { user: { id: userId }, password },
        scope: { kind: 'project', id: projectId },
        address: 'test',
      });
    };
    const glance = await identity.users.create({ name: 'glance', password: 'glance-secret' });
    await identity.grants.add({
      actor: { kind: 'user', id: glance.id },
      target: { kind: 'project', id: admin.projectId },
      ...{ roleId: (await identity.roles.find('service'))!.id, inherited: false },
    });
    const user = await logInAs(second);
    const asked = async (serviceToken?: string) => {
      const headers = { 'x-auth-token': user.text, 'x-service-token': serviceToken };
      const caller = await proxy.authenticate(headers);
      return caller.kind === 'user' ? caller.userName : caller.rejected;
    };
    own.advance(13 * 3600_000);
    const service = (await logInAs({ ...admin, userId: glance.id, password: 'glance-secret' }))
      .text;
    const none = (await logInAs(admin)).text;
    expect([await asked(), await asked(none), await asked('at1_x')]).toEqual([
      ...['expired', 'expired', 'malformed'],
    ]);
    expect(await asked(service)).toBe('tester');
    await identity.revoke({ kind: 'audit', id: user.fields.auditId });
    await expect.poll(() => asked(service)).toBe('revoked');
    own.advance(48 * 3600_000);
    expect(
      await asked((await logInAs({ ...admin, userId: glance.id, password: 'glance-secret' })).text),
    ).toBe('expired');
    await proxy.close();
    await own.close();
  });
});
