import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogInRequest, ScopeRequest } from './log-in-request.ts';
import { type IdentityFixture, startIdentity } from './testing/fixture.ts';

const DEFAULT = { id: 'default' };
let fixture: IdentityFixture;

beforeAll(async () => {
  fixture = await startIdentity();
});
afterAll(() => fixture.close());

function asTester(scope?: ScopeRequest, address = '192.0.2.1'): LogInRequest {
  const { userName, password } = fixture.second;
  return { password: { user: { name: userName, domain: DEFAULT }, password }, scope, address };
}

const second: ScopeRequest = { kind: 'project', name: 'second', domain: { name: 'Default' } };
const logIn = (request: LogInRequest) => fixture.identity.logIns.logIn(request);
const verify = (text: string) => fixture.identity.verifier.verify(text);
const refusal = (code: string) => expect.objectContaining({ code });

describe('log-ins', () => {
  it('gives a token that is verified offline and names user, project and roles', async () => {
    const { text } = await logIn(asTester(second));
    const verification = verify(text);
    expect(verification).toMatchObject({
      valid: true,
      token: { user: { name: 'tester' }, project: { name: 'second' } },
    });
    const roles = verification.valid ? verification.token.roles.map(({ name }) => name) : [];
    expect(roles.sort()).toEqual(['member', 'swiftoperator']);
    expect(text.length).toBeLessThan(300);
  });

  it('uses the default project without a scope, and none when asked for none', async () => {
    const { fields } = await logIn(asTester());
    expect(fields.scope).toEqual({ kind: 'project', id: fixture.second.projectId });
    const unscoped = await logIn(asTester({ kind: 'none' }));
    expect(unscoped.fields).toMatchObject({ scope: { kind: 'none' }, roles: [] });
  });

  it('refuses a wrong password, an unknown user and a foreign project alike', async () => {
    const { userName } = fixture.second;
    const requests: LogInRequest[] = [
      { ...asTester(), password: { user: { name: userName, domain: DEFAULT }, password: 'no' } },
      { ...asTester(), password: { user: { name: 'nobody', domain: DEFAULT }, password: 'no' } },
      asTester({ kind: 'project', id: fixture.admin.projectId }),
      asTester({ kind: 'project', id: '0'.repeat(32) }),
      asTester({ kind: 'domain', domain: DEFAULT }),
      asTester({ kind: 'system' }),
      { address: '192.0.2.1' },
      { address: '192.0.2.1', token: 'at1_x' },
    ];
    for (const request of requests) {
      await expect(logIn(request)).rejects.toEqual(refusal('unauthorized'));
    }
  });

  it('slows guessing down, but not for the same user from elsewhere', async () => {
    const wrong: LogInRequest = {
      address: '198.51.100.7',
      password: { user: { name: 'tester', domain: DEFAULT }, password: 'guess' },
    };
    const codes: string[] = [];
    for (let i = 0; i < 14; i++) {
      await logIn(wrong).catch((error: { code: string }) => codes.push(error.code));
    }
    expect(codes.slice(0, 8)).toEqual(Array(8).fill('unauthorized'));
    expect(codes.at(-1)).toBe('too-many-attempts');
    await expect(logIn(asTester(second, '198.51.100.7'))).rejects.toEqual(
      refusal('too-many-attempts'),
    );
    expect((await logIn(asTester(second))).fields.userId).toBe(fixture.second.userId);
    fixture.advance(301_000);
    await logIn(asTester(second, '198.51.100.7'));
    // Forgotten with the success: nine more are no ten.
    for (let i = 0; i < 9; i++) await logIn(wrong).catch(() => undefined);
    await logIn(asTester(second, '198.51.100.7'));
  });

  it('makes a token from a token that never outlives it', async () => {
    const first = await logIn(asTester({ kind: 'none' }));
    fixture.advance(60_000);
    const next = await logIn({ token: first.text, scope: second, address: 'x' });
    expect(next.fields.expiresMs).toBe(first.fields.expiresMs);
    expect(next.fields.methods).toEqual(['password', 'token']);
    expect(next.fields.chainId).toBe(first.fields.auditId);
  });

  it('ends a revoked token, also as a source of new ones', async () => {
    const { text, fields } = await logIn(asTester(second));
    expect(verify(text).valid).toBe(true);
    await fixture.identity.revoke({ kind: 'audit', id: fields.auditId });
    expect(verify(text)).toEqual({ valid: false, rejected: 'revoked' });
    await expect(logIn({ token: text, address: 'x' })).rejects.toEqual(refusal('unauthorized'));
    expect(verify((await logIn(asTester(second))).text).valid).toBe(true);
  });

  it('ends a token at its expiry, except within the grace that was asked for', async () => {
    const { text } = await logIn(asTester(second));
    fixture.advance(12 * 3600_000 + 1000);
    expect(verify(text)).toEqual({ valid: false, rejected: 'expired' });
    expect(fixture.identity.verifier.verify(text, { graceMs: 60_000 }).valid).toBe(true);
  });
});

describe('what ends tokens at once', () => {
  async function freshUser(name: string) {
    const { users, projects, roles, grants } = fixture.identity;
    const user = await users.create({ name, password: 'secret-one' });
    const project = await projects.create({ name: `${name}-project` });
    const role = (await roles.find('member'))!;
    const assignment = {
      actor: { kind: 'user' as const, id: user.id },
      target: { kind: 'project' as const, id: project.id },
      roleId: role.id,
      inherited: false,
    };
    await grants.add(assignment);
    const request = (password: string): LogInRequest => ({
      password: { user: { id: user.id }, password },
      scope: { kind: 'project', id: project.id },
      address: name,
    });
    const { text, fields } = await logIn(request('secret-one'));
    return { user, project, assignment, request, text, fields };
  }

  async function rejectedAfter(text: string, act: () => Promise<unknown>): Promise<string> {
    // A look first, so that the cache has it.
    const before = await caughtUp(text);
    expect(before).toBe('valid');
    await act();
    for (let i = 0; i < 40; i++) {
      const verification = verify(text);
      if (!verification.valid) return verification.rejected;
      await fixture.identity.directory.changed(fixture.env.clock, 50);
    }
    return 'valid';
  }

  async function caughtUp(text: string): Promise<string> {
    for (let i = 0; i < 40; i++) {
      const verification = verify(text);
      if (verification.valid) return 'valid';
      if (verification.rejected !== 'stale') return verification.rejected;
      await fixture.identity.directory.changed(fixture.env.clock, 50);
    }
    return 'stale';
  }

  it('a new password, and the old one is refused', async () => {
    const { users } = fixture.identity;
    const { user, request, text } = await freshUser('u1');
    expect(await rejectedAfter(text, () => users.update(user.id, { password: 'secret-two' }))).toBe(
      'revoked',
    );
    await expect(logIn(request('secret-one'))).rejects.toEqual(refusal('unauthorized'));
    expect(await caughtUp((await logIn(request('secret-two'))).text)).toBe('valid');
  });

  it('a disabled user, project or domain; enabling brings no old token back', async () => {
    const { users, projects, domains } = fixture.identity;
    const a = await freshUser('u2');
    expect(await rejectedAfter(a.text, () => users.update(a.user.id, { enabled: false }))).toBe(
      'revoked',
    );
    await users.update(a.user.id, { enabled: true });
    await fixture.identity.directory.changed(fixture.env.clock, 100);
    expect(verify(a.text)).toMatchObject({ rejected: 'revoked' });
    expect(await caughtUp((await logIn(a.request('secret-one'))).text)).toBe('valid');
    const b = await freshUser('u3');
    expect(
      await rejectedAfter(b.text, () => projects.update(b.project.id, { enabled: false })),
    ).toBe('revoked');
    await expect(logIn(b.request('secret-one'))).rejects.toEqual(refusal('unauthorized'));
    await expect(domains.update('default', { enabled: false })).rejects.toEqual(
      refusal('forbidden'),
    );
  });

  it('a removed role, and a new log-in after the role is back counts', async () => {
    const { grants } = fixture.identity;
    const { assignment, request, text } = await freshUser('u4');
    expect(await rejectedAfter(text, () => grants.remove(assignment))).toBe('revoked');
    await grants.add(assignment);
    expect(await caughtUp((await logIn(request('secret-one'))).text)).toBe('valid');
    expect(verify(text)).toMatchObject({ rejected: 'revoked' });
  });

  it('a deleted user or project', async () => {
    const { users, projects } = fixture.identity;
    const a = await freshUser('u5');
    expect(await rejectedAfter(a.text, () => users.remove(a.user.id))).toBe('stale');
    const b = await freshUser('u6');
    expect(await rejectedAfter(b.text, () => projects.remove(b.project.id))).toBe('stale');
  });

  it('a member who leaves the group that gave the role', async () => {
    const { users, groups, grants, roles, projects } = fixture.identity;
    const user = await users.create({ name: 'u7', password: 'secret-one' });
    const group = await groups.create({ name: 'g7' });
    const project = await projects.create({ name: 'p7' });
    const role = (await roles.find('reader'))!;
    await groups.addMember(group.id, user.id);
    await grants.add({
      actor: { kind: 'group', id: group.id },
      target: { kind: 'project', id: project.id },
      roleId: role.id,
      inherited: false,
    });
    const request: LogInRequest = {
      password: { user: { id: user.id }, password: 'secret-one' },
      scope: { kind: 'project', id: project.id },
      address: 'u7',
    };
    const { text } = await logIn(request);
    const left = await rejectedAfter(text, () => groups.removeMember(group.id, user.id));
    expect(left).toBe('revoked');
    await expect(logIn(request)).rejects.toEqual(refusal('unauthorized'));
  });
});

describe('a password with an end', () => {
  it('does not log in any more, but still sets a new one', async () => {
    const other = await startIdentity({ passwordLifetimeMs: 60_000 });
    const { logIns, proofs } = other.identity;
    const { userId, password } = other.second;
    const asUser = (secret: string): LogInRequest => ({
      password: { user: { id: userId }, password: secret },
      address: 'x',
    });
    await logIns.logIn(asUser(password));
    other.advance(61_000);
    await expect(logIns.logIn(asUser(password))).rejects.toThrow('expired');
    await expect(proofs.changePassword(userId, 'wrong', 'another', 'x')).rejects.toEqual(
      refusal('unauthorized'),
    );
    await proofs.changePassword(userId, password, 'another', 'x');
    await logIns.logIn(asUser('another'));
    await expect(logIns.logIn(asUser(password))).rejects.toEqual(refusal('unauthorized'));
    await other.close();
  });
});
