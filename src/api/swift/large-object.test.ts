import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
const PARTS = ['first-', 'second-', 'third'];
const WHOLE = PARTS.join('');

beforeEach(async () => {
  server = await startServer({ inlineLimit: 4 });
  for (const name of ['c', 'parts']) await server.ask('PUT', `${BASE}/${name}`);
  for (const [i, text] of PARTS.entries()) {
    await server.ask('PUT', `${BASE}/parts/p${i}`, { body: text });
  }
});
afterEach(() => server.close());

const manifest = () =>
  PARTS.map((text, i) => ({ path: `/parts/p${i}`, etag: md5(text), size_bytes: text.length }));

function putSlo(target: string, entries: unknown, headers: Record<string, string> = {}) {
  const body = typeof entries === 'string' ? entries : JSON.stringify(entries);
  return server.ask('PUT', `${BASE}/${target}?multipart-manifest=put`, { body, headers });
}

describe('inline data in a static large object', () => {
  const data = (text: string) => ({ data: Buffer.from(text).toString('base64') });

  it('is part of it, and shown as it was given', async () => {
    const [first, , third] = manifest();
    const put = await putSlo('c/big', [data('head:'), first, data('/'), third]);
    const etags = ['head:', PARTS[0]!, '/', PARTS[2]!].map(md5).join('');
    expect([put.status, put.headers['etag']]).toEqual([201, `"${md5(etags)}"`]);
    expect((await server.ask('GET', `${BASE}/c/big`)).text).toBe('head:first-/third');
    const range = { headers: { Range: 'bytes=3-12' } };
    expect((await server.ask('GET', `${BASE}/c/big`, range)).text).toBe('d:first-/t');
    const shown = async (query: string) =>
      JSON.parse((await server.ask('GET', `${BASE}/c/big?multipart-manifest=get${query}`)).text);
    expect((await shown(''))[0]).toEqual(data('head:'));
    const raw = await shown('&format=raw');
    expect([raw[2], raw[1].path]).toEqual([data('/'), '/parts/p0']);
    expect((await putSlo('c/again', raw)).headers['etag']).toBe(put.headers['etag']);
    await server.ask('DELETE', `${BASE}/c/big?multipart-manifest=delete`);
    expect((await server.ask('HEAD', `${BASE}/parts/p0`)).status).toBe(404);
  });

  it('is refused where it is no base64, nothing, more than data, or all there is', async () => {
    const [first] = manifest();
    for (const bad of [{ data: 'a' }, { data: 5 }, { data: '' }, { ...data('x'), range: '0-0' }]) {
      expect((await putSlo('c/big', [first, bad])).text).toMatch(/^Index 1: /);
    }
    const alone = await putSlo('c/big', [data('x')]);
    expect([alone.status, alone.text]).toEqual([400, expect.stringMatching(/at least one object/)]);
    expect((await server.ask('HEAD', `${BASE}/c/big`)).status).toBe(404);
  });
});

describe('a static large object put with heartbeat=on', () => {
  const put = async (entries: unknown, headers: Record<string, string> = {}) => {
    const answer = await server.ask('PUT', `${BASE}/c/big?multipart-manifest=put&heartbeat=on`, {
      body: JSON.stringify(entries),
      headers: { Accept: 'application/json', ...headers },
    });
    return [answer.status, JSON.parse(answer.text)] as const;
  };

  it('is answered at once, its outcome in the body', async () => {
    const etag = `"${md5(PARTS.map(md5).join(''))}"`;
    const [status, report] = await put(manifest());
    expect(status).toBe(202);
    expect(report).toMatchObject({ 'Response Status': '201 Created', Etag: etag, Errors: [] });
    expect((await server.ask('GET', `${BASE}/c/big`)).text).toBe(WHOLE);
  });

  it('tells what does not fit there, too', async () => {
    expect(await put([{ path: '/parts/none' }])).toEqual([
      202,
      expect.objectContaining({
        'Response Status': '400 Bad Request',
        Errors: [['/parts/none', '404 Not Found']],
      }),
    ]);
    const [, wrong] = await put(manifest(), { ETag: md5('other') });
    expect(wrong).toMatchObject({ 'Response Status': '422 Unprocessable Entity' });
    expect((await server.ask('HEAD', `${BASE}/c/big`)).status).toBe(404);
  });
});

describe('a static large object', () => {
  const etag = md5(PARTS.map(md5).join(''));

  it('is the bytes of its parts under one etag', async () => {
    const put = await putSlo('c/big.mp4', manifest(), { 'X-Object-Meta-A': '1' });
    expect([put.status, put.headers['etag']]).toEqual([201, `"${etag}"`]);
    const get = await server.ask('GET', `${BASE}/c/big.mp4`);
    expect([get.status, get.text]).toEqual([200, WHOLE]);
    expect(get.headers).toMatchObject({
      etag: `"${etag}"`,
      'x-static-large-object': 'True',
      'content-length': String(WHOLE.length),
      'content-type': 'video/mp4',
      'x-object-meta-a': '1',
    });
    const head = await server.ask('HEAD', `${BASE}/c/big.mp4`);
    expect(head.headers['etag']).toBe(`"${etag}"`);
    expect(head.headers['content-length']).toBe(String(WHOLE.length));
    const [row] = JSON.parse((await server.ask('GET', `${BASE}/c?format=json`)).text) as unknown[];
    expect(row).toMatchObject({ bytes: WHOLE.length, hash: etag, slo_etag: `"${etag}"` });
  });

  it('answers ranges and conditions as a whole', async () => {
    await putSlo('c/big', manifest());
    const ranged = await server.ask('GET', `${BASE}/c/big`, { headers: { Range: 'bytes=4-14' } });
    expect([ranged.status, ranged.text]).toEqual([206, WHOLE.slice(4, 15)]);
    const several = await server.ask('GET', `${BASE}/c/big`, {
      headers: { Range: 'bytes=0-1,-2' },
    });
    expect(several.status).toBe(206);
    const same = await server.ask('GET', `${BASE}/c/big`, {
      headers: { 'If-None-Match': `"${etag}"` },
    });
    expect(same.status).toBe(304);
  });

  it('takes ranges of parts, and ranges of those', async () => {
    const entries = [
      { path: 'parts/p0', range: '1-3' },
      { path: '/parts/p1', range: '-3' },
      { path: '/parts/p2', range: '0-' },
    ];
    const put = await putSlo('c/ranged', entries);
    const terms = `${md5('first-')}:1-3;${md5('second-')}:4-6;${md5('third')}`;
    expect([put.status, put.headers['etag']]).toEqual([201, `"${md5(terms)}"`]);
    expect((await server.ask('GET', `${BASE}/c/ranged`)).text).toBe('irsnd-third');
    const inner = await server.ask('GET', `${BASE}/c/ranged`, { headers: { Range: 'bytes=2-4' } });
    expect(inner.text).toBe('snd');
  });

  it('may contain others', async () => {
    await putSlo('c/inner', manifest());
    const put = await putSlo('c/outer', [
      { path: '/c/inner', etag, size_bytes: WHOLE.length },
      { path: '/parts/p0' },
      { path: '/c/inner', range: '6-11' },
    ]);
    expect(put.status).toBe(201);
    const get = await server.ask('GET', `${BASE}/c/outer`);
    expect(get.text).toBe(`${WHOLE}first-second`);
    const shown = await server.ask('GET', `${BASE}/c/outer?multipart-manifest=get`);
    expect((JSON.parse(shown.text) as Record<string, unknown>[])[0]).toMatchObject({
      name: '/c/inner',
      hash: etag,
      sub_slo: true,
    });
  });

  it('shows its manifest, also in the form it is put in', async () => {
    await putSlo('c/big', manifest());
    const shown = await server.ask('GET', `${BASE}/c/big?multipart-manifest=get`);
    expect(shown.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-static-large-object': 'True',
      etag: md5(shown.text),
    });
    expect((JSON.parse(shown.text) as unknown[])[1]).toEqual({
      name: '/parts/p1',
      hash: md5('second-'),
      bytes: 7,
      content_type: 'application/octet-stream',
      last_modified: expect.stringMatching(/^\d{4}-/),
    });
    const raw = await server.ask('GET', `${BASE}/c/big?multipart-manifest=get&format=raw`);
    expect(JSON.parse(raw.text)).toEqual(manifest());
    const again = await putSlo('c/again', raw.text);
    expect(again.headers['etag']).toBe(`"${etag}"`);
    const head = await server.ask('HEAD', `${BASE}/c/big?multipart-manifest=get`);
    expect(head.headers['content-length']).toBe(String(shown.body.length));
  });

  it('gives single parts by number', async () => {
    await putSlo('c/big', manifest());
    const part = await server.ask('GET', `${BASE}/c/big?part-number=2`);
    expect([part.status, part.text]).toEqual([206, 'second-']);
    expect(part.headers).toMatchObject({ 'x-parts-count': '3', 'content-range': 'bytes 6-12/18' });
    const head = await server.ask('HEAD', `${BASE}/c/big?part-number=3`);
    expect([head.status, head.headers['content-length']]).toEqual([206, '5']);
    expect((await server.ask('GET', `${BASE}/c/big?part-number=4`)).status).toBe(416);
    expect((await server.ask('GET', `${BASE}/c/big?part-number=0`)).status).toBe(400);
    expect((await server.ask('GET', `${BASE}/parts/p0?part-number=1`)).status).toBe(200);
  });

  it('checks the etag of the whole when one is sent', async () => {
    expect((await putSlo('c/big', manifest(), { ETag: md5('x') })).status).toBe(422);
    expect((await putSlo('c/big', manifest(), { ETag: `"${etag}"` })).status).toBe(201);
  });

  it('reports every part that does not fit, in the form asked for', async () => {
    const entries = [
      { path: '/parts/p0', etag: md5('x') },
      { path: '/parts/p1', size_bytes: 8 },
      { path: '/parts/none' },
      { path: '/parts/p2', range: '99-' },
    ];
    const plain = await putSlo('c/big', entries);
    expect(plain.status).toBe(400);
    expect(plain.text).toBe(
      'Errors:\n/parts/p0, Etag Mismatch\n/parts/p1, Size Mismatch\n' +
        '/parts/none, 404 Not Found\n/parts/p2, Unsatisfiable Range',
    );
    const json = await putSlo('c/big', entries, { Accept: 'application/json' });
    expect(JSON.parse(json.text)).toMatchObject({ Errors: { length: 4 } });
    const xml = await putSlo('c/big', entries, { Accept: 'application/xml' });
    expect(xml.text).toContain('<name>/parts/p0</name><status>Etag Mismatch</status>');
    expect((await server.ask('GET', `${BASE}/c/big`)).status).toBe(404);
  });

  it.each<[string, unknown, string]>([
    ['no JSON', 'nonsense', 'Manifest must be valid JSON.\n'],
    ['no list', '{}', 'Manifest must be a list.\n'],
    ['nothing', '[]', 'Manifest must have at least one segment.\n'],
    ['no object', '[7]', 'Index 0: not a JSON object\n'],
    ['other keys', [{ path: '/a/b', foo: 1 }], 'Index 0: extraneous keys "foo"\n'],
    ['no path', [{ etag: 'x' }], 'Index 0: missing key "path"\n'],
    [
      'a container',
      [{ path: '/a' }],
      'Index 0: path does not refer to an object. Path must be of the form /container/object.\n',
    ],
    [
      'half a character',
      '[{"path": "/a/\\ud800"}]',
      'Index 0: path does not refer to an object. Path must be of the form /container/object.\n',
    ],
    [
      'an empty part',
      [{ path: '/a/b', size_bytes: 0 }],
      'Index 0: too small; each segment must be at least 1 byte.\n',
    ],
    ['a bad size', [{ path: '/a/b', size_bytes: 'x' }], 'Index 0: invalid size_bytes\n'],
    ['a bad range', [{ path: '/a/b', range: '5' }], 'Index 0: invalid range\n'],
  ])('is refused with %s', async (_what, entries, text) => {
    const put = await putSlo('c/big', entries);
    expect([put.status, put.text]).toEqual([400, text]);
  });

  it('has at most 1,000 parts and is not its own part', async () => {
    const many = Array.from({ length: 1001 }, () => ({ path: '/parts/p0' }));
    expect((await putSlo('c/big', many)).status).toBe(413);
    expect((await putSlo('c/big', many.slice(1))).status).toBe(201);
    expect((await putSlo('c/big', [{ path: '/c/big' }])).status).toBe(409);
  });

  it('breaks off, or answers 409, when a part has changed', async () => {
    await putSlo('c/big', manifest());
    await server.ask('PUT', `${BASE}/parts/p2`, { body: 'THIRD' });
    await expect(server.ask('GET', `${BASE}/c/big`)).rejects.toThrow();
    await server.ask('DELETE', `${BASE}/parts/p0`);
    expect((await server.ask('GET', `${BASE}/c/big`)).status).toBe(409);
    expect((await server.ask('HEAD', `${BASE}/c/big`)).status).toBe(200);
  });

  it('needs leave to read its parts', async () => {
    await putSlo('c/big', manifest());
    await server.ask('POST', `${BASE}/c`, { headers: { 'X-Container-Read': '.r:*' } });
    expect((await server.ask('GET', `${BASE}/c/big`, { as: '' })).status).toBe(409);
    await server.ask('POST', `${BASE}/parts`, { headers: { 'X-Container-Read': '.r:*' } });
    expect((await server.ask('GET', `${BASE}/c/big`, { as: '' })).text).toBe(WHOLE);
  });

  it('is deleted alone, or with its parts', async () => {
    await putSlo('c/inner', manifest().slice(0, 2));
    await putSlo('c/big', [{ path: '/c/inner' }, { path: '/parts/p2' }]);
    await putSlo('c/other', manifest());
    expect((await server.ask('DELETE', `${BASE}/c/other`)).status).toBe(204);
    expect((await server.ask('GET', `${BASE}/c/big`)).text).toBe(WHOLE);
    const gone = await server.ask('DELETE', `${BASE}/c/big?multipart-manifest=delete`, {
      headers: { Accept: 'application/json' },
    });
    expect(JSON.parse(gone.text)).toEqual({
      'Response Status': '200 OK',
      'Response Body': '',
      'Number Deleted': 5,
      'Number Not Found': 0,
      Errors: [],
    });
    expect((await server.ask('GET', `${BASE}/parts`)).status).toBe(204);
    expect((await server.ask('GET', `${BASE}/c`)).status).toBe(204);
  });

  it('an ordinary object is not deleted as one', async () => {
    const answer = await server.ask('DELETE', `${BASE}/parts/p0?multipart-manifest=delete`, {
      headers: { Accept: 'application/json' },
    });
    expect(JSON.parse(answer.text)).toMatchObject({
      'Response Status': '400 Bad Request',
      Errors: [['/parts/p0', 'Not an SLO manifest']],
    });
    expect((await server.ask('GET', `${BASE}/parts/p0`)).status).toBe(200);
  });

  it('keeps its nature when its metadata is posted', async () => {
    await putSlo('c/big', manifest());
    await server.ask('POST', `${BASE}/c/big`, { headers: { 'X-Object-Meta-A': '2' } });
    const head = await server.ask('HEAD', `${BASE}/c/big`);
    expect(head.headers['x-static-large-object']).toBe('True');
    expect((await server.ask('GET', `${BASE}/c/big`)).text).toBe(WHOLE);
  });
});

describe('a dynamic large object', () => {
  const put = (value: string) =>
    server.ask('PUT', `${BASE}/c/dyn`, { body: 'own', headers: { 'X-Object-Manifest': value } });
  const etag = md5(PARTS.map(md5).join(''));

  it('is whatever has its prefix', async () => {
    expect((await put('parts/p')).status).toBe(201);
    for (const method of ['GET', 'HEAD']) {
      const answer = await server.ask(method, `${BASE}/c/dyn`);
      expect(answer.headers, method).toMatchObject({
        etag: `"${etag}"`,
        'content-length': String(WHOLE.length),
        'x-object-manifest': 'parts/p',
      });
      if (method === 'GET') expect(answer.text).toBe(WHOLE);
    }
    await server.ask('PUT', `${BASE}/parts/p3`, { body: '!' });
    expect((await server.ask('GET', `${BASE}/c/dyn`)).text).toBe(`${WHOLE}!`);
    const ranged = await server.ask('GET', `${BASE}/c/dyn`, { headers: { Range: 'bytes=-6' } });
    expect([ranged.status, ranged.text]).toEqual([206, 'third!']);
  });

  it('shows its own bytes when asked for the manifest', async () => {
    await put('/parts/p');
    const own = await server.ask('GET', `${BASE}/c/dyn?multipart-manifest=get`);
    expect([own.text, own.headers['etag']]).toEqual(['own', md5('own')]);
    const head = await server.ask('HEAD', `${BASE}/c/dyn?multipart-manifest=get`);
    expect(head.headers['content-length']).toBe('3');
  });

  it('is empty while nothing has the prefix', async () => {
    await put('parts/none');
    const get = await server.ask('GET', `${BASE}/c/dyn`);
    expect([get.status, get.text, get.headers['etag']]).toEqual([200, '', `"${md5('')}"`]);
    await put('no-container/p');
    for (const method of ['GET', 'HEAD']) {
      expect((await server.ask(method, `${BASE}/c/dyn`)).status, method).toBe(404);
    }
  });

  it('takes a percent-encoded prefix', async () => {
    await server.ask('PUT', `${BASE}/parts/a%20b/1`, { body: 'x' });
    await put('parts/a%20b/');
    expect((await server.ask('GET', `${BASE}/c/dyn`)).text).toBe('x');
  });

  it.each(['parts', '/parts', 'parts/', '/', 'parts/x?y'])('%s is refused', async (value) => {
    expect((await put(value)).status).toBe(400);
  });

  it('tells nothing of parts that the caller may not read', async () => {
    await put('parts/p');
    await server.ask('POST', `${BASE}/c`, { headers: { 'X-Container-Read': '.r:*,p2:*' } });
    for (const method of ['GET', 'HEAD']) {
      expect((await server.ask(method, `${BASE}/c/dyn`, { as: '' })).status).toBe(401);
      expect((await server.ask(method, `${BASE}/c/dyn`, { as: 'stranger' })).status).toBe(403);
    }
    await server.ask('POST', `${BASE}/parts`, { headers: { 'X-Container-Read': 'p2:*' } });
    expect((await server.ask('GET', `${BASE}/c/dyn`, { as: 'stranger' })).text).toBe(WHOLE);
  });

  it('is an ordinary object once a POST leaves the header out', async () => {
    await put('parts/p');
    await server.ask('POST', `${BASE}/c/dyn`, { headers: { 'X-Object-Manifest': 'parts/p' } });
    expect((await server.ask('GET', `${BASE}/c/dyn`)).text).toBe(WHOLE);
    await server.ask('POST', `${BASE}/c/dyn`);
    expect((await server.ask('GET', `${BASE}/c/dyn`)).text).toBe('own');
  });
});
