import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AccessRequest, type AclOperation, cleanAcl, decide, referrerMatches } from './acl.ts';
import { ANONYMOUS, type UserCaller } from './caller.ts';

const ACCOUNT = 'AUTH_aaaa';

const caller = (change: Partial<UserCaller> = {}): UserCaller => ({
  ...{ kind: 'user', userId: 'uuuu', userName: 'anna', domainId: 'default' },
  ...{ projectId: 'aaaa', projectName: 'photos', projectDomainId: 'default' },
  ...{ roles: [], expires: 1 },
  ...change,
});

const ask = (request: Partial<AccessRequest>) =>
  decide({
    ...{ caller: ANONYMOUS, account: ACCOUNT, operation: 'read', accountDomainId: 'default' },
    ...request,
  });

const ALL: AclOperation[] = ['read', 'list', 'write', 'account-read', 'admin'];
const allowed = (request: Partial<AccessRequest>) =>
  ALL.filter((operation) => ask({ ...request, operation }).allowed);

describe('roles', () => {
  it.each(['admin', 'swiftoperator', 'SwiftOperator'])('%s owns its project account', (role) => {
    expect(allowed({ caller: caller({ roles: [role] }) })).toEqual(ALL);
    expect(ask({ caller: caller({ roles: [role] }) })).toEqual({ allowed: true, owner: true });
    expect(allowed({ caller: caller({ roles: [role], projectId: 'bbbb' }) })).toEqual([]);
  });

  it('reader reads its project account and nothing else', () => {
    const reading = ['read', 'list', 'account-read'];
    expect(allowed({ caller: caller({ roles: ['reader'] }) })).toEqual(reading);
    expect(allowed({ caller: caller({ roles: ['reader'], projectId: 'bbbb' }) })).toEqual([]);
  });

  it('ResellerAdmin owns every account', () => {
    const reseller = caller({ roles: ['ResellerAdmin'], projectId: 'bbbb' });
    expect(allowed({ caller: reseller })).toEqual(ALL);
  });

  it('member gets nothing by itself, and an unscoped token neither', () => {
    expect(allowed({ caller: caller({ roles: ['member'] }) })).toEqual([]);
    expect(allowed({ caller: caller({ projectId: undefined, roles: ['admin'] }) })).toEqual([]);
  });

  it('can be configured', () => {
    const roles = { operator: ['boss'], reader: [], reseller: [] };
    expect(allowed({ caller: caller({ roles: ['boss'] }), roles })).toEqual(ALL);
    expect(allowed({ caller: caller({ roles: ['admin'] }), roles })).toEqual([]);
  });

  it('answers 401 to who did not log in and 403 to who did', () => {
    expect(ask({})).toEqual({ allowed: false, status: 401 });
    expect(ask({ caller: caller() })).toEqual({ allowed: false, status: 403 });
  });
});

describe('ACLs', () => {
  const foreign = caller({ projectId: 'bbbb', projectName: 'second', roles: ['member'] });

  it.each([
    'second:anna',
    'bbbb:uuuu',
    'bbbb:anna',
    'second:*',
    'bbbb:*',
    '*:anna',
    '*:uuuu',
    '*:*',
    'x:y,second:anna',
  ])('%s lets the user of another project in', (acl) => {
    expect(allowed({ caller: foreign, readAcl: acl })).toEqual(['read', 'list']);
    expect(allowed({ caller: foreign, writeAcl: acl })).toEqual(['write']);
    expect(ask({ caller: foreign, readAcl: acl })).toEqual({ allowed: true, owner: false });
    expect(allowed({ readAcl: acl, writeAcl: acl })).toEqual([]);
  });

  it.each(['second:otto', 'third:anna', 'member', 'anna', 'second', '*', 'Second:Anna', ':', ''])(
    '%j does not',
    (acl) => {
      expect(allowed({ caller: foreign, readAcl: acl, writeAcl: acl })).toEqual([]);
    },
  );

  it('names count only in the default domain, ids everywhere', () => {
    const elsewhere = { ...foreign, domainId: 'd1' };
    expect(allowed({ caller: elsewhere, readAcl: 'second:anna' })).toEqual([]);
    expect(allowed({ caller: elsewhere, readAcl: 'bbbb:uuuu' })).toEqual(['read', 'list']);
    expect(allowed({ caller: foreign, readAcl: 'second:anna', accountDomainId: 'd1' })).toEqual([]);
    expect(allowed({ caller: foreign, readAcl: '*:*', accountDomainId: undefined })).toEqual([
      'read',
      'list',
    ]);
  });

  it('a role counts inside the own project only', () => {
    expect(allowed({ caller: caller({ roles: ['Member'] }), readAcl: 'member' })).toEqual([
      'read',
      'list',
    ]);
    expect(allowed({ caller: foreign, readAcl: 'member' })).toEqual([]);
  });
});

describe('referrers', () => {
  it('let everybody read, but list only with .rlistings', () => {
    expect(allowed({ readAcl: '.r:*' })).toEqual(['read']);
    expect(allowed({ readAcl: '.r:*,.rlistings' })).toEqual(['read', 'list']);
    expect(allowed({ readAcl: '.rlistings' })).toEqual([]);
    expect(allowed({ writeAcl: '.r:*' })).toEqual([]);
  });

  it.each([
    [['example.com'], 'http://example.com/page', true],
    [['example.com'], 'http://www.example.com/', false],
    [['.example.com'], 'https://www.example.com:8443/x', true],
    [['.example.com'], 'http://example.com/', false],
    [['*', '-evil.com'], 'http://evil.com/', false],
    [['-evil.com', '*'], 'http://evil.com/', true],
    [['*', '-.evil.com'], 'http://a.evil.com/', false],
    [['*'], undefined, true],
    [['example.com'], undefined, false],
    [['example.com'], 'not a url', false],
    [[], 'http://example.com', false],
  ])('%j with %j: %s', (elements, referrer, expected) => {
    expect(referrerMatches(elements as string[], referrer as string | undefined)).toBe(expected);
  });
});

describe('cleanAcl', () => {
  it('normalises what it stores', () => {
    expect(cleanAcl('read', ' a:b , .referrer : *.example.com ,, .rlistings,role ')).toBe(
      'a:b,.r:.example.com,.rlistings,role',
    );
    expect(cleanAcl('read', '.ref: - evil.com ,.r:*')).toBe('.r:-evil.com,.r:*');
    expect(cleanAcl('write', 'a:b,*:*')).toBe('a:b,*:*');
  });

  it.each([
    ['read', '.x:y'],
    ['read', '.r:'],
    ['read', '.r:-'],
    ['read', '.r:.'],
    ['read', '.r:*.'],
    ['write', '.r:*'],
    ['read', 'x'.repeat(9000)],
  ] as const)('refuses %s ACL %s', (kind, value) => {
    expect(() => cleanAcl(kind, value)).toThrow(expect.objectContaining({ code: 'bad-acl' }));
  });

  it('is stable, and gives nobody more than what was written', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        let once: string;
        try {
          once = cleanAcl('read', value);
        } catch {
          return;
        }
        expect(cleanAcl('read', once)).toBe(once);
        if (!value.includes('.r')) expect(allowed({ readAcl: once })).toEqual([]);
      }),
    );
  });
});
