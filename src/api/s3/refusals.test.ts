/** Requests that S3 answers with one certain error, where another answer would mislead. */
import { hash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { basicTime } from '#auth/sigv4-claim.ts';
import { serverOfFile } from './testing/file-server.ts';
import type { Ask } from './testing/harness.ts';

const server = serverOfFile();
const B = '/refusals';
const LONG_KEY = 'k'.repeat(1025);
const ask = (method: string, target: string, more: Ask = {}) =>
  server.ask(method, `${B}${target}`, more);

beforeAll(async () => {
  await ask('PUT', '');
  await ask('PUT', '/k', { body: 'x' });
});

describe('a precondition', () => {
  const TAGS = '<Tagging><TagSet/></Tagging>';
  it.each([
    ['PUT', '/k?tagging', 'if-match', TAGS],
    ['PUT', '/k?tagging', 'if-unmodified-since', TAGS],
    ['PUT', '/k?acl', 'if-none-match', ''],
    ['PUT', '?tagging', 'if-match', TAGS],
    ['POST', '?delete', 'if-match', '<Delete><Object><Key>k</Key></Object></Delete>'],
    ['PUT', '/k?partNumber=1&uploadId=x', 'if-match', 'x'],
    ['DELETE', '/k', 'if-none-match', ''],
    ['DELETE', '/k', 'if-modified-since', ''],
  ])('that %s %s can not keep is refused: %s', async (method, target, name, body) => {
    const value = name.endsWith('since') ? 'Sat, 29 Oct 1994 19:43:31 GMT' : '"x"';
    const answer = await ask(method, target, { body, headers: { [name]: value } });
    expect(answer).toMatchObject({ status: 501, code: 'NotImplemented' });
    expect((await ask('GET', '/k')).text).toBe('x');
  });

  it('of an upload is looked at when it begins', async () => {
    const begin = (headers: Record<string, string>, key = 'k') =>
      ask('POST', `/${key}?uploads`, { headers });
    expect(await begin({ 'if-none-match': '*' })).toMatchObject({ status: 412 });
    expect(await begin({ 'if-none-match': '*' }, 'new')).toMatchObject({ status: 200 });
    expect(await begin({ 'if-match': '"x"' }, 'new')).toMatchObject({ code: 'NoSuchKey' });
    expect(await begin({ 'if-match': hash('md5', 'x') })).toMatchObject({ status: 200 });
  });

  it('on the size or time of a deletion does not fail for what is not there', async () => {
    const headers = { 'x-amz-if-match-size': '5' };
    expect((await ask('DELETE', '/nothing', { headers })).status).toBe(204);
    expect((await ask('DELETE', '/k', { headers })).status).toBe(412);
    expect(await ask('DELETE', '/nothing', { headers: { 'if-match': '*' } })).toMatchObject({
      code: 'NoSuchKey',
    });
  });
});

describe('a name', () => {
  it.each([
    ['GET', `/${LONG_KEY}`],
    ['PUT', `/${LONG_KEY}`],
    ['DELETE', `/${LONG_KEY}`],
    ['PUT', `/${LONG_KEY}?tagging`],
  ])('of more than 1,024 bytes is refused: %s', async (method, target) => {
    expect(await ask(method, target)).toMatchObject({ status: 400, code: 'KeyTooLongError' });
  });

  it('of more than 1,024 bytes is refused in a list, too', async () => {
    const body = `<Delete><Object><Key>${LONG_KEY}</Key></Object></Delete>`;
    expect((await ask('POST', '?delete', { body })).text).toContain('<Code>KeyTooLongError<');
  });

  it.each(['junk', '', 'x'.repeat(30), '0'.repeat(29)])(
    'of a version that is none: %j',
    async (id) => {
      for (const [method, target] of [
        ['GET', '/k?'],
        ['DELETE', '/k?'],
        ['GET', '/k?tagging&'],
        ['GET', '/k?acl&'],
      ]) {
        const answer = await ask(method!, `${target}versionId=${id}`);
        expect(answer).toMatchObject({ status: 400, code: 'InvalidArgument' });
        expect(answer.text).toContain('Invalid version id specified');
      }
      const headers = { 'x-amz-copy-source': `${B}/k?versionId=${id}` };
      expect(await ask('PUT', '/copy', { headers })).toMatchObject({ code: 'InvalidArgument' });
    },
  );
});

it("the tags of a bucket are taken with 200: with 204 minio's client thinks that they are refused", async () => {
  const body = '<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>';
  expect((await ask('PUT', '?tagging', { body })).status).toBe(200);
});

it('a part without its upload does not become the object', async () => {
  expect(await ask('PUT', '/k?partNumber=1', { body: 'part' })).toMatchObject({
    status: 400,
    code: 'InvalidArgument',
  });
  expect((await ask('GET', '/k')).text).toBe('x');
});

it('a checksum of an algorithm that nobody knows is not taken as checked', async () => {
  const headers = { 'x-amz-checksum-foo': 'AAAA' };
  expect(await ask('PUT', '/sum', { body: 'x', headers })).toMatchObject({
    status: 400,
    code: 'InvalidRequest',
  });
});

it('tags in a header are named once and encoded', async () => {
  for (const tags of ['a=1&a=2', 'a=%zz']) {
    const answer = await ask('PUT', '/tagged', { headers: { 'x-amz-tagging': tags } });
    expect(answer).toMatchObject({ status: 400, code: 'InvalidArgument' });
  }
});

describe('a signature', () => {
  const get = (headers: Record<string, string>) => ask('GET', '/k', { as: '', headers });

  it('of a clock that is off by days is told so, whatever day its key is of', async () => {
    const signed = server.signed('GET', `${B}/k`);
    expect(await get({ ...signed, 'x-amz-date': '20300707T215304Z' })).toMatchObject({
      status: 403,
      code: 'RequestTimeTooSkewed',
    });
    const day = signed['x-amz-date']!.slice(0, 8);
    const authorization = signed['authorization']!.replace(day, '20130101');
    const answer = await get({ ...signed, authorization });
    expect(answer).toMatchObject({ status: 400, code: 'AuthorizationHeaderMalformed' });
    expect(answer.text).toContain('Invalid credential date');
  });

  it('names the parts that it lacks', async () => {
    const url = server.presigned('GET', `${B}/k`, 60);
    for (const name of [
      'Algorithm',
      'Credential',
      'Date',
      'Expires',
      'SignedHeaders',
      'Signature',
    ]) {
      const without = url.replace(new RegExp(`X-Amz-${name}=[^&]*&?`), '');
      const answer = await server.ask('GET', without, { as: '' });
      expect(answer).toMatchObject({ status: 400, code: 'AuthorizationQueryParametersError' });
      expect(answer.text).toContain('X-Amz-SignedHeaders, and X-Amz-Expires parameters');
    }
    const old = await server.ask('GET', `${B}/k?AWSAccessKeyId=owner&Signature=x`, { as: '' });
    expect(old).toMatchObject({ status: 403, code: 'AccessDenied' });
  });

  it('of another form than any fits nothing', async () => {
    const url = server.presigned('GET', `${B}/k`, 60);
    for (const wrong of [`${url}0`, url.slice(0, -1), url.replace(/Signature=.*/, 'Signature=x')]) {
      const answer = await server.ask('GET', wrong, { as: '' });
      expect(answer).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' });
    }
    const signed = server.signed('GET', `${B}/k`);
    const authorization = signed['authorization']!.slice(0, -1);
    expect(await get({ ...signed, authorization })).toMatchObject({
      code: 'SignatureDoesNotMatch',
    });
  });

  it('of a URL that is over says how long it was good', async () => {
    const url = server.presigned('GET', `${B}/k`, 60, Date.now() - 61_000);
    const { code, text } = await server.ask('GET', url, { as: '' });
    expect(code).toBe('AccessDenied');
    expect(text).toContain('<X-Amz-Expires>60</X-Amz-Expires><Expires>');
  });

  it('of a URL that is good from tomorrow on is not good today', async () => {
    const tomorrow = Date.now() + 24 * 3600 * 1000;
    const url = server.presigned('GET', `${B}/k`, 60, tomorrow);
    const answer = await server.ask('GET', url, { as: '' });
    expect(answer, basicTime(tomorrow)).toMatchObject({ status: 403, code: 'AccessDenied' });
    expect(answer.text).toContain('not yet valid');
  });
});

it.each([
  ['POST', '/k', 'GET, HEAD, PUT, DELETE'],
  ['PATCH', '', 'GET, PUT, HEAD, DELETE, POST'],
  ['DELETE', '?location', 'GET'],
])('%s of %s is told what may be done instead', async (method, target, allow) => {
  const answer = await ask(method, target);
  expect(answer).toMatchObject({ status: 405, code: 'MethodNotAllowed', headers: { allow } });
});

it('a redirect of a website is no longer than S3 takes', async () => {
  const redirect = (length: number) =>
    ask('PUT', '/r', {
      headers: { 'x-amz-website-redirect-location': `/${'r'.repeat(length - 1)}` },
    });
  expect((await redirect(2048)).status).toBe(200);
  expect(await redirect(2049)).toMatchObject({ status: 400, code: 'InvalidRedirectLocation' });
});
