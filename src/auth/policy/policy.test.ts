import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { globMatches } from './glob.ts';
import { isInRange } from './ip-range.ts';
import { evaluate, isPublic, type PolicyRequest, parsePolicy } from './policy.ts';

const BUCKET = { principals: true, bucket: 'b' };

function policyOf(...statements: object[]) {
  const full = statements.map((each) => ({
    ...{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::b/*' },
    ...each,
  }));
  return parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement: full }), BUCKET);
}

function request(
  change: Partial<Omit<PolicyRequest, 'facts'>> & { facts?: object } = {},
): PolicyRequest {
  const facts = new Map(Object.entries(change.facts ?? {}));
  return {
    principals: new Set(['*', 'p1', 'arn:aws:iam::p1:user/anna']),
    action: 's3:GetObject',
    resource: 'arn:aws:s3:::b/k',
    ...change,
    facts: (key) => facts.get(key) as readonly string[] | undefined,
  };
}

describe('a policy', () => {
  it('allows what a statement names, denies over it, and says nothing of the rest', () => {
    const open = policyOf({});
    expect(evaluate(open, request())).toBe('allow');
    expect(evaluate(open, request({ action: 's3:PutObject' }))).toBe('none');
    expect(evaluate(open, request({ resource: 'arn:aws:s3:::b' }))).toBe('none');
    const both = policyOf({}, { Effect: 'Deny', Resource: 'arn:aws:s3:::b/secret*' });
    expect(evaluate(both, request({ resource: 'arn:aws:s3:::b/secrets' }))).toBe('deny');
    expect(evaluate(both, request())).toBe('allow');
  });

  it('knows its principals, and everybody but them', () => {
    const one = policyOf({ Principal: { AWS: ['arn:aws:iam::p1:user/anna'] } });
    expect(evaluate(one, request())).toBe('allow');
    expect(evaluate(one, request({ principals: new Set(['*', 'p2']) }))).toBe('none');
    const others = policyOf({ Principal: undefined, NotPrincipal: { AWS: 'p1' } });
    expect(evaluate(others, request())).toBe('none');
    expect(evaluate(others, request({ principals: new Set(['*']) }))).toBe('allow');
  });

  it('takes patterns and variables', () => {
    const actions = policyOf({ Action: ['s3:Get*', 's3:?utObject'] });
    expect(evaluate(actions, request({ action: 's3:GetObjectAcl' }))).toBe('allow');
    expect(evaluate(actions, request({ action: 's3:PutObject' }))).toBe('allow');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: policies write their variables this way
    const homes = policyOf({ Resource: 'arn:aws:s3:::b/${aws:username}/*' });
    const anna = { facts: { 'aws:username': ['anna'] } };
    expect(evaluate(homes, request({ resource: 'arn:aws:s3:::b/anna/x', ...anna }))).toBe('allow');
    expect(evaluate(homes, request({ resource: 'arn:aws:s3:::b/bob/x', ...anna }))).toBe('none');
    expect(evaluate(homes, request({ resource: 'arn:aws:s3:::b/bob/x' }))).toBe('none');
  });

  it('takes what a variable stands for literally', () => {
    const verdict = (pattern: string, key: string, name: string) =>
      evaluate(
        policyOf({ Resource: `arn:aws:s3:::b/${pattern}` }),
        request({ resource: `arn:aws:s3:::b/${key}`, facts: { 'aws:username': [name] } }),
      );
    const home = '$\x7baws:username}/*';
    expect(verdict(home, 'bob/x', '*')).toBe('none');
    expect(verdict(home, 'bob/x', 'b?b')).toBe('none');
    expect(verdict(home, '*/x', '*')).toBe('allow');
    expect(verdict('a$\x7b*}b', 'a*b', 'n')).toBe('allow');
    expect(verdict('a$\x7b*}b', 'axb', 'n')).toBe('none');
    expect(verdict('$\x7b$}\x7baws:username}', '$\x7baws:username}', 'n')).toBe('allow');
    expect(verdict(home, 'x', 'n'.repeat(1e5))).toBe('none');
  });

  it('takes the default of a variable that the request has no value for', () => {
    const likes = policyOf({
      Condition: { StringLike: { 's3:prefix': "home/$\x7baws:username, 'nobody'}/*" } },
    });
    const asking = (prefix: string, name?: string) =>
      evaluate(
        likes,
        request({ facts: { 's3:prefix': [prefix], ...(name && { 'aws:username': [name] }) } }),
      );
    expect(asking('home/nobody/x')).toBe('allow');
    expect(asking('home/nobody/x', 'anna')).toBe('none');
    expect(asking('home/anna/x', 'anna')).toBe('allow');
  });

  it.each([
    ['StringEquals', 'a', ['a'], ['b'], false],
    ['StringNotEquals', 'a', ['b'], ['a'], true],
    ['StringLike', 'a*', ['abc'], ['bc'], false],
    ['StringEqualsIgnoreCase', 'A', ['a'], ['b'], false],
    ['StringEqualsIfExists', 'a', ['a'], ['b'], true],
    ['NumericLessThan', '5', ['4'], ['5'], false],
    ['NumericGreaterThanEquals', '5', ['5'], ['4'], false],
    [
      'DateLessThan',
      '2030-01-01T00:00:00Z',
      ['2026-01-01T00:00:00Z'],
      ['2031-01-01T00:00:00Z'],
      false,
    ],
    ['Bool', 'true', ['true'], ['false'], false],
    ['IpAddress', '10.1.0.0/16', ['10.1.2.3'], ['10.2.0.1'], false],
    ['NotIpAddress', '10.1.0.0/16', ['10.2.0.1'], ['10.1.2.3'], true],
    ['BinaryEquals', 'YQ==', ['YQ=='], ['YWI='], false],
    ['ArnLike', 'arn:aws:iam::*:user/a*', ['arn:aws:iam::p:user/anna'], ['arn:x'], false],
    ['ArnNotEquals', 'arn:a', ['arn:b'], ['arn:a'], true],
    ['StringNotLike', 'a*', ['b'], ['ab'], true],
    ['StringNotEqualsIgnoreCase', 'A', ['b'], ['a'], true],
    ['NumericEquals', '5', ['5.0'], ['6'], false],
    ['NumericNotEquals', '5', ['6'], ['5'], true],
    ['NumericLessThanEquals', '5', ['5'], ['6'], false],
    ['NumericGreaterThan', '5', ['6'], ['5'], false],
    ['DateEquals', '2030-01-01T00:00:00Z', ['1893456000'], ['1893456001'], false],
    ['DateNotEquals', '2030-01-01T00:00:00Z', ['1893456001'], ['1893456000'], true],
    ['DateLessThanEquals', '1893456000', ['2030-01-01T00:00:00Z'], ['1893456001'], false],
    ['DateGreaterThan', '1893456000', ['1893456001'], ['1893456000'], false],
    ['DateGreaterThanEquals', '1893456000', ['1893456000'], ['1893455999'], false],
    ['ForAnyValue:StringNotEquals', 'a', ['a', 'b'], ['a'], false],
    ['ForAllValues:StringNotEquals', 'a', ['b', 'c'], ['a', 'b'], true],
    ['NumericLessThanIfExists', '5', ['4'], ['5'], true],
    ['Null', 'false', ['x'], undefined, false],
    ['ForAnyValue:StringEquals', 'a', ['b', 'a'], ['b'], false],
    ['ForAllValues:StringLike', 'a*', ['a', 'ab'], ['a', 'b'], true],
  ])('%s %s holds of %j, not of %j', (operator, value, yes, no, whenAbsent) => {
    const policy = policyOf({ Condition: { [operator]: { 's3:prefix': value } } });
    const verdict = (given: readonly string[] | undefined) =>
      evaluate(policy, request({ facts: given === undefined ? {} : { 's3:prefix': given } }));
    expect(verdict(yes)).toBe('allow');
    expect(verdict(no)).toBe('none');
    expect(verdict(undefined)).toBe(whenAbsent ? 'allow' : 'none');
  });

  it('is public when everybody may, from anywhere', () => {
    expect(isPublic(policyOf({}))).toBe(true);
    expect(isPublic(policyOf({ Principal: { AWS: 'p1' } }))).toBe(false);
    expect(isPublic(policyOf({ Effect: 'Deny' }))).toBe(false);
    const inside = { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } };
    expect(isPublic(policyOf({ Condition: inside }))).toBe(false);
    for (const open of [
      { IpAddress: { 'aws:SourceIp': '0.0.0.0/1' } },
      { NotIpAddress: { 'aws:SourceIp': '10.9.0.0/16' } },
      { IpAddressIfExists: { 'aws:SourceIp': '10.9.0.0/16' } },
      { StringLike: { 'aws:PrincipalArn': '*' } },
      { Null: { 'aws:userid': 'false' } },
    ]) {
      expect(isPublic(policyOf({ Condition: open })), JSON.stringify(open)).toBe(true);
    }
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['no statement', '{"Version":"2012-10-17"}'],
    ['another version', '{"Version":"2020-01-01","Statement":[]}'],
  ])('with %s is refused', (_, text) => {
    expect(() => parsePolicy(text, BUCKET)).toThrow(
      expect.objectContaining({ code: 'malformed-policy' }),
    );
  });

  it.each([
    ['effect', { Effect: 'Maybe' }],
    ['action', { Action: 'nonsense' }],
    ['action of S3', { Action: 's3:FooBar' }],
    ['action of another service', { Action: 'ec2:RunInstances' }],
    ['pattern of actions', { Action: 's3:Foo*' }],
    ['action for its resource', { Action: 's3:ListBucket' }],
    ['resource for its action', { Resource: 'arn:aws:s3:::b' }],
    ['resource of another bucket', { Resource: 'arn:aws:s3:::other/*' }],
    ['bucket whose name only begins alike', { Resource: 'arn:aws:s3:::bb/*' }],
    ['principal', { Principal: { Nobody: '*' } }],
    ['ARN of a principal', { Principal: { AWS: 'arn:aws:iam::p1' } }],
    ['ARN with a star', { Principal: { AWS: 'arn:aws:iam::*:root' } }],
    ['nobody', { Principal: {} }],
    ['condition key', { Condition: { StringEquals: { 's3:prefixes': 'a' } } }],
    ['operator', { Condition: { StringMatches: { 's3:prefix': 'a' } } }],
    ['operand', { Condition: { IpAddress: { 'aws:SourceIp': '300.1.1.1' } } }],
    ['field', { Effects: 'Allow' }],
    ['pair', { NotAction: 's3:PutObject' }],
  ])('with an unknown %s is refused', (_, statement) => {
    expect(() => policyOf(statement)).toThrow(
      expect.objectContaining({ code: 'malformed-policy' }),
    );
  });
});

describe('a policy of a bucket', () => {
  it('may name buckets by a pattern that is its own, too', () => {
    for (const resource of ['arn:aws:s3:::*/*', 'arn:aws:s3:::b*', 'arn:aws:s3:::?/x']) {
      expect(
        evaluate(policyOf({ Resource: resource }), request({ resource: 'arn:aws:s3:::b/x' })),
      ).toBe('allow');
    }
  });

  it('says the same thing under one Sid only', () => {
    expect(() => policyOf({ Sid: 'a' }, { Sid: 'a' })).toThrow('must be unique');
    expect(() => policyOf({ Sid: 'a' }, { Sid: 'b' }, {}, {})).not.toThrow();
  });

  it('gives services nothing', () => {
    const service = policyOf({ Principal: { Service: 'logging.s3.amazonaws.com' } });
    expect(evaluate(service, request())).toBe('none');
  });
});

describe('patterns', () => {
  it('match as a regular expression would', () => {
    const letter = fc.constantFrom('a', 'b', '*', '?');
    fc.assert(
      fc.property(
        fc.string({ unit: letter, maxLength: 6 }),
        fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 8 }),
        (pattern, text) => {
          const source = pattern.replaceAll('*', '.*').replaceAll('?', '.');
          expect(globMatches(pattern, text)).toBe(new RegExp(`^${source}$`).test(text));
        },
      ),
    );
  });

  it('take no time of stars without end', () => {
    expect(globMatches(`${'*a'.repeat(2000)}b`, 'a'.repeat(4000))).toBe(false);
  });
});

it('ranges of addresses', () => {
  expect(isInRange('2001:db8::1', '2001:db8::/32')).toBe(true);
  expect(isInRange('2001:db9::1', '2001:db8::/32')).toBe(false);
  expect(isInRange('10.0.0.1', '::/0')).toBe(false);
  expect(isInRange('nonsense', '0.0.0.0/0')).toBe(false);
  expect(isInRange('1.2.3.4', '0.0.0.0/0')).toBe(true);
});
