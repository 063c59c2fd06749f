import { createHmac } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { SimWorld } from '#env/sim/world.ts';
import { bootstrap } from '#identity/bootstrap.ts';
import { createIdentity, type Identity } from '#identity/identity.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { MASTER_KEY_BYTES } from '#identity/vault.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import { createAuthenticator, type ProxyAuthenticator } from './authenticator.ts';
import { dayOf, type FetchS3Key } from './s3-key-cache.ts';

const HOUR_MS = 3600_000;
let fixture: IdentityFixture;
let asked: string[];
let away: boolean;
const open: ProxyAuthenticator[] = [];

beforeAll(async () => {
  fixture = await startIdentity();
  const now = fixture.env.clock.wallMicros() / 1000;
  // Eight in the morning, UTC, whenever the test runs.
  fixture.advance(24 * HOUR_MS - (now % (24 * HOUR_MS)) + 8 * HOUR_MS);
});
afterAll(async () => {
  for (const each of open) await each.close();
  await fixture.close();
});

const fetchS3Key: FetchS3Key = async (request) => {
  asked.push(request.day);
  if (away) throw new OperatingError('state-unavailable', 'away');
  return fixture.identity.s3Keys.issue(request);
};

async function start(name: string): Promise<ProxyAuthenticator> {
  asked = [];
  away = false;
  const { env, state, folder } = fixture;
  const made = createAuthenticator({ env, state, cacheDir: join(folder, name), fetchS3Key });
  open.push(made);
  await made.ready;
  return made;
}

const today = (): string => dayOf(fixture.env.clock.wallMicros() / 1000);
const request = (change: Partial<{ access: string; day: string; region: string }> = {}) => ({
  ...{ access: fixture.second.access, day: today(), region: 'us-east-1', service: 's3' },
  ...change,
});

async function newKey(): Promise<string> {
  const { userId, projectId } = fixture.second;
  return (await fixture.identity.credentials.createKeyPair({ userId, projectId })).access;
}

describe('S3 keys at a proxy', () => {
  it('are derived as SigV4 does, with the caller and never the secret', async () => {
    const proxy = await start('derive');
    const found = await proxy.findS3Key(request());
    const steps = [today(), 'us-east-1', 's3', 'aws4_request'];
    const expected = steps.reduce<Buffer>(
      (key, part) => createHmac('sha256', key).update(part).digest(),
      Buffer.from(`AWS4${fixture.second.secret}`),
    );
    expect(found?.signingKey).toEqual(expected);
    expect(found?.caller).toMatchObject({ userName: 'tester', projectName: 'second' });
    expect(found?.caller.roles).toContain('swiftoperator');
  });

  it('are fetched once, and then used without identity, also after a restart', async () => {
    const proxy = await start('once');
    await Promise.all([proxy.findS3Key(request()), proxy.findS3Key(request())]);
    expect(asked).toHaveLength(1);
    away = true;
    expect(await proxy.findS3Key(request())).toBeDefined();
    await expect(proxy.findS3Key(request({ region: 'other' }))).rejects.toMatchObject({
      code: 'state-unavailable',
    });
    await proxy.close();
    const path = join(fixture.folder, 'once', 's3-keys.bin');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path).includes(fixture.second.secret)).toBe(false);
    const again = await start('once');
    away = true;
    expect(await again.findS3Key(request())).toBeDefined();
    await again.close();
    writeFileSync(path, 'damaged');
    const third = await start('once');
    expect(await third.findS3Key(request())).toBeDefined();
  });

  it('end with the key, within 2 s', async () => {
    const proxy = await start('delete');
    const access = await newKey();
    expect(await proxy.findS3Key(request({ access }))).toBeDefined();
    const pair = await fixture.identity.credentials.keyPair(access);
    fixture.advance(6000);
    await fixture.identity.credentials.remove(pair!.credentialId);
    await fixture.env.clock.sleep(200);
    expect(await proxy.findS3Key(request({ access }))).toBeUndefined();
    away = true;
    expect(await proxy.findS3Key(request({ access }))).toBeUndefined();
  });

  it('end with their user, survive a new password, and follow the roles', async () => {
    const { users, grants, roles } = fixture.identity;
    const { userId, projectId, password } = fixture.second;
    const proxy = await start('user');
    expect(await proxy.findS3Key(request())).toBeDefined();
    await users.update(userId, { password });
    await fixture.env.clock.sleep(200);
    expect(await proxy.findS3Key(request())).toBeDefined();
    const role = (await roles.find('swiftoperator'))!;
    const grant = {
      actor: { kind: 'user' as const, id: userId },
      target: { kind: 'project' as const, id: projectId },
      roleId: role.id,
      inherited: false,
    };
    await grants.remove(grant);
    await fixture.env.clock.sleep(200);
    expect((await proxy.findS3Key(request()))?.caller.roles).toEqual(['member']);
    await grants.add(grant);
    await users.update(userId, { enabled: false });
    await fixture.env.clock.sleep(200);
    expect(await proxy.findS3Key(request())).toBeUndefined();
    await users.update(userId, { enabled: true });
    fixture.advance(3000);
    await fixture.env.clock.sleep(200);
    expect(await proxy.findS3Key(request())).toBeDefined();
  });

  it('of unknown names cost identity little, and many regions are refused', async () => {
    const proxy = await start('unknown');
    for (let i = 0; i < 5; i++) {
      expect(await proxy.findS3Key(request({ access: 'NOBODY' }))).toBeUndefined();
    }
    expect(asked).toHaveLength(1);
    const regions = Array.from({ length: 16 }, (_, i) => `region-${i}`);
    for (const region of regions) expect(await proxy.findS3Key(request({ region }))).toBeDefined();
    await expect(proxy.findS3Key(request({ region: 'one-more' }))).rejects.toMatchObject({
      code: 'bad-request',
    });
  });

  it('of other days are refused', async () => {
    const proxy = await start('days');
    for (const day of ['20200101', '2026', 'x', '99999999', '']) {
      await expect(proxy.findS3Key(request({ day }))).rejects.toMatchObject({
        code: 'bad-request',
      });
    }
  });
});

describe('S3 keys for tomorrow', () => {
  it('are there before midnight, whenever today they were used', async () => {
    // Seven in the morning.
    const world = new SimWorld({ seed: 1, startWallMs: Date.UTC(2026, 4, 1, 7) });
    const machine = world.machine('m');
    const { env } = machine;
    await world.run(
      (async () => {
        await env.disk.mkdir('/data');
        const state = openSqliteState(env, '/data/state.db');
        const masterKey = Buffer.alloc(MASTER_KEY_BYTES, 5);
        const identity = createIdentity({ env, state, masterKey });
        await bootstrap(identity, []);
        const owner = await makeOwner(identity);
        const { access } = await identity.credentials.createKeyPair(owner);
        const days: string[] = [];
        const fetchKey: FetchS3Key = async (wanted) => {
          days.push(wanted.day);
          return identity.s3Keys.issue(wanted);
        };
        const proxy = createAuthenticator({ env, state, cacheDir: '/cache', fetchS3Key: fetchKey });
        const find = (region: string) =>
          proxy.findS3Key({
            ...{ access, day: dayOf(env.clock.wallMicros() / 1000), region, service: 's3' },
          });
        for (let i = 0; i < 16; i++) expect(await find(`region-${i}`)).toBeDefined();
        machine.jumpWallClock(5 * HOUR_MS - 150_000);
        await env.clock.sleep(90_000);
        expect(new Set(days)).toEqual(new Set(['20260501']));
        await env.clock.sleep(3 * 60_000);
        expect(days.slice(16)).toEqual(Array(16).fill('20260502'));
        machine.jumpWallClock(12 * HOUR_MS);
        for (let i = 0; i < 16; i++) expect(await find(`region-${i}`)).toBeDefined();
        expect(days).toHaveLength(32);
        await proxy.close();
        await identity.close();
        await state.close();
      })(),
    );
  });
});

async function makeOwner(identity: Identity): Promise<{ userId: string; projectId: string }> {
  const project = await identity.projects.create({ name: 'p' });
  const user = await identity.users.create({ name: 'u', defaultProjectId: project.id });
  const role = await identity.roles.find('member');
  await identity.grants.add({
    actor: { kind: 'user', id: user.id },
    target: { kind: 'project', id: project.id },
    ...{ roleId: role!.id, inherited: false },
  });
  return { userId: user.id, projectId: project.id };
}
