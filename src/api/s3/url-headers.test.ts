/** What SDKs write into presigned URLs instead of headers. */
import { CopyObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { beforeAll, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import { REGION, secretOf } from './testing/harness.ts';

const server = serverOfFile();
let B = '';

beforeAll(async () => {
  B = await server.freshBucket();
});

/** As whoever has the URL, and nothing else, asks. */
function use(method: string, target: string, body?: string) {
  const url = server.presigned(method, B + target, 60);
  return server.ask(method, url, { as: '', ...(body !== undefined && { body }) });
}

describe('a presigned URL', () => {
  it('says how an object is stored', async () => {
    const query =
      'x-amz-meta-a=1%20%C3%BC&x-amz-acl=public-read&x-amz-tagging=x%3Dy&X-Amz-Storage-Class=STANDARD';
    expect((await use('PUT', `/k?${query}&x-id=PutObject`, 'hello')).status).toBe(200);
    const got = await server.ask('GET', `${B}/k`, { as: '' });
    expect(got).toMatchObject({ status: 200, text: 'hello' });
    expect(got.headers).toMatchObject({
      'x-amz-meta-a': `=?UTF-8?B?${Buffer.from('1 ü').toString('base64')}?=`,
      'x-amz-tagging-count': '1',
    });
    expect(await use('PUT', '/k?x-amz-storage-class=NONE', 'x')).toMatchObject({
      code: 'InvalidStorageClass',
    });
  });

  it('does not know the checksum of a body that it was not signed with', async () => {
    const empty = 'x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32';
    expect((await use('PUT', `/sdk?${empty}`, 'not empty')).status).toBe(200);
    const shown = await use('GET', '/sdk?x-amz-checksum-mode=ENABLED');
    expect(shown.text).toBe('not empty');
    expect(shown.headers).toHaveProperty('x-amz-checksum-crc64nvme');
  });

  it('copies what it names, instead of storing nothing', async () => {
    await server.ask('PUT', `${B}/from`, { body: 'source' });
    const source = encodeURIComponent(`${B}/from`);
    expect((await use('PUT', `/to?x-amz-copy-source=${source}`)).text).toContain(
      'CopyObjectResult',
    );
    expect((await server.ask('GET', `${B}/to`)).text).toBe('source');
  });

  it('of the SDK for JavaScript does what its command says', async () => {
    const client = new S3Client({
      region: REGION,
      endpoint: `http://127.0.0.1:${server.port}`,
      forcePathStyle: true,
      credentials: { accessKeyId: 'owner', secretAccessKey: secretOf('owner') },
    });
    const Bucket = B.slice(1);
    const put = new PutObjectCommand({
      Bucket,
      Key: 'js',
      Metadata: { a: 'b' },
      ACL: 'public-read',
    });
    const copy = new CopyObjectCommand({ Bucket, Key: 'js copy', CopySource: `${Bucket}/js` });
    for (const command of [put, copy]) {
      const url = await getSignedUrl(client, command as PutObjectCommand);
      const answer = await fetch(url, { method: 'PUT', body: command === put ? 'body' : '' });
      expect(answer.status, await answer.text()).toBe(200);
    }
    const { text, headers } = await server.ask('GET', `${B}/js%20copy`);
    expect(text).toBe('body');
    expect(headers['x-amz-meta-a']).toBe('b');
    expect((await server.ask('GET', `${B}/js`, { as: '' })).status).toBe(200);
  });

  it('can not carry what no header could', async () => {
    const answer = await use('PUT', '/evil?x-amz-meta-a=1%0D%0Ab%3A2', 'x');
    expect(answer).toMatchObject({ status: 400, code: 'InvalidArgument' });
  });
});

it('a query that is not a presigned URL says nothing for headers', async () => {
  await server.ask('PUT', `${B}/q?x-amz-meta-a=1`, { body: 'x' });
  expect((await server.ask('GET', `${B}/q`)).headers).not.toHaveProperty('x-amz-meta-a');
});
