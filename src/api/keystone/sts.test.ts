import { createHmac, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import { dayOf } from '#auth/s3-key-cache.ts';
import { readSigV2, sigV2StringsToSign } from '#auth/sigv2.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { WebLogIns } from '#identity/web-log-ins.ts';
import { createKeystoneApp } from './app.ts';
import { type Change, type Keys, signedPost as post } from './testing/signed-post.ts';

let fixture: IdentityFixture;
let app: Hono;
let authenticator: ProxyAuthenticator;
let web: WebLogIns;
const keys = generateKeyPairSync('ed25519');

beforeAll(async () => {
  fixture = await startIdentity();
  const { env, identity, state, folder } = fixture;
  await identity.projects.create({ name: 'wlcg' });
  const keysFile = join(folder, 'keys.jwks');
  writeFileSync(keysFile, JSON.stringify({ keys: [keys.publicKey.export({ format: 'jwk' })] }));
  const issuers = [{ issuer: 'https://iss', audience: ['anello'], keysFile }];
  writeFileSync(join(folder, 'issuers.json'), JSON.stringify(issuers));
  const rule = {
    when: { claim: { groups: ['/wlcg'] } },
    user: 'web-{subject}',
    project: 'wlcg',
    roles: ['swiftoperator'],
  };
  writeFileSync(join(folder, 'rules.json'), JSON.stringify({ version: 1, rules: [rule] }));
  web = new WebLogIns({
    env,
    issuersFile: join(folder, 'issuers.json'),
    rulesFile: join(folder, 'rules.json'),
    parse: (text) => JSON.parse(text) as unknown,
    fetchText: () => Promise.reject(new Error('no network here')),
  });
  await web.start();
  app = createKeystoneApp({ identity, log: env.log, sites: () => [], web });
  const fetchS3Key = identity.s3Keys.issue.bind(identity.s3Keys);
  authenticator = createAuthenticator({ env, state, cacheDir: join(folder, 'c'), fetchS3Key });
  await authenticator.ready;
});
afterAll(async () => {
  web.close();
  await authenticator.close();
  await fixture.close();
});

function webToken(claims: object): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(fixture.env.clock.wallMicros() / 1e6) + 7200;
  const text = `${encode({ alg: 'EdDSA' })}.${encode({ iss: 'https://iss', sub: 'anna', aud: 'anello', exp, ...claims })}`;
  return `${text}.${signBytes(null, Buffer.from(text), keys.privateKey).toString('base64url')}`;
}

async function ask(fields: Record<string, string>, headers: Record<string, string> = {}) {
  const body = new URLSearchParams(fields).toString();
  const response = await app.request('/sts', { method: 'POST', body, headers });
  const text = await response.text();
  const field = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1] ?? '';
  return { status: response.status, text, field };
}

const byWeb = (claims: object = { groups: ['/wlcg'] }, more: Record<string, string> = {}) =>
  ask({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    WebIdentityToken: webToken(claims),
    ...more,
  });

describe('STS', () => {
  it('gives credentials whose requests a proxy checks by itself', async () => {
    const { status, field } = await byWeb();
    expect(status).toBe(200);
    const [access, secret, sessionToken] = ['AccessKeyId', 'SecretAccessKey', 'SessionToken'].map(
      field,
    ) as [string, string, string];
    const request = {
      access,
      day: dayOf(fixture.env.clock.wallMicros() / 1000),
      region: 'us-east-1',
      service: 's3',
    };
    const found = await authenticator.findS3Key({ ...request, sessionToken });
    expect(found?.signingKey).toEqual(deriveSigningKey(secret, request));
    expect(found?.caller).toMatchObject({
      userName: 'web-anna',
      projectName: 'wlcg',
      roles: ['swiftoperator'],
    });
    // Without its token, with another's, or under another name, the key is nobody's.
    expect(await authenticator.findS3Key(request)).toBeUndefined();
    const other = (await byWeb()).field('SessionToken');
    expect(await authenticator.findS3Key({ ...request, sessionToken: other })).toBeUndefined();
    expect(
      await authenticator.findS3Key({ ...request, access: fixture.second.access, sessionToken }),
    ).toBeUndefined();
    expect(
      await authenticator.findS3Key({ ...request, sessionToken: 'x'.repeat(5000) }),
    ).toBeUndefined();
    expect(Date.parse(field('Expiration')) - fixture.env.clock.wallMicros() / 1000).toBeLessThan(
      3601_000,
    );
  });

  it('keeps to the duration that was asked for and the one that the proof has', async () => {
    const lifetime = (answer: Awaited<ReturnType<typeof ask>>) =>
      Math.round(
        (Date.parse(answer.field('Expiration')) - fixture.env.clock.wallMicros() / 1000) / 60_000,
      );
    expect(lifetime(await byWeb(undefined, { DurationSeconds: '900' }))).toBe(15);
    expect(lifetime(await byWeb(undefined, { DurationSeconds: '43200' }))).toBe(120);
    expect((await byWeb(undefined, { DurationSeconds: '60' })).status).toBe(400);
  });

  it('gives a session for a token, and ends it with the user', async () => {
    const { userId, password } = fixture.second;
    const issued = await fixture.identity.logIns.logIn({
      password: { user: { id: userId }, password },
      address: 'x',
    });
    const answer = await ask({ Action: 'GetSessionToken' }, { 'X-Auth-Token': issued.text });
    expect(answer.status).toBe(200);
    const request = {
      access: answer.field('AccessKeyId'),
      sessionToken: answer.field('SessionToken'),
      day: dayOf(fixture.env.clock.wallMicros() / 1000),
      ...{ region: 'eu', service: 's3' },
    };
    expect(await authenticator.findS3Key(request)).toBeDefined();
    await fixture.identity.users.update(userId, { enabled: false });
    while ((await authenticator.findS3Key(request)) !== undefined)
      await fixture.env.clock.sleep(20);
  });

  it.each([
    [{ Action: 'AssumeRole' }, 400, 'ValidationError'],
    [{ Action: 'Launch' }, 400, 'InvalidAction'],
    [{ Action: 'GetSessionToken', Policy: '{}' }, 400, 'MalformedPolicyDocument'],
    [{ Action: 'AssumeRoleWithWebIdentity', Policy: 'x'.repeat(2049) }, 400, 'ValidationError'],
    [{}, 400, 'ValidationError'],
    [{ Action: 'GetSessionToken' }, 403, 'MissingAuthenticationToken'],
    [{ Action: 'AssumeRoleWithCertificate' }, 403, 'AccessDenied'],
    [{ Action: 'AssumeRoleWithWebIdentity', WebIdentityToken: '<x>' }, 400, 'InvalidIdentityToken'],
    [{ Action: 'AssumeRoleWithWebIdentity' }, 400, 'InvalidIdentityToken'],
  ])('answers %j with %d %s', async (fields, status, code) => {
    const answer = await ask(fields as unknown as Record<string, string>);
    expect([answer.status, answer.field('Code')]).toEqual([status, code]);
  });

  it('refuses who is mapped by no rule', async () => {
    expect((await byWeb({ groups: ['/other'] })).status).toBe(403);
  });
});

describe('STS signed with S3 keys', () => {
  const signedPost = (keys: Keys, fields: Record<string, string>, change: Change = {}) =>
    post(
      app,
      fixture.env.clock.wallMicros() / 1000,
      keys,
      { Version: '2011-06-15', ...fields },
      change,
    );

  const sessionOf = (answer: Awaited<ReturnType<typeof signedPost>>): Keys => ({
    access: answer.field('AccessKeyId'),
    secret: answer.field('SecretAccessKey'),
    sessionToken: answer.field('SessionToken'),
  });
  const TOKEN = { Action: 'GetSessionToken' };
  const ROLE = {
    Action: 'AssumeRole',
    RoleArn: 'arn:aws:iam::123456789012:role/member',
    RoleSessionName: 'job-1',
  };
  const IDENTITY = { Action: 'GetCallerIdentity' };

  it('gives the owner a session, which signs in turn', async () => {
    const { admin } = fixture;
    const made = await signedPost(admin, { ...TOKEN, DurationSeconds: '129600' });
    expect(made.status, made.text).toBe(200);
    const hours = (Date.parse(made.field('Expiration')) - Date.now()) / 3600_000;
    expect(Math.round(hours)).toBe(36);
    const session = sessionOf(made);
    const day = dayOf(fixture.env.clock.wallMicros() / 1000);
    const found = await authenticator.findS3Key({ ...session, day, region: 'x', service: 's3' });
    expect(found?.caller).toMatchObject({ projectId: admin.projectId, userId: admin.userId });
    expect((await signedPost(session, IDENTITY)).field('Account')).toBe(admin.projectId);
    // No session from a session but by AssumeRole, and never a longer one.
    expect((await signedPost(session, TOKEN)).status).toBe(403);
    const chained = await signedPost(session, { ...ROLE, RoleArn: 'arn:x:y:z' });
    expect(chained.status).toBe(200);
    expect(chained.field('Expiration') <= made.field('Expiration')).toBe(true);
  });

  it("signs requests of version 2 with a session's keys, by its token", async () => {
    const { access, secret, sessionToken = '' } = sessionOf(await signedPost(fixture.admin, TOKEN));
    const request = {
      method: 'GET',
      headers: { host: 'x', date: 'Sat, 21 Nov 2026 08:00:00 GMT' },
    };
    const target = `/b/k?AWSAccessKeyId=${access}&Expires=9999999999&x-amz-security-token=${sessionToken}`;
    const claim = readSigV2({ ...request, target: `${target}&Signature=x` });
    if (typeof claim !== 'object') throw new Error('no claim');
    const [text = ''] = sigV2StringsToSign({ ...request, target }, claim, undefined);
    expect(text.split('\n').slice(-2)).toEqual([`x-amz-security-token:${sessionToken}`, '/b/k']);
    const signature = createHmac('sha1', secret).update(text).digest('base64');
    const { s3Keys } = fixture.identity;
    const fits = (keys: { access: string; sessionToken: string }, made = signature) =>
      s3Keys.checkSession(keys, Buffer.from(text), made);
    expect(fits({ access, sessionToken })).toBe(true);
    expect(fits({ access, sessionToken }, 'x')).toBe(false);
    expect(fits({ access: 'ANLOSTSX', sessionToken })).toBe(false);
    expect(fits({ access, sessionToken: `${sessionToken}x` })).toBe(false);
  });

  it('narrows a session to a role that is named, and it stays narrow', async () => {
    const { admin } = fixture;
    const answer = await signedPost(admin, ROLE);
    expect([answer.status, answer.field('AssumedRoleId')]).toEqual([200, `${admin.userId}:job-1`]);
    const { sessionToken = '', ...keys } = sessionOf(answer);
    const { identity } = fixture;
    const rolesOf = (text: string) => {
      const verification = identity.verifier.verify(text);
      return verification.valid ? verification.token.roles.map(({ name }) => name) : [];
    };
    expect(rolesOf(sessionToken)).not.toContain('admin');
    expect(rolesOf(sessionToken)).toContain('member');
    const again = await identity.logIns.logIn({ token: sessionToken, address: 'x' });
    expect(rolesOf(again.text)).not.toContain('admin');
    expect((await signedPost({ ...keys, sessionToken }, ROLE)).status).toBe(403);
    const other = { ...ROLE, RoleArn: 'arn:aws:iam:::role/ResellerAdmin' };
    expect((await signedPost(admin, other)).status).toBe(403);
  });

  it("is for objects: an administrator's keys administer nothing", async () => {
    const { sessionToken = '' } = sessionOf(await signedPost(fixture.admin, TOKEN));
    const headers = { 'X-Auth-Token': sessionToken };
    expect((await app.request('/v3/users', { headers })).status).toBe(403);
  });

  it.each([
    [
      'a wrong secret',
      'SignatureDoesNotMatch',
      (keys: Keys) => signedPost({ ...keys, secret: 'x' }, TOKEN),
    ],
    [
      'no such key',
      'InvalidClientTokenId',
      (keys: Keys) => signedPost({ ...keys, access: 'NOBODY' }, TOKEN),
    ],
    [
      'another body',
      'SignatureDoesNotMatch',
      (keys: Keys) => signedPost(keys, TOKEN, { body: 'Action=GetCallerIdentity' }),
    ],
    [
      'another service',
      'IncompleteSignature',
      (keys: Keys) => signedPost(keys, TOKEN, { service: 's3' }),
    ],
    [
      'a header that nobody signed',
      'IncompleteSignature',
      (keys: Keys) => signedPost(keys, TOKEN, { headers: { 'x-amz-meta-a': 'b' } }),
    ],
    [
      'an old one',
      'SignatureDoesNotMatch',
      (keys: Keys) => signedPost(keys, TOKEN, { aheadMs: -16 * 60_000 }),
    ],
    [
      'one of another day',
      'SignatureDoesNotMatch',
      (keys: Keys) => signedPost(keys, TOKEN, { aheadMs: -72 * 3600_000 }),
    ],
    [
      'no form',
      'IncompleteSignature',
      (keys: Keys) => signedPost(keys, TOKEN, { headers: { authorization: 'AWS4-HMAC-SHA256 x' } }),
    ],
  ])('refuses %s: %s', async (_name, code, act) => {
    const answer = await act(fixture.admin);
    expect(answer.field('Code')).toBe(code);
    expect([400, 403]).toContain(answer.status);
  });
});
