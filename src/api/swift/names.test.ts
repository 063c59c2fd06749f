import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { splitTarget } from '../http/split-target.ts';
import { parseTarget } from './target.ts';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeAll(async () => {
  server = await startServer();
  await server.ask('PUT', `${BASE}/c`);
});
afterAll(() => server.close());

const encode = (name: string): string =>
  [...Buffer.from(name)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');

async function roundTrip(name: string): Promise<void> {
  const target = `${BASE}/c/${encode(name)}`;
  const put = await server.ask('PUT', target, { body: `body of ${name}` });
  expect(put.status, JSON.stringify(name)).toBe(201);
  expect((await server.ask('GET', target)).text).toBe(`body of ${name}`);
  const listing = await server.ask('GET', `${BASE}/c?format=json&prefix=${encode(name)}`);
  const listed = JSON.parse(listing.text) as { name: string }[];
  expect(listed.map((row) => row.name)).toContain(name);
  expect((await server.ask('DELETE', target)).status).toBe(204);
}

describe('object names', () => {
  it.each([
    '.',
    '..',
    '../../etc/passwd',
    'a//b',
    '/leading',
    'trailing/',
    '//',
    'a b+c',
    '%2e%2e',
    '?&=#;',
    '\u0001\n\r\t\u007f',
    'ünïcödé ☃ 💾',
    '\ufeffmark',
    '\uffff\u{10ffff}',
    '__proto__',
    'constructor',
  ])('%j is an object like any other', roundTrip);

  it('may be any UTF-8 without a zero byte', async () => {
    const text = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 40 })
      .filter((name) => !name.includes('\0') && name.isWellFormed());
    await fc.assert(fc.asyncProperty(text, roundTrip), { numRuns: 60 });
  });

  it('every single byte that is a character of its own works', async () => {
    const codes = Array.from({ length: 0x7f }, (_, index) => index + 1);
    await Promise.all(codes.map((code) => roundTrip(`x${String.fromCharCode(code)}y`)));
  });

  it('must be percent-encoded outside ASCII: Node refuses such bytes in a request line', async () => {
    const line = `GET ${BASE}/c/na\xefve HTTP/1.1\r\nHost: x\r\n\r\n`;
    expect(await server.raw(Buffer.from(line, 'latin1'))).toContain('400 Bad Request');
  });

  it('have up to 1,024 bytes', async () => {
    await roundTrip('n'.repeat(1024));
    await roundTrip('☃'.repeat(341));
    const put = await server.ask('PUT', `${BASE}/c/${'n'.repeat(1025)}`, { body: 'x' });
    expect(put.status).toBe(400);
    expect(put.text).toBe('Object name length of 1025 longer than 1024');
    expect((await server.ask('GET', `${BASE}/c/${'n'.repeat(1025)}`)).status).toBe(404);
  });

  it.each(['%00', 'a%00b', '%ff', '%c3%28', '%ed%a0%80', '%f5%80%80%80', '%c0%af', '%e2%98'])(
    '%s is refused with 412',
    async (name) => {
      for (const method of ['PUT', 'GET', 'HEAD', 'DELETE', 'POST']) {
        const answer = await server.ask(method, `${BASE}/c/${name}`, { body: '' });
        expect(answer.status).toBe(412);
        if (method !== 'HEAD') expect(answer.text).toBe('Invalid UTF8 or contains NULL');
      }
    },
  );
});

describe('container names', () => {
  it('have up to 256 bytes', async () => {
    expect((await server.ask('PUT', `${BASE}/${'c'.repeat(256)}`)).status).toBe(201);
    const put = await server.ask('PUT', `${BASE}/${'c'.repeat(257)}`);
    expect([put.status, put.text]).toEqual([400, 'Container name length of 257 longer than 256']);
  });

  it('may be dots and anything else but a slash', async () => {
    expect((await server.ask('PUT', `${BASE}/..`)).status).toBe(201);
    expect((await server.ask('HEAD', `${BASE}/%2e%2e`)).status).toBe(204);
    expect((await server.ask('PUT', `${BASE}/%e2%98%83`)).status).toBe(201);
  });
});

describe('targets', () => {
  it.each(['/v1', '/v1/', '/v1//c', `${BASE}//o`, '/v1//', '/other'])(
    '%s is a bad URL',
    async (target) => {
      const answer = await server.ask('GET', target);
      expect([answer.status, answer.text]).toEqual([412, 'Bad URL']);
    },
  );

  it('of another version are refused', async () => {
    expect((await server.ask('GET', '/v2/AUTH_p1')).status).toBe(400);
    expect((await server.ask('HEAD', '/v1.0/AUTH_p1')).status).toBe(204);
  });

  it('with a slash at the end are the account, or the container', async () => {
    expect(parseTarget('/v1/a/')).toEqual({ account: 'a' });
    expect(parseTarget('/v1/a/c/')).toEqual({ account: 'a', container: 'c' });
    expect(parseTarget('/v1/a/c//')).toEqual({ account: 'a', container: 'c', object: '/' });
  });

  it('may be absolute', () => {
    const absolute = splitTarget('http://host:80/v1/a/c?x=1?2');
    expect(absolute).toEqual({ path: '/v1/a/c', query: 'x=1?2' });
  });

  it('keep a stray percent sign', () => {
    expect(parseTarget('/v1/a/c/100%/%zz/%4').object).toBe('100%/%zz/%4');
  });

  it('with an account name above 256 bytes are refused', async () => {
    expect((await server.ask('GET', `/v1/${'a'.repeat(257)}`)).status).toBe(400);
  });
});
