import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRange } from '../http/ranges.ts';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

const servers: { small?: TestServer; streamed?: TestServer } = {};
const TEXT = 'abcdefghijklmnopqrstuvwxyz';

beforeAll(async () => {
  servers.small = await startServer();
  servers.streamed = await startServer({ inlineLimit: 4 });
  for (const server of [servers.small, servers.streamed]) {
    await server.ask('PUT', `${BASE}/c`);
    await server.ask('PUT', `${BASE}/c/o`, { body: TEXT, headers: { 'Content-Type': 'text/x' } });
  }
});
afterAll(async () => {
  await servers.small?.close();
  await servers.streamed?.close();
});

describe.each(['small', 'streamed'] as const)('ranges of a %s object', (kind) => {
  const get = (range: string, headers = {}) =>
    servers[kind]!.ask('GET', `${BASE}/c/o`, { headers: { Range: range, ...headers } });

  it.each([
    ['bytes=0-0', 'a', '0-0'],
    ['bytes=3-5', 'def', '3-5'],
    ['bytes=23-', 'xyz', '23-25'],
    ['bytes=-2', 'yz', '24-25'],
    ['bytes=-99', TEXT, '0-25'],
    ['BYTES = 3 - 5', 'def', '3-5'],
    ['bytes=20-99999999999999999999', 'uvwxyz', '20-25'],
    ['bytes=99-, 1-2', 'bc', '1-2'],
  ])('%s', async (range, text, shown) => {
    const answer = await get(range);
    expect([answer.status, answer.text]).toEqual([206, text]);
    expect(answer.headers['content-range']).toBe(`bytes ${shown}/26`);
    expect(answer.headers['content-length']).toBe(String(text.length));
  });

  it.each(['bytes=26-', 'bytes=99-100', 'bytes=-0'])('%s is 416', async (range) => {
    const answer = await get(range);
    expect(answer.status).toBe(416);
    expect(answer.headers['content-range']).toBe('bytes */26');
    expect(answer.text).toContain('Requested Range Not Satisfiable');
  });

  it.each(['bytes=', 'bytes=a-b', 'bytes=5-3', 'bytes=1', 'lines=1-2', 'bytes=1-2,x', 'bytes=--1'])(
    '%s does not count',
    async (range) => {
      const answer = await get(range);
      expect([answer.status, answer.text]).toEqual([200, TEXT]);
    },
  );

  it('several come as multipart/byteranges', async () => {
    const answer = await get('bytes=0-1,10-12,-1');
    expect(answer.status).toBe(206);
    const boundary = /^multipart\/byteranges;boundary=(.+)$/.exec(
      answer.headers['content-type'] ?? '',
    )?.[1];
    const part = (span: string, text: string): string =>
      `--${boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes ${span}/26\r\n\r\n${text}\r\n`;
    expect(answer.text).toBe(
      `${part('0-1', 'ab')}${part('10-12', 'klm')}${part('25-25', 'z')}--${boundary}--`,
    );
    expect(answer.headers['content-length']).toBe(String(answer.body.length));
  });

  it('that overlap again and again are refused', async () => {
    expect((await get('bytes=0-,0-,0-,0-,0-')).status).toBe(416);
    const many = Array.from({ length: 51 }, (_, i) => `${i}-${i}`).join(',');
    expect((await get(`bytes=${many}`)).status).toBe(416);
  });

  it('count only while If-Range holds', async () => {
    const { headers } = await servers[kind]!.ask('HEAD', `${BASE}/c/o`);
    const etag = headers['etag'] ?? '';
    const date = headers['last-modified'] ?? '';
    const status = async (condition: string) =>
      (await get('bytes=0-1', { 'If-Range': condition })).status;
    expect(await status(`"${etag}"`)).toBe(206);
    expect(await status(date)).toBe(206);
    expect(await status('"other"')).toBe(200);
    expect(await status('Mon, 01 Jan 2024 00:00:00 GMT')).toBe(200);
  });

  it('do not count for HEAD', async () => {
    const head = await servers[kind]!.ask('HEAD', `${BASE}/c/o`, {
      headers: { Range: 'bytes=1-2' },
    });
    expect([head.status, head.headers['content-length']]).toEqual([200, '26']);
  });
});

describe('parsing a range', () => {
  it('never leaves the object, whatever the header says', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789-, bytes=') });
    fc.assert(
      fc.property(text, fc.integer({ min: 0, max: 1000 }), (specs, length) => {
        for (const span of parseRange(`bytes=${specs}`, length) ?? []) {
          expect(span.start).toBeGreaterThanOrEqual(0);
          expect(span.end).toBeGreaterThan(span.start);
          expect(span.end).toBeLessThanOrEqual(length);
        }
      }),
    );
  });
});

describe('conditions', () => {
  const ask = (method: string, headers: Record<string, string>) =>
    servers.small!.ask(method, `${BASE}/c/o`, { headers });
  const facts = async () => (await ask('HEAD', {})).headers;
  const LATER = 'Fri, 01 Jan 2100 00:00:00 GMT';
  const EARLIER = 'Sat, 01 Jan 2000 00:00:00 GMT';

  it.each(['GET', 'HEAD'])('of %s', async (method) => {
    const { etag = '' } = await facts();
    const status = async (headers: Record<string, string>) => (await ask(method, headers)).status;
    expect(await status({ 'If-Match': `"${etag}"` })).toBe(200);
    expect(await status({ 'If-Match': `"x", ${etag}` })).toBe(200);
    expect(await status({ 'If-Match': '*' })).toBe(200);
    expect(await status({ 'If-Match': '"x"' })).toBe(412);
    expect(await status({ 'If-None-Match': `W/"${etag}"` })).toBe(304);
    expect(await status({ 'If-None-Match': '*' })).toBe(304);
    expect(await status({ 'If-None-Match': '"x"' })).toBe(200);
    expect(await status({ 'If-Modified-Since': LATER })).toBe(304);
    expect(await status({ 'If-Modified-Since': EARLIER })).toBe(200);
    expect(await status({ 'If-Modified-Since': 'nonsense' })).toBe(200);
    expect(await status({ 'If-Unmodified-Since': EARLIER })).toBe(412);
    expect(await status({ 'If-Unmodified-Since': LATER })).toBe(200);
    expect(await status({ 'If-None-Match': '"x"', 'If-Modified-Since': LATER })).toBe(200);
  });

  it('answer with the validators and without a body', async () => {
    const known = await facts();
    for (const [name, value] of [
      ['If-None-Match', '*'],
      ['If-Match', '"x"'],
    ] as const) {
      const answer = await ask('GET', { [name]: value });
      expect(answer.body.length).toBe(0);
      expect(answer.headers['etag']).toBe(known['etag']);
      expect(answer.headers['last-modified']).toBe(known['last-modified']);
    }
  });

  it('on nothing are not looked at, but If-Match: * does not hold', async () => {
    const get = async (headers: Record<string, string>, method = 'GET') =>
      (await servers.small!.ask(method, `${BASE}/c/none`, { headers })).status;
    expect(await get({ 'If-Match': '"x"' })).toBe(404);
    expect(await get({ 'If-None-Match': '*' })).toBe(404);
    expect(await get({ 'If-Match': '*' })).toBe(412);
    expect(await get({ 'If-Match': '*' }, 'HEAD')).toBe(412);
  });

  it('hold for the exact second of Last-Modified', async () => {
    const date = (await facts())['last-modified'] ?? '';
    expect((await ask('GET', { 'If-Modified-Since': date })).status).toBe(304);
    expect((await ask('GET', { 'If-Unmodified-Since': date })).status).toBe(200);
  });
});
