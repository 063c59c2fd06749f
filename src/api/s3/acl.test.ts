import { beforeEach, describe, expect, it } from 'vitest';
import { canonicalIdOf } from '#identity/credentials.ts';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer, Ask } from './testing/harness.ts';

const OWNER = canonicalIdOf('p1');
const STRANGER = canonicalIdOf('p2');
const AS_STRANGER: Ask = { as: 'stranger' };

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

const acl = (name: string, target = B, as = 'owner'): Promise<Answer> =>
  server.ask('PUT', `${target}?acl`, { as, headers: { 'x-amz-acl': name } });
const shown = async (target = B, ask: Ask = {}): Promise<string> =>
  (await server.ask('GET', `${target}?acl`, ask)).text;

function grant(type: string, who: string, permission = 'READ'): string {
  const space = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"';
  return `<Grant><Grantee ${space}${type}>${who}</Grantee><Permission>${permission}</Permission></Grant>`;
}

function putGrants(grants: string, owner = OWNER): Promise<Answer> {
  const list = `<AccessControlList>${grants}</AccessControlList>`;
  const body = `<AccessControlPolicy><Owner><ID>${owner}</ID></Owner>${list}</AccessControlPolicy>`;
  return server.ask('PUT', `${B}?acl`, { body });
}

describe('an ACL', () => {
  it('tells owners and grantees by id and by name', async () => {
    await putGrants(grant(' xsi:type="CanonicalUser"', `<ID>${STRANGER}</ID>`));
    const text = await shown();
    expect(text).toContain(`<Owner><ID>${OWNER}</ID><DisplayName>p1</DisplayName></Owner>`);
    expect(text).toContain(`<ID>${STRANGER}</ID><DisplayName>p2</DisplayName></Grantee>`);
    expect((await server.ask('GET', B, AS_STRANGER)).status).toBe(200);
  });

  it.each([
    ['a type that is none', ' xsi:type="Robot"', `<ID>${STRANGER}</ID>`, 'MalformedACLError'],
    ['no type', '', `<ID>${STRANGER}</ID>`, 'MalformedACLError'],
    ['nobody', ' xsi:type="CanonicalUser"', `<ID>${'ab'.repeat(32)}</ID>`, 'InvalidArgument'],
    ['another group', ' xsi:type="Group"', '<URI>http://x/y</URI>', 'InvalidArgument'],
    [
      'an address',
      ' xsi:type="AmazonCustomerByEmail"',
      '<EmailAddress>a@b.c</EmailAddress>',
      'UnresolvableGrantByEmailAddress',
    ],
  ])('is refused for %s', async (_, type, who, code) => {
    expect(await putGrants(grant(type, who))).toMatchObject({ status: 400, code });
  });

  it('can not give the bucket away', async () => {
    expect((await putGrants('', STRANGER)).code).toBe('AccessDenied');
  });
});

describe('an object of somebody else in a bucket that takes ACLs', () => {
  beforeEach(() => acl('public-read-write'));

  it('is its writer\u2019s, and the owner of the bucket reads it all the same', async () => {
    await server.ask('PUT', `${B}/k`, { ...AS_STRANGER, body: 'x' });
    const text = await shown(`${B}/k`, AS_STRANGER);
    expect(text).toContain(`<Owner><ID>${STRANGER}</ID><DisplayName>p2</DisplayName></Owner>`);
    expect(text).not.toContain(OWNER);
    expect((await server.ask('GET', `${B}/k`, AS_STRANGER)).text).toBe('x');
    expect((await server.ask('GET', `${B}/k`)).text).toBe('x');
    expect((await server.ask('GET', `${B}/k`, { as: '' })).status).toBe(403);
    expect((await acl('public-read', `${B}/k`, 'stranger')).status).toBe(200);
    expect(await shown(`${B}/k`)).toContain(`<Owner><ID>${STRANGER}<`);
    expect((await server.ask('GET', `${B}/k`, { as: '' })).status).toBe(200);
  });

  it.each([
    ['bucket-owner-read', 'READ'],
    ['bucket-owner-full-control', 'FULL_CONTROL'],
  ])('grants the owner of the bucket what %s says', async (name, permission) => {
    const headers = { 'x-amz-acl': name };
    await server.ask('PUT', `${B}/k`, { ...AS_STRANGER, body: 'x', headers });
    const text = await shown(`${B}/k`, AS_STRANGER);
    expect(text).toMatch(new RegExp(`<ID>${OWNER}<.*?<Permission>${permission}<`));
  });

  it('keeps its writer when it came in parts, or as a copy', async () => {
    const headers = { 'x-amz-copy-source': `${B}/k` };
    await server.ask('PUT', `${B}/k`, { ...AS_STRANGER, body: 'x' });
    await server.ask('PUT', `${B}/copy`, { ...AS_STRANGER, headers });
    expect(await shown(`${B}/copy`)).toContain(`<Owner><ID>${STRANGER}<`);
    const begun = await server.ask('POST', `${B}/parts?uploads`, AS_STRANGER);
    const id = /<UploadId>(\w+)</.exec(begun.text)![1];
    const part = await server.ask('PUT', `${B}/parts?partNumber=1&uploadId=${id}`, {
      ...AS_STRANGER,
      body: 'x',
    });
    const listed = `<Part><PartNumber>1</PartNumber><ETag>${part.headers.etag}</ETag></Part>`;
    await server.ask('POST', `${B}/parts?uploadId=${id}`, {
      ...AS_STRANGER,
      body: `<CompleteMultipartUpload>${listed}</CompleteMultipartUpload>`,
    });
    expect(await shown(`${B}/parts`)).toContain(`<Owner><ID>${STRANGER}<`);
  });

  it('is the owner\u2019s of a bucket that takes it over', async () => {
    const preferred = '<Rule><ObjectOwnership>BucketOwnerPreferred</ObjectOwnership></Rule>';
    const body = `<OwnershipControls>${preferred}</OwnershipControls>`;
    await server.ask('PUT', `${B}?ownershipControls`, { body });
    const headers = { 'x-amz-acl': 'bucket-owner-full-control' };
    await server.ask('PUT', `${B}/k`, { ...AS_STRANGER, body: 'x', headers });
    expect(await shown(`${B}/k`)).toContain(`<Owner><ID>${OWNER}<`);
    expect((await server.ask('GET', `${B}/k`, AS_STRANGER)).code).toBe('AccessDenied');
  });
});

describe('a bucket', () => {
  it('that is shared by its ACL does not switch ACLs off', async () => {
    const rule = '<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>';
    const ask = { body: `<OwnershipControls>${rule}</OwnershipControls>` };
    await acl('public-read');
    const refused = await server.ask('PUT', `${B}?ownershipControls`, ask);
    expect(refused.code).toBe('InvalidBucketAclWithObjectOwnership');
    await acl('private');
    expect((await server.ask('PUT', `${B}?ownershipControls`, ask)).status).toBe(200);
    expect((await acl('public-read')).code).toBe('AccessControlListNotSupported');
  });

  it('tells who may list it that an object is not there, and nobody else', async () => {
    expect((await server.ask('GET', `${B}/none`, AS_STRANGER)).code).toBe('AccessDenied');
    await acl('public-read');
    expect((await server.ask('GET', `${B}/none`, AS_STRANGER)).code).toBe('NoSuchKey');
    expect((await server.ask('HEAD', `${B}/none`, { as: '' })).status).toBe(404);
    await server.ask('PUT', `${B}/private`, { body: 'x' });
    expect((await server.ask('GET', `${B}/private`, { as: '' })).code).toBe('AccessDenied');
  });
});
