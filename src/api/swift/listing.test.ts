import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bestMatch } from './accept.ts';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
const NAMES = [
  'a',
  'b/1',
  'b/2',
  'b/c/3',
  'd',
  'photos/',
  'photos/x',
  'photos/y/',
  'photos/y/z',
  'é',
];

beforeAll(async () => {
  server = await startServer();
  await server.ask('PUT', `${BASE}/c`);
  await server.ask('PUT', `${BASE}/empty`);
  for (const name of NAMES) {
    const headers = { 'Content-Type': 'text/x-thing' };
    await server.ask('PUT', `${BASE}/c/${encodeURIComponent(name)}`, { body: name, headers });
  }
});
afterAll(() => server.close());

const lines = async (query: string): Promise<string[]> => {
  const answer = await server.ask('GET', `${BASE}/c?${query}`);
  expect([200, 204]).toContain(answer.status);
  return answer.text === '' ? [] : answer.text.slice(0, -1).split('\n');
};

describe('a listing', () => {
  it.each<[string, string[]]>([
    ['', NAMES],
    ['limit=2', ['a', 'b/1']],
    ['limit=0', []],
    ['limit=x', NAMES],
    ['prefix=b/', ['b/1', 'b/2', 'b/c/3']],
    ['delimiter=/', ['a', 'b/', 'd', 'photos/', 'é']],
    ['delimiter=/&prefix=b/', ['b/1', 'b/2', 'b/c/']],
    ['marker=b/2', NAMES.slice(3)],
    ['marker=b/&delimiter=/', ['d', 'photos/', 'é']],
    ['end_marker=b/c', ['a', 'b/1', 'b/2']],
    ['marker=a&end_marker=d', ['b/1', 'b/2', 'b/c/3']],
    ['reverse=true&limit=3', ['é', 'photos/y/z', 'photos/y/']],
    ['reverse=on&marker=d', ['b/c/3', 'b/2', 'b/1', 'a']],
    ['reverse=1&delimiter=/', ['é', 'photos/', 'd', 'b/', 'a']],
    ['path=', ['a', 'd', 'photos/', 'é']],
    ['path=photos', ['photos/x', 'photos/y/']],
    ['path=photos/&limit=1', ['photos/x']],
    ['path=b', ['b/1', 'b/2']],
    ['prefix=%C3%A9', ['é']],
    ['prefix=none', []],
  ])('with %s', async (query, expected) => {
    expect(await lines(query)).toEqual(expected);
  });

  it('goes on from each last line until nothing is left, with every delimiter and direction', async () => {
    for (const query of ['delimiter=/', 'delimiter=/&reverse=yes', '', 'path=photos']) {
      const all = await lines(query);
      const walked: string[] = [];
      for (let step = 0; step < 20; step++) {
        const marker = encodeURIComponent(walked.at(-1) ?? '');
        const page = await lines(`${query}&limit=1&marker=${marker}`);
        if (page.length === 0) break;
        walked.push(...page);
      }
      expect(walked, query).toEqual(all);
    }
  });

  it('by path has a limit of directories, for each costs a look-up', async () => {
    const small = await startServer({ limits: { maxPathLookups: 2 } });
    await small.ask('PUT', `${BASE}/c`);
    for (const name of ['x/1', 'y/1']) await small.ask('PUT', `${BASE}/c/${name}`, { body: '' });
    expect((await small.ask('GET', `${BASE}/c?path=`)).status).toBe(204);
    await small.ask('PUT', `${BASE}/c/z/1`, { body: '' });
    expect((await small.ask('GET', `${BASE}/c?path=`)).status).toBe(412);
    await small.close();
  });

  it('in JSON has what clients read', async () => {
    const answer = await server.ask('GET', `${BASE}/c?format=json&delimiter=/&limit=2`);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.headers['x-container-object-count']).toBe(String(NAMES.length));
    const [first, second] = JSON.parse(answer.text) as Record<string, unknown>[];
    expect(first).toEqual({
      name: 'a',
      bytes: 1,
      hash: '0cc175b9c0f1b6a831c399e269772661',
      content_type: 'text/x-thing',
      last_modified: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{5}0$/),
    });
    expect(second).toEqual({ subdir: 'b/' });
  });

  it('in XML has what clients read, with everything escaped', async () => {
    await server.ask('PUT', `${BASE}/x%26y`);
    await server.ask('PUT', `${BASE}/x%26y/${encodeURIComponent('<"&\'\u0001>/o')}`, { body: '1' });
    await server.ask('PUT', `${BASE}/x%26y/%3C`, { body: '1' });
    const answer = await server.ask('GET', `${BASE}/x%26y?format=xml&delimiter=/`);
    expect(answer.headers['content-type']).toBe('application/xml; charset=utf-8');
    expect(answer.text).toContain('<container name="x&amp;y">');
    expect(answer.text).toMatch(
      /<object><name>&lt;<\/name><hash>c4ca4238a0b923820dcc509a6f75849b<\/hash><bytes>1<\/bytes><content_type>application\/octet-stream<\/content_type><last_modified>[^<]+<\/last_modified><\/object>/,
    );
    const rolled = '&lt;&quot;&amp;&apos;\ufffd&gt;/';
    expect(answer.text).toContain(`<subdir name="${rolled}"><name>${rolled}</name></subdir>`);
  });

  it('is 204 in plain text without a name, 200 otherwise', async () => {
    const plain = await server.ask('GET', `${BASE}/empty`);
    expect([plain.status, plain.text]).toEqual([204, '']);
    const json = await server.ask('GET', `${BASE}/empty?format=json`);
    expect([json.status, json.text]).toEqual([200, '[]']);
    const xml = await server.ask('GET', `${BASE}/empty?format=xml`);
    expect([xml.status, xml.text]).toContain(200);
  });

  it('is refused above the limit, with an unknown Accept, and in bad UTF-8', async () => {
    const above = await server.ask('GET', `${BASE}/c?limit=10001`);
    expect([above.status, above.text]).toEqual([412, 'Maximum limit is 10000']);
    const accept = await server.ask('GET', `${BASE}/c`, { headers: { Accept: 'image/png' } });
    expect(accept.status).toBe(406);
    expect((await server.ask('GET', `${BASE}/c?prefix=%ff`)).status).toBe(400);
    expect((await server.ask('GET', `${BASE}/none`)).status).toBe(404);
  });

  it('follows Accept, and format= before it', async () => {
    const type = async (accept: string, query = ''): Promise<string | undefined> => {
      const answer = await server.ask('GET', `${BASE}/c?${query}`, { headers: { Accept: accept } });
      return answer.headers['content-type'];
    };
    expect(await type('application/json')).toBe('application/json; charset=utf-8');
    expect(await type('text/xml')).toBe('text/xml; charset=utf-8');
    expect(await type('*/*')).toBe('text/plain; charset=utf-8');
    expect(await type('text/plain;q=0.5, application/json')).toBe(
      'application/json; charset=utf-8',
    );
    expect(await type('application/json', 'format=xml')).toBe('application/xml; charset=utf-8');
  });
});

describe('Accept', () => {
  const offered = ['text/plain', 'application/json'] as const;
  it.each<[string | undefined, string | undefined]>([
    [undefined, 'text/plain'],
    ['', 'text/plain'],
    ['application/*', 'application/json'],
    ['text/plain;q=0, */*', 'application/json'],
    ['text/plain;q=nonsense', undefined],
    ['image/png', undefined],
    ['application/json;q=0.1', 'application/json'],
  ])('%s gives %s', (accept, expected) => {
    expect(bestMatch(accept, offered)).toBe(expected);
  });
});
