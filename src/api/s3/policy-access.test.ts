import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
  await server.ask('PUT', `${B}/k`, { body: 'x', headers: { 'x-amz-tagging': 'level=low' } });
});

function put(...statements: object[]) {
  const name = B.slice(1);
  const Statement = statements.map((each) => ({
    ...{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject' },
    ...{ Resource: [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`] },
    ...each,
  }));
  const body = JSON.stringify({ Version: '2012-10-17', Statement });
  return server.ask('PUT', `${B}?policy`, { body });
}

const status = async (method: string, target: string, as: string, headers = {}) =>
  (await server.ask(method, target, { as, headers })).status;

describe('a bucket policy', () => {
  it('opens a bucket to everybody or to one project, and is told as it was set', async () => {
    expect((await put({})).status).toBe(204);
    expect(await status('GET', `${B}/k`, '')).toBe(200);
    expect(await status('GET', B, '')).toBe(403);
    expect(JSON.parse((await server.ask('GET', `${B}?policy`)).text)).toMatchObject({
      Version: '2012-10-17',
    });
    expect((await server.ask('GET', `${B}?policyStatus`)).text).toContain('<IsPublic>true<');
    await put({
      Principal: { AWS: 'arn:aws:iam::p2:root' },
      Action: ['s3:ListBucket', 's3:PutObject'],
    });
    expect(await status('GET', `${B}/k`, '')).toBe(403);
    expect(await status('GET', B, 'stranger')).toBe(200);
    expect(await status('GET', `${B}/k`, 'stranger')).toBe(403);
    expect((await server.ask('PUT', `${B}/theirs`, { as: 'stranger', body: 'y' })).status).toBe(
      200,
    );
    expect((await server.ask('GET', `${B}?policyStatus`)).text).toContain('<IsPublic>false<');
    expect(await status('DELETE', `${B}?policy`, 'owner')).toBe(204);
    expect(await status('GET', B, 'stranger')).toBe(403);
  });

  it('denies its owners, too, but never locks them out', async () => {
    await put({ Effect: 'Deny', Action: 's3:*' });
    expect(await status('GET', `${B}/k`, 'owner')).toBe(403);
    expect(await status('GET', `${B}?policy`, 'owner')).toBe(200);
    expect(await status('DELETE', `${B}?policy`, 'owner')).toBe(204);
    expect(await status('GET', `${B}/k`, 'owner')).toBe(200);
  });

  it('asks which tags are set, and how an object is written', async () => {
    const red = { Condition: { StringEquals: { 's3:RequestObjectTag/color': 'red' } } };
    await put({ Action: 's3:PutObjectTagging', ...red });
    const tag = async (color: string): Promise<number> => {
      const set = `<TagSet><Tag><Key>color</Key><Value>${color}</Value></Tag></TagSet>`;
      const ask = { as: 'stranger', body: `<Tagging>${set}</Tagging>` };
      return (await server.ask('PUT', `${B}/k?tagging`, ask)).status;
    };
    expect([await tag('red'), await tag('blue')]).toEqual([200, 403]);
    await put({
      Action: 's3:PutObject',
      Condition: { Null: { 's3:if-none-match': 'false' } },
    });
    expect(await status('PUT', `${B}/new`, 'stranger')).toBe(403);
    expect(await status('PUT', `${B}/new`, 'stranger', { 'if-none-match': '*' })).toBe(200);
  });

  it('is not asked about a header that takes long to compare', async () => {
    const like = { StringLike: { 'aws:UserAgent': `*${'a'.repeat(7000)}b` } };
    await put({ Condition: like });
    const long = { 'user-agent': 'a'.repeat(14_000) };
    expect(await status('GET', `${B}/k`, 'owner', long)).toBe(400);
    expect(await status('GET', `${B}/k`, 'owner', { 'user-agent': 'a'.repeat(2048) })).toBe(200);
    await put({});
    expect(await status('GET', `${B}/k`, 'owner', long)).toBe(200);
  });

  it('that denies ACLs or tags denies them in writes of objects, too', async () => {
    const canned = { 'x-amz-acl': 'public-read' };
    await put({ Action: 's3:PutObject' });
    expect(await status('PUT', `${B}/new`, 'stranger', canned)).toBe(200);
    await put({ Action: 's3:PutObject' }, { Effect: 'Deny', Action: 's3:PutObject*l' });
    expect(await status('PUT', `${B}/new`, 'stranger', canned)).toBe(403);
    expect(await status('POST', `${B}/new?uploads`, 'owner', canned)).toBe(403);
    expect(await status('PUT', `${B}/new`, 'stranger')).toBe(200);
    await put({ Action: 's3:PutObject' }, { Effect: 'Deny', Action: 's3:PutObjectTagging' });
    const tagged = { 'x-amz-tagging': 'a=b' };
    expect(await status('PUT', `${B}/new`, 'stranger', tagged)).toBe(403);
  });

  it('knows the source of a copy in all its forms', async () => {
    await put(
      { Action: ['s3:PutObject', 's3:GetObject'] },
      {
        Effect: 'Deny',
        Action: 's3:PutObject',
        Condition: { StringLike: { 's3:x-amz-copy-source': `${B.slice(1)}/k*` } },
      },
    );
    for (const source of [`${B}/k`, `${B.slice(1)}/k`, `${B}/%6b`]) {
      const headers = { 'x-amz-copy-source': source };
      expect(await status('PUT', `${B}/copy`, 'stranger', headers)).toBe(403);
    }
  });

  it('lets attributes be read by who may read the object, too', async () => {
    const headers = { 'x-amz-object-attributes': 'ETag' };
    await put({ Action: 's3:GetObjectAttributes' });
    expect(await status('GET', `${B}/k?attributes`, 'stranger', headers)).toBe(403);
    await put({ Action: ['s3:GetObjectAttributes', 's3:GetObject'] });
    expect(await status('GET', `${B}/k?attributes`, 'stranger', headers)).toBe(200);
  });

  it('asks for parameters, headers, addresses and tags', async () => {
    const condition = (Condition: object, more = {}) => put({ Condition, ...more });
    await condition({ StringLike: { 's3:prefix': 'open/*' } }, { Action: 's3:ListBucket' });
    expect(await status('GET', `${B}?prefix=open/x`, '')).toBe(200);
    expect(await status('GET', `${B}?prefix=closed`, '')).toBe(403);
    await condition({ IpAddress: { 'aws:SourceIp': '127.0.0.0/8' } });
    expect(await status('GET', `${B}/k`, '')).toBe(200);
    await condition({ IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } });
    expect(await status('GET', `${B}/k`, '')).toBe(403);
    await condition({ StringEquals: { 's3:ExistingObjectTag/level': 'low' } });
    expect(await status('GET', `${B}/k`, '')).toBe(200);
    await condition({ StringEquals: { 's3:ExistingObjectTag/level': 'high' } });
    expect(await status('GET', `${B}/k`, '')).toBe(403);
    await condition({ StringEquals: { 's3:x-amz-acl': 'private' } }, { Action: 's3:PutObject' });
    const acl = { 'x-amz-acl': 'private' };
    expect(await status('PUT', `${B}/new`, 'stranger', { ...acl, 'content-length': '0' })).toBe(
      200,
    );
    expect(await status('PUT', `${B}/new`, 'stranger', { 'content-length': '0' })).toBe(403);
  });

  it('that can not be kept is refused', async () => {
    const text = (await put({ Resource: 'arn:aws:s3:::another/*' })).code;
    expect(text).toBe('MalformedPolicy');
    expect((await server.ask('PUT', `${B}?policy`, { body: 'nonsense' })).code).toBe(
      'MalformedPolicy',
    );
    expect(await server.ask('GET', `${B}?policy`)).toMatchObject({ code: 'NoSuchBucketPolicy' });
  });
});

describe('a public access block', () => {
  const block = (...names: string[]) => {
    const body = names.map((name) => `<${name}>true</${name}>`).join('');
    const root = 'PublicAccessBlockConfiguration';
    return server.ask('PUT', `${B}?publicAccessBlock`, { body: `<${root}>${body}</${root}>` });
  };

  it('refuses public policies and ACLs, ignores those that are there', async () => {
    await put({});
    await server.ask('PUT', `${B}/k?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    expect((await block('BlockPublicPolicy', 'BlockPublicAcls')).status).toBe(200);
    expect((await put({})).code).toBe('AccessDenied');
    const acl = { headers: { 'x-amz-acl': 'public-read' } };
    expect((await server.ask('PUT', `${B}/k?acl`, acl)).code).toBe('AccessDenied');
    expect(await status('GET', `${B}/k`, '')).toBe(200);
    await block('RestrictPublicBuckets', 'IgnorePublicAcls');
    expect(await status('GET', `${B}/k`, '')).toBe(403);
    const { text } = await server.ask('GET', `${B}?publicAccessBlock`);
    expect(text).toContain('<BlockPublicAcls>false</BlockPublicAcls><IgnorePublicAcls>true<');
    expect((await server.ask('DELETE', `${B}?publicAccessBlock`)).status).toBe(204);
    expect(await status('GET', `${B}/k`, '')).toBe(200);
  });
});

describe('ownership controls', () => {
  it('of BucketOwnerEnforced switch ACLs off', async () => {
    await server.ask('PUT', `${B}/k?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    const body =
      '<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>';
    expect((await server.ask('PUT', `${B}?ownershipControls`, { body })).status).toBe(200);
    expect(await status('GET', `${B}/k`, '')).toBe(403);
    const acl = { headers: { 'x-amz-acl': 'public-read' } };
    expect((await server.ask('PUT', `${B}/k?acl`, acl)).code).toBe('AccessControlListNotSupported');
    expect((await server.ask('GET', `${B}?ownershipControls`)).text).toContain(
      'BucketOwnerEnforced',
    );
    await server.ask('DELETE', `${B}?ownershipControls`);
    expect(await status('GET', `${B}/k`, '')).toBe(200);
  });
});

describe('a request that expects an owner', () => {
  it('is refused where the bucket, or the source of a copy, is another one', async () => {
    const source = { 'x-amz-copy-source': `${B}/k` };
    for (const [owner, expected] of [
      ['p1', 200],
      ['AUTH_p1', 200],
      ['111111111111', 403],
    ] as const) {
      const header = { 'x-amz-expected-bucket-owner': owner };
      expect(await status('GET', `${B}/k`, 'owner', header)).toBe(expected);
      expect(await status('PUT', `${B}/k2`, 'owner', header)).toBe(expected);
      const copy = { ...source, 'x-amz-source-expected-bucket-owner': owner };
      expect(await status('PUT', `${B}/k3`, 'owner', copy)).toBe(expected);
    }
  });
});

describe('configurations that are told apart by an id', () => {
  it.each(['analytics', 'inventory', 'metrics', 'intelligent-tiering'])(
    '%s: none are listed, and none is found',
    async (name) => {
      const listed = await server.ask('GET', `${B}?${name}`);
      expect([listed.status, listed.text]).toEqual([
        200,
        expect.stringContaining('<IsTruncated>false<'),
      ]);
      expect((await server.ask('GET', `${B}?${name}&id=x`)).code).toBe('NoSuchConfiguration');
    },
  );
});
