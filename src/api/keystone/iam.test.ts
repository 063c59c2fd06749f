import { join } from 'node:path';
import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthenticator, type ProxyAuthenticator } from '#auth/authenticator.ts';
import type { UserCaller } from '#auth/caller.ts';
import { dayOf } from '#auth/s3-key-cache.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';
import { type Keys, type QueryAnswer, signedPost } from './testing/signed-post.ts';

let fixture: IdentityFixture;
let app: Hono;
let authenticator: ProxyAuthenticator;

beforeAll(async () => {
  fixture = await startIdentity();
  const { env, identity, state, folder } = fixture;
  app = createKeystoneApp({ identity, log: env.log, sites: () => [] });
  const fetchS3Key = identity.s3Keys.issue.bind(identity.s3Keys);
  authenticator = createAuthenticator({ env, state, cacheDir: join(folder, 'c'), fetchS3Key });
  await authenticator.ready;
});
afterAll(async () => {
  await authenticator.close();
  await fixture.close();
});

const nowMs = () => fixture.env.clock.wallMicros() / 1000;
const call = (keys: Keys, action: string, fields: Record<string, string> = {}) =>
  signedPost(
    app,
    nowMs(),
    keys,
    { Action: action, Version: '2010-05-08', ...fields },
    { service: 'iam' },
  );
/** As the owner of a project. */
const iam = (action: string, fields: Record<string, string> = {}) =>
  call(fixture.second, action, fields);
const sts = (keys: Keys, action: string, fields: Record<string, string> = {}) =>
  signedPost(app, nowMs(), keys, { Action: action, Version: '2011-06-15', ...fields });

async function done(answer: Promise<QueryAnswer>): Promise<QueryAnswer> {
  const settled = await answer;
  expect(settled.status, settled.text).toBe(200);
  return settled;
}

async function refused(answer: Promise<QueryAnswer>): Promise<string> {
  const { status, field } = await answer;
  return `${status} ${field('Code')}`;
}

async function userWithKeys(UserName: string): Promise<Keys> {
  await done(iam('CreateUser', { UserName }));
  const key = await done(iam('CreateAccessKey', { UserName }));
  return { access: key.field('AccessKeyId'), secret: key.field('SecretAccessKey') };
}

/** As a proxy knows who signed; waits for what state has told. */
async function callerWith(
  keys: Keys,
  isThere: (caller: UserCaller | undefined) => boolean,
): Promise<UserCaller | undefined> {
  const request = { ...keys, day: dayOf(nowMs()), region: 'r', service: 's3' };
  for (let attempt = 0; ; attempt++) {
    const found = (await authenticator.findS3Key(request))?.caller;
    if (isThere(found) || attempt > 400) return found;
    await fixture.env.clock.sleep(25);
  }
}

const policy = (Action: string | string[], Effect = 'Allow', Resource = '*') =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect, Action, Resource }] });

describe('IAM users', () => {
  it('are made, listed by pages, renamed and deleted, and are nobody elsewhere', async () => {
    const made = await done(iam('CreateUser', { UserName: 'ada' }));
    const { projectId } = fixture.second;
    expect(made.field('Arn')).toBe(`arn:aws:iam::${projectId}:user/ada`);
    expect(await refused(iam('CreateUser', { UserName: 'ada' }))).toBe('409 EntityAlreadyExists');
    await done(iam('CreateUser', { UserName: 'bob' }));
    const first = await done(iam('ListUsers', { MaxItems: '1' }));
    expect([first.field('UserName'), first.field('IsTruncated')]).toEqual(['ada', 'true']);
    const rest = await done(iam('ListUsers', { MaxItems: '1', Marker: first.field('Marker') }));
    expect([rest.field('UserName'), rest.field('IsTruncated')]).toEqual(['bob', 'false']);
    await done(iam('UpdateUser', { UserName: 'bob', NewUserName: 'bert' }));
    expect((await done(iam('GetUser', { UserName: 'bert' }))).field('CreateDate')).not.toBe('');
    expect(await refused(iam('GetUser', { UserName: 'bob' }))).toBe('404 NoSuchEntity');
    // Another project has names of its own, and sees none of these.
    expect((await done(call(fixture.admin, 'ListUsers'))).field('UserName')).toBe('');
    await done(call(fixture.admin, 'CreateUser', { UserName: 'ada' }));
    expect(await fixture.identity.users.find('ada')).toBeUndefined();
    for (const UserName of ['ada', 'bert']) await done(iam('DeleteUser', { UserName }));
    expect((await done(iam('ListUsers'))).text).not.toContain('<member>');
  });

  it('have two keys, which can be put to rest, and lose them before they go', async () => {
    const keys = await userWithKeys('carl');
    expect(await callerWith(keys, (caller) => caller !== undefined)).toMatchObject({
      userName: 'carl',
      projectId: fixture.second.projectId,
      roles: [],
      governed: true,
    });
    const UserName = 'carl';
    const second = await done(iam('CreateAccessKey', { UserName }));
    expect(await refused(iam('CreateAccessKey', { UserName }))).toBe('409 LimitExceeded');
    const { access: AccessKeyId } = keys;
    await done(iam('UpdateAccessKey', { UserName, AccessKeyId, Status: 'Inactive' }));
    expect(await callerWith(keys, (caller) => caller === undefined)).toBeUndefined();
    expect((await done(iam('ListAccessKeys', { UserName }))).text).toContain('Inactive');
    await done(iam('UpdateAccessKey', { UserName, AccessKeyId, Status: 'Active' }));
    expect(await callerWith(keys, (caller) => caller !== undefined)).toBeDefined();
    expect(await refused(iam('DeleteUser', { UserName }))).toBe('409 DeleteConflict');
    await done(iam('DeleteAccessKey', { UserName, AccessKeyId }));
    await done(iam('DeleteAccessKey', { UserName, AccessKeyId: second.field('AccessKeyId') }));
    await done(iam('DeleteUser', { UserName }));
    expect(await callerWith(keys, (caller) => caller === undefined)).toBeUndefined();
  });

  it("are no users of Swift's API or Keystone's, whatever token they get", async () => {
    const keys = await userWithKeys('dora');
    await callerWith(keys, (caller) => caller !== undefined);
    const session = await done(sts(keys, 'GetSessionToken'));
    const headers = { 'X-Auth-Token': session.field('SessionToken') };
    expect((await app.request('/v3/auth/projects', { headers })).status).toBe(401);
    expect(await authenticator.authenticate({ 'x-auth-token': headers['X-Auth-Token'] })).toEqual({
      kind: 'anonymous',
      rejected: 'for-s3-only',
    });
  });
});

describe('IAM policies', () => {
  it('of a user and of their groups govern them at every proxy, and end with their membership', async () => {
    const keys = await userWithKeys('emma');
    await done(iam('CreateGroup', { GroupName: 'readers' }));
    const [reads, writes] = [policy('s3:Get*'), policy('s3:Put*')];
    const of = { UserName: 'emma', GroupName: 'readers' };
    await done(iam('PutUserPolicy', { ...of, PolicyName: 'w', PolicyDocument: writes }));
    await done(iam('PutGroupPolicy', { ...of, PolicyName: 'r', PolicyDocument: reads }));
    await done(iam('AddUserToGroup', of));
    const both = await callerWith(keys, (caller) => caller?.policies?.length === 2);
    expect(both?.policies).toEqual([writes, reads]);
    expect(both?.groups).toEqual([expect.objectContaining({ name: 'readers' })]);
    const told = await done(iam('GetGroupPolicy', { ...of, PolicyName: 'r' }));
    expect(decodeURIComponent(told.field('PolicyDocument'))).toBe(reads);
    expect((await done(iam('ListUserPolicies', of))).text).toContain('<member>w</member>');
    expect((await done(iam('ListGroupsForUser', of))).field('GroupName')).toBe('readers');
    expect((await done(iam('GetGroup', of))).field('UserName')).toBe('emma');
    expect(await refused(iam('DeleteGroup', of))).toBe('409 DeleteConflict');
    await done(iam('RemoveUserFromGroup', of));
    const alone = await callerWith(keys, (caller) => caller?.policies?.length === 1);
    expect(alone?.policies).toEqual([writes]);
    await done(iam('DeleteUserPolicy', { ...of, PolicyName: 'w' }));
    const bare = await callerWith(keys, (caller) => caller !== undefined && !caller.policies);
    expect(bare?.governed).toBe(true);
    expect(await refused(iam('DeleteUserPolicy', { ...of, PolicyName: 'w' }))).toBe(
      '404 NoSuchEntity',
    );
  });

  it('can be given to users whom an administrator let into the project, but not their keys', async () => {
    const { identity, second } = fixture;
    const user = await identity.users.create({ name: 'frieda' });
    const member = (await identity.roles.find('member'))!;
    const put = { UserName: 'frieda', PolicyName: 'p', PolicyDocument: policy('s3:*') };
    expect(await refused(iam('PutUserPolicy', put))).toBe('404 NoSuchEntity');
    await identity.grants.add({
      actor: { kind: 'user', id: user.id },
      target: { kind: 'project', id: second.projectId },
      roleId: member.id,
      inherited: false,
    });
    await done(iam('PutUserPolicy', put));
    const keys = await identity.credentials.createKeyPair({
      ...{ userId: user.id, projectId: second.projectId },
    });
    const caller = await callerWith(keys, (found) => found?.policies !== undefined);
    expect(caller).toMatchObject({ userName: 'frieda', policies: [put.PolicyDocument] });
    expect(caller?.governed).toBeUndefined();
    expect(await refused(iam('CreateAccessKey', { UserName: 'frieda' }))).toBe('404 NoSuchEntity');
    expect(await refused(iam('CreateUser', { UserName: 'frieda' }))).toBe(
      '409 EntityAlreadyExists',
    );
  });

  it.each([
    ['no JSON', 'x', '400 MalformedPolicyDocument'],
    [
      'a principal',
      policy('s3:*').replace('"Effect"', '"Principal":"*","Effect"'),
      '400 MalformedPolicyDocument',
    ],
    ['nothing', '', '400 ValidationError'],
    [
      'more than may be kept',
      policy(Array.from({ length: 300 }, (_, i) => `s3:Get${i}`)),
      '409 LimitExceeded',
    ],
  ])('with %s are refused', async (_, PolicyDocument, expected) => {
    await iam('CreateUser', { UserName: 'gus' });
    const put = { UserName: 'gus', PolicyName: 'p', PolicyDocument };
    expect(await refused(iam('PutUserPolicy', put))).toBe(expected);
  });

  it('let others call IAM, as far as they say', async () => {
    const keys = await userWithKeys('hugo');
    expect(await refused(call(keys, 'ListUsers'))).toBe('403 AccessDenied');
    const own = `arn:aws:iam::${fixture.second.projectId}:user/`;
    const PolicyDocument = policy(
      ['iam:GetUser', 'iam:ListAccessKeys'],
      'Allow',
      `${own}\${aws:username}`,
    );
    await done(iam('PutUserPolicy', { UserName: 'hugo', PolicyName: 'self', PolicyDocument }));
    await callerWith(keys, (caller) => caller?.policies !== undefined);
    expect((await done(call(keys, 'GetUser'))).field('UserName')).toBe('hugo');
    expect((await done(call(keys, 'ListAccessKeys'))).field('AccessKeyId')).toBe(keys.access);
    expect(await refused(call(keys, 'GetUser', { UserName: 'gus' }))).toBe('403 AccessDenied');
    expect(await refused(call(keys, 'CreateAccessKey'))).toBe('403 AccessDenied');
  });
});

describe('IAM roles', () => {
  const trust = (AWS: string, Effect = 'Allow') =>
    JSON.stringify({ Statement: { Effect, Principal: { AWS }, Action: 'sts:AssumeRole' } });

  it('are taken on by whom the trust policy names, with their policies and nothing else', async () => {
    const keys = await userWithKeys('ida');
    const { projectId } = fixture.second;
    const RoleName = 'backup';
    const AssumeRolePolicyDocument = trust(`arn:aws:iam::${projectId}:user/ida`);
    const made = await done(iam('CreateRole', { RoleName, AssumeRolePolicyDocument }));
    const PolicyDocument = policy('s3:GetObject');
    await done(iam('PutRolePolicy', { RoleName, PolicyName: 'p', PolicyDocument }));
    const assume = { RoleArn: made.field('Arn'), RoleSessionName: 'night' };
    const taken = await done(sts(keys, 'AssumeRole', assume));
    expect(taken.field('Arn')).toBe(`arn:aws:sts::${projectId}:assumed-role/backup/night`);
    const session = {
      access: taken.field('AccessKeyId'),
      secret: taken.field('SecretAccessKey'),
      sessionToken: taken.field('SessionToken'),
    };
    const caller = await callerWith(session, (found) => found !== undefined);
    expect(caller).toMatchObject({
      ...{ projectId, governed: true, roles: [], policies: [PolicyDocument] },
      assumedRole: { name: 'backup', session: 'night' },
    });
    expect((await done(sts(session, 'GetCallerIdentity'))).field('Arn')).toBe(taken.field('Arn'));
    // What was limited does not widen itself: no other session, no call of IAM.
    expect((await sts(session, 'AssumeRole', assume)).status).toBe(403);
    expect(await refused(call(session, 'ListUsers'))).toBe('403 AccessDenied');
    // Others are not named, and nobody any more when the role is gone.
    const other = await userWithKeys('otto');
    expect((await sts(other, 'AssumeRole', assume)).status).toBe(403);
    expect((await sts(fixture.admin, 'AssumeRole', assume)).status).toBe(403);
    expect(await refused(iam('DeleteRole', { RoleName }))).toBe('409 DeleteConflict');
    await done(iam('DeleteRolePolicy', { RoleName, PolicyName: 'p' }));
    await done(iam('DeleteRole', { RoleName }));
    expect(await callerWith(session, (found) => found === undefined)).toBeUndefined();
  });

  it('of another project need both sides to say yes', async () => {
    const RoleName = 'guests';
    const { projectId } = fixture.second;
    const all = trust(`arn:aws:iam::${fixture.admin.projectId}:root`);
    const made = await done(iam('CreateRole', { RoleName, AssumeRolePolicyDocument: all }));
    const assume = { RoleArn: made.field('Arn'), RoleSessionName: 'visit' };
    const owner = await done(sts(fixture.admin, 'AssumeRole', assume));
    expect(owner.field('Arn')).toContain(`${projectId}:assumed-role/guests`);
    await done(call(fixture.admin, 'CreateUser', { UserName: 'jan' }));
    const key = await done(call(fixture.admin, 'CreateAccessKey', { UserName: 'jan' }));
    const jan = { access: key.field('AccessKeyId'), secret: key.field('SecretAccessKey') };
    expect((await sts(jan, 'AssumeRole', assume)).status).toBe(403);
    const PolicyDocument = policy('sts:AssumeRole', 'Allow', made.field('Arn'));
    const put = { UserName: 'jan', PolicyName: 'p', PolicyDocument };
    await done(call(fixture.admin, 'PutUserPolicy', put));
    await callerWith(jan, (caller) => caller?.policies !== undefined);
    await done(sts(jan, 'AssumeRole', assume));
    const denied = trust(`arn:aws:iam::${fixture.admin.projectId}:root`, 'Deny');
    await done(iam('UpdateAssumeRolePolicy', { RoleName, PolicyDocument: denied }));
    expect((await sts(jan, 'AssumeRole', assume)).status).toBe(403);
  });
});

describe('a session policy', () => {
  it('comes with the session to every proxy, and counts nowhere but for S3', async () => {
    const Policy = policy('s3:GetObject', 'Allow', 'arn:aws:s3:::b/*');
    for (const action of ['GetFederationToken', 'AssumeRole', 'GetSessionToken']) {
      const fields = { Name: 'job', RoleArn: 'arn:x:y:z', RoleSessionName: 'job', Policy };
      const made = await done(sts(fixture.second, action, fields));
      const session = {
        access: made.field('AccessKeyId'),
        secret: made.field('SecretAccessKey'),
        sessionToken: made.field('SessionToken'),
      };
      const caller = await callerWith(session, (found) => found !== undefined);
      expect(caller?.sessionPolicy, action).toBe(Policy);
      const { sessionToken } = session;
      expect(await authenticator.authenticate({ 'x-auth-token': sessionToken })).toMatchObject({
        rejected: 'for-s3-only',
      });
      await expect(
        fixture.identity.logIns.logIn({ token: sessionToken, address: 'x' }),
      ).rejects.toMatchObject({ code: 'unauthorized' });
    }
  });

  it('may have 2,048 characters that pack well, and no more', async () => {
    const padded = `${policy('s3:*')}${' '.repeat(2048 - policy('s3:*').length)}`;
    await done(sts(fixture.second, 'GetSessionToken', { Policy: padded }));
    expect((await sts(fixture.second, 'GetSessionToken', { Policy: `${padded} ` })).status).toBe(
      400,
    );
  });
});

describe('IAM', () => {
  it('says that there are none of what tools look for before they delete somebody', async () => {
    const UserName = 'leaves';
    await done(iam('CreateUser', { UserName }));
    const lists = ['MFADevices', 'SSHPublicKeys', 'SigningCertificates'];
    for (const list of [...lists, 'ServiceSpecificCredentials', 'UserTags']) {
      const { text } = await done(iam(`List${list}`, { UserName }));
      expect(text).toContain('<IsTruncated>false</IsTruncated>');
      expect(await refused(iam(`List${list}`, { UserName: 'no-one' }))).toBe('404 NoSuchEntity');
    }
    for (const list of ['Policies', 'VirtualMFADevices', 'AccountAliases']) {
      expect((await done(iam(`List${list}`))).text).not.toContain('<member>');
    }
    expect(await refused(iam('GetLoginProfile', { UserName }))).toBe('404 NoSuchEntity');
    expect(await refused(iam('ListRoleTags', { RoleName: 'none' }))).toBe('404 NoSuchEntity');
    expect(await refused(iam('TagUser', { UserName, 'Tags.member.1.Key': 'a' }))).toBe(
      '400 InvalidAction',
    );
    await done(iam('DeleteUser', { UserName }));
  });

  it.each([
    ['Launch', {}, '400 InvalidAction'],
    ['CreateUser', {}, '400 ValidationError'],
    ['CreateUser', { UserName: 'a b' }, '400 ValidationError'],
    ['CreateUser', { UserName: 'kim', Path: '/x/' }, '400 ValidationError'],
    ['CreateUser', { UserName: 'kim', 'Tags.member.1.Key': 'a' }, '400 ValidationError'],
    ['ListUsers', { MaxItems: '0' }, '400 ValidationError'],
    ['GetUser', { UserName: 'nobody' }, '404 NoSuchEntity'],
    ['DeleteRole', { RoleName: 'nobody' }, '404 NoSuchEntity'],
    ['AddUserToGroup', { GroupName: 'none', UserName: 'none' }, '404 NoSuchEntity'],
    ['UpdateAccessKey', { AccessKeyId: 'AKIA', Status: 'Off' }, '400 ValidationError'],
    [
      'CreateRole',
      { RoleName: 'r', AssumeRolePolicyDocument: '{}' },
      '400 MalformedPolicyDocument',
    ],
  ])('answers %s %j with %s', async (action, fields, expected) => {
    expect(await refused(iam(action, fields as unknown as Record<string, string>))).toBe(expected);
  });

  it('is not for a session, nor for who signs wrongly or for another service', async () => {
    const made = await done(sts(fixture.second, 'GetSessionToken'));
    const session = {
      access: made.field('AccessKeyId'),
      secret: made.field('SecretAccessKey'),
      sessionToken: made.field('SessionToken'),
    };
    expect(await refused(call(session, 'ListUsers'))).toBe('403 AccessDenied');
    const wrong = { ...fixture.second, secret: 'x' };
    expect(await refused(call(wrong, 'ListUsers'))).toBe('403 SignatureDoesNotMatch');
    const other = sts(fixture.second, 'ListUsers');
    expect(await refused(other)).toBe('400 InvalidAction');
  });
});
