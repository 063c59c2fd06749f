import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer, Ask } from './testing/harness.ts';

const server = serverOfFile();
let buckets = 0;
let B = '';

beforeEach(() => {
  buckets += 1;
  B = `/made-${buckets}`;
});

const create = (ask: Ask = {}): Promise<Answer> => server.ask('PUT', B, ask);
const configured = (content: string): Promise<Answer> =>
  create({ body: `<CreateBucketConfiguration>${content}</CreateBucketConfiguration>` });
const get = async (what: string): Promise<string> => (await server.ask('GET', `${B}?${what}`)).text;

describe('CreateBucket', () => {
  it('keeps the location that it is asked for, and says it everywhere', async () => {
    expect((await configured('<LocationConstraint>EU</LocationConstraint>')).status).toBe(200);
    expect(await get('location')).toContain('>EU</LocationConstraint>');
    const head = await server.ask('HEAD', B);
    expect(head.headers['x-amz-bucket-region']).toBe('EU');
    const wrong = await configured('<LocationConstraint>a b</LocationConstraint>');
    expect(wrong.code).toBe('InvalidLocationConstraint');
    expect((await configured('<Other/>')).code).toBe('MalformedXML');
    expect((await configured('<Bucket><Type>Directory</Type></Bucket>')).status).toBe(501);
  });

  it('sets tags, which must be good ones', async () => {
    const tag = '<Tags><Tag><Key>a</Key><Value>1</Value></Tag></Tags>';
    expect((await configured(tag)).status).toBe(200);
    expect(await get('tagging')).toContain('<Key>a</Key><Value>1</Value>');
    expect((await configured(tag.replace('>a<', '>aws:a<'))).code).toBe('InvalidTag');
  });

  it('sets who owns what others store, and then takes no ACL', async () => {
    const ownership = (text: string): Ask => ({ headers: { 'x-amz-object-ownership': text } });
    expect((await create(ownership('Nobody'))).code).toBe('InvalidArgument');
    const enforced = ownership('BucketOwnerEnforced');
    const open = { headers: { ...enforced.headers, 'x-amz-acl': 'public-read' } };
    expect((await create(open)).code).toBe('InvalidBucketAclWithObjectOwnership');
    expect((await create(enforced)).status).toBe(200);
    expect(await get('ownershipControls')).toContain('>BucketOwnerEnforced<');
  });

  it('refuses to guess whether objects are locked', async () => {
    const lock = (text: string): Ask => ({
      headers: { 'x-amz-bucket-object-lock-enabled': text },
    });
    expect((await create(lock('perhaps'))).code).toBe('InvalidArgument');
    expect((await create(lock('False'))).status).toBe(200);
    expect(await get('versioning')).not.toContain('Enabled');
  });

  it('of one\u2019s own bucket is no error in us-east-1, where it resets the ACL', async () => {
    await create({ headers: { 'x-amz-acl': 'public-read' } });
    await server.ask('PUT', `${B}/k`, { body: 'kept' });
    expect((await create()).code).toBe('BucketAlreadyOwnedByYou');
    const wider = { headers: { 'x-amz-acl': 'public-read-write' } };
    expect((await create(wider)).code).toBe('BucketAlreadyOwnedByYou');
    expect(await get('acl')).not.toContain('>WRITE<');
    expect(await get('acl')).toContain('AllUsers');
    expect((await create({ region: 'us-east-1' })).status).toBe(200);
    expect(await get('acl')).not.toContain('AllUsers');
    expect((await server.ask('GET', `${B}/k`)).text).toBe('kept');
    const switches = '<BlockPublicAcls>true</BlockPublicAcls>';
    const body = `<PublicAccessBlockConfiguration>${switches}</PublicAccessBlockConfiguration>`;
    await server.ask('PUT', `${B}?publicAccessBlock`, { body });
    const open = await create({ region: 'us-east-1', headers: { 'x-amz-acl': 'public-read' } });
    expect(open.code).toBe('AccessDenied');
    const other = await create({ region: 'us-east-1', as: 'stranger' });
    expect(other.code).toBe('BucketAlreadyExists');
  });

  it.each(['amzn-s3-demo-x', 'abc.mrap', 'abc--x-s3', 'abc--table-s3', 'abc-s3alias', 'sthree-a'])(
    'does not give %s, which S3 keeps for itself',
    async (name) => {
      expect((await server.ask('PUT', `/${name}`)).code).toBe('InvalidBucketName');
    },
  );
});

describe('what is not set', () => {
  it.each([
    ['replication', 'ReplicationConfigurationNotFoundError'],
    ['metadataConfiguration', 'MetadataConfigurationNotFound'],
    ['metadataTable', 'MetadataTableConfigurationNotFound'],
    ['metrics&id=x', 'NoSuchConfiguration'],
    ['tagging', 'NoSuchTagSet'],
  ])('is told with its own error: ?%s', async (what, code) => {
    await create();
    expect(await server.ask('GET', `${B}?${what}`)).toMatchObject({ status: 404, code });
    const [name] = what.split('&');
    expect((await server.ask('DELETE', `${B}?${name}`)).status).toBe(204);
  });

  it('is off for attribute based access', async () => {
    await create();
    expect(await get('abac')).toContain('<Status>Disabled</Status>');
  });
});

describe('ListBuckets', () => {
  it.each(['0', '-1', '10001', 'x'])('refuses pages of %s', async (size) => {
    const answer = await server.ask('GET', `/?max-buckets=${size}`, {
      headers: { 'x-amz-meta-x': '' },
    });
    expect(answer).toMatchObject({ status: 400, code: 'InvalidArgument' });
  });
});
