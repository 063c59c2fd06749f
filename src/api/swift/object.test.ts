import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer();
  await server.ask('PUT', `${BASE}/c`);
});
afterEach(() => server.close());

const md5 = (text: string | Buffer): string => createHash('md5').update(text).digest('hex');

describe('PUT and GET of an object', () => {
  it('gives back the bytes, the type, the metadata and the headers of Swift', async () => {
    const put = await server.ask('PUT', `${BASE}/c/photo.jpg`, {
      body: 'pixels',
      headers: {
        'X-Object-Meta-Color': 'blue',
        'Content-Encoding': 'gzip',
        'Content-Disposition': 'attachment',
        'Cache-Control': 'max-age=60',
      },
    });
    expect(put.status).toBe(201);
    expect(put.headers).toMatchObject({ etag: md5('pixels'), 'content-length': '0' });
    const get = await server.ask('GET', `${BASE}/c/photo.jpg`);
    expect(get.status).toBe(200);
    expect(get.text).toBe('pixels');
    expect(get.headers).toMatchObject({
      etag: md5('pixels'),
      'content-type': 'image/jpeg',
      'content-length': '6',
      'content-encoding': 'gzip',
      'content-disposition': 'attachment',
      'cache-control': 'max-age=60',
      'accept-ranges': 'bytes',
      'x-object-meta-color': 'blue',
      'last-modified': put.headers['last-modified'],
    });
    expect(get.headers['x-timestamp']).toMatch(/^\d{10}\.\d{5}$/);
    expect(get.headers['x-trans-id']).toMatch(/^tx[0-9a-f]{21}-[0-9a-f]{10}$/);
    expect(get.headers['x-openstack-request-id']).toBe(get.headers['x-trans-id']);
    expect(get.rawHeaders).toContain('X-Object-Meta-Color');
  });

  it('rounds Last-Modified up to whole seconds', async () => {
    server.nowMicros = () => 4_000_000_000_000_010;
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    const head = await server.ask('HEAD', `${BASE}/c/o`);
    expect(head.headers['last-modified']).toBe(new Date(4_000_000_001_000).toUTCString());
    expect(head.headers['x-timestamp']).toBe('4000000000.00001');
  });

  it('answers HEAD with the same headers and no body', async () => {
    await server.ask('PUT', `${BASE}/c/o`, { body: 'hello' });
    const get = await server.ask('GET', `${BASE}/c/o`);
    const head = await server.ask('HEAD', `${BASE}/c/o`);
    expect(head.status).toBe(200);
    expect(head.body.length).toBe(0);
    for (const name of ['etag', 'content-length', 'content-type', 'last-modified', 'x-timestamp']) {
      expect(head.headers[name], name).toBe(get.headers[name]);
    }
    const missing = await server.raw(
      `HEAD ${BASE}/c/none HTTP/1.1\r\nHost: x\r\nX-Auth-Token: owner\r\nConnection: close\r\n\r\n`,
    );
    expect(missing).toContain('404 Not Found');
    expect(missing.split('\r\n\r\n')[1]).toBe('');
  });

  it('takes empty objects', async () => {
    const put = await server.ask('PUT', `${BASE}/c/empty`, { body: '' });
    expect(put.headers['etag']).toBe('d41d8cd98f00b204e9800998ecf8427e');
    const get = await server.ask('GET', `${BASE}/c/empty`);
    expect([get.status, get.headers['content-length']]).toEqual([200, '0']);
  });

  it('checks the ETag that the client sends', async () => {
    const wrong = await server.ask('PUT', `${BASE}/c/o`, {
      body: 'hello',
      headers: { ETag: md5('other') },
    });
    expect(wrong.status).toBe(422);
    expect(wrong.text).toContain('<h1>Unprocessable Entity</h1>');
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(404);
    const right = await server.ask('PUT', `${BASE}/c/o`, {
      body: 'hello',
      headers: { ETag: `"${md5('hello').toUpperCase()}"` },
    });
    expect(right.status).toBe(201);
  });

  it('wants a length or a chunked body', async () => {
    const none = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: owner\r\nConnection: close\r\n\r\n`,
    );
    expect(none).toContain('411 Length Required');
    const chunked = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: owner\r\nTransfer-Encoding: chunked\r\n` +
        'Connection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n',
    );
    expect(chunked).toContain('201 Created');
    expect((await server.ask('GET', `${BASE}/c/o`)).text).toBe('hello world');
  });

  it('refuses what is longer than an object may be', async () => {
    const answer = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: owner\r\nConnection: close\r\n` +
        'Content-Length: 5368709123\r\n\r\n',
      { end: true },
    );
    expect(answer).toContain('413 Request Entity Too Large');
  });

  it('refuses a chunked body at the limit, while it comes in', async () => {
    await server.close();
    server = await startServer({ limits: { maxFileBytes: 8 } });
    await server.ask('PUT', `${BASE}/c`);
    const chunked = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: owner\r\nTransfer-Encoding: chunked\r\n` +
        'Connection: close\r\n\r\n9\r\n123456789\r\n0\r\n\r\n',
    );
    expect(chunked).toContain('413');
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(404);
  });

  it('is not found in a container that is not there', async () => {
    const put = await server.ask('PUT', `${BASE}/none/o`, { body: 'x' });
    expect(put.status).toBe(404);
    expect(put.text).toBe('<html><h1>Not Found</h1><p>The resource could not be found.</p></html>');
  });

  it('guesses the type by the name, also when asked to', async () => {
    await server.ask('PUT', `${BASE}/c/dir.html/plain`, { body: 'x' });
    expect((await server.ask('HEAD', `${BASE}/c/dir.html/plain`)).headers['content-type']).toBe(
      'application/octet-stream',
    );
    await server.ask('PUT', `${BASE}/c/a.JSON`, {
      body: 'x',
      headers: { 'Content-Type': 'text/foo', 'X-Detect-Content-Type': 'true' },
    });
    expect((await server.ask('HEAD', `${BASE}/c/a.JSON`)).headers['content-type']).toBe(
      'application/json',
    );
  });

  it('writes only where nothing is, with If-None-Match: *', async () => {
    const ask = { body: 'x', headers: { 'If-None-Match': '*' } };
    expect((await server.ask('PUT', `${BASE}/c/o`, ask)).status).toBe(201);
    expect((await server.ask('PUT', `${BASE}/c/o`, ask)).status).toBe(412);
    const other = { body: 'x', headers: { 'If-None-Match': '"abc"' } };
    expect((await server.ask('PUT', `${BASE}/c/o`, other)).status).toBe(400);
  });

  it('writes only over what If-Match names', async () => {
    const put = async (body: string, headers: Record<string, string>) =>
      (await server.ask('PUT', `${BASE}/c/o`, { body, headers })).status;
    expect(await put('a', { 'If-Match': '*' })).toBe(412);
    expect(await put('a', {})).toBe(201);
    expect(await put('b', { 'If-Match': `"${md5('x')}"` })).toBe(412);
    expect(await put('b', { 'If-Match': `"${md5('x')}", "${md5('a')}"` })).toBe(201);
    expect(await put('c', { 'If-Match': '*' })).toBe(201);
    expect((await server.ask('GET', `${BASE}/c/o`)).text).toBe('c');
  });

  it('says how a write was acknowledged when it was not in full', async () => {
    server.store.ack = 'handoff';
    const put = await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    expect(put.headers['x-anello-ack']).toBe('handoff');
    server.store.degraded = true;
    const get = await server.ask('GET', `${BASE}/c/o`);
    expect(get.headers['x-anello-read']).toBe('degraded');
  });

  it('keeps UTF-8 in metadata and refuses what is none', async () => {
    const value = Buffer.from('grün ☃').toString('latin1');
    await server.ask('PUT', `${BASE}/c/o`, {
      body: 'x',
      headers: { 'X-Object-Meta-Word': value },
    });
    const head = await server.ask('HEAD', `${BASE}/c/o`);
    expect(head.headers['x-object-meta-word']).toBe(value);
    const bad = await server.ask('PUT', `${BASE}/c/o`, {
      body: 'x',
      headers: { 'X-Object-Meta-Word': '\xff\xfe' },
    });
    expect([bad.status, bad.text]).toEqual([400, 'Metadata must be valid UTF-8']);
  });

  it('takes nothing internal from clients', async () => {
    await server.ask('PUT', `${BASE}/c/o`, {
      body: 'x',
      headers: {
        'X-Timestamp': '1000000000.00000',
        'X-Backend-Storage-Policy-Index': '1',
        'X-Object-Sysmeta-Slo-Etag': 'x',
        'X-Static-Large-Object': 'True',
      },
    });
    const { headers } = await server.ask('HEAD', `${BASE}/c/o`);
    expect(headers['x-timestamp']).not.toBe('1000000000.00000');
    expect(Object.keys(headers).filter((name) => /backend|sysmeta|static/.test(name))).toEqual([]);
  });
});

describe('POST of an object', () => {
  it('replaces the metadata and keeps the content type', async () => {
    await server.ask('PUT', `${BASE}/c/o`, {
      body: 'x',
      headers: {
        'Content-Type': 'text/x-one',
        'Content-Encoding': 'gzip',
        'X-Object-Meta-A': '1',
        'X-Delete-After': '1000',
      },
    });
    const post = await server.ask('POST', `${BASE}/c/o`, { headers: { 'X-Object-Meta-B': '2' } });
    expect(post.status).toBe(202);
    expect(post.text).toContain('<h1>Accepted</h1>');
    const { headers } = await server.ask('HEAD', `${BASE}/c/o`);
    expect(headers['content-type']).toBe('text/x-one');
    expect(headers['x-object-meta-b']).toBe('2');
    for (const gone of ['x-object-meta-a', 'content-encoding', 'x-delete-at']) {
      expect(headers[gone], gone).toBeUndefined();
    }
  });

  it('keeps a content type that an earlier POST set', async () => {
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    await server.ask('POST', `${BASE}/c/o`, { headers: { 'Content-Type': 'text/x-two' } });
    await server.ask('POST', `${BASE}/c/o`, { headers: { 'X-Object-Meta-A': '1' } });
    const { headers } = await server.ask('HEAD', `${BASE}/c/o`);
    expect(headers['content-type']).toBe('text/x-two');
  });

  it('counts as a change of the object: Last-Modified and X-Timestamp follow', async () => {
    server.nowMicros = () => 4_000_000_000_000_000;
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    server.nowMicros = () => 4_000_000_100_000_000;
    await server.ask('POST', `${BASE}/c/o`, { headers: { 'X-Object-Meta-A': '1' } });
    const { headers } = await server.ask('HEAD', `${BASE}/c/o`);
    expect(headers['x-timestamp']).toBe('4000000100.00000');
    expect(headers['last-modified']).toBe(new Date(4_000_000_100_000).toUTCString());
  });

  it('answers 404 where there is nothing', async () => {
    expect((await server.ask('POST', `${BASE}/c/none`)).status).toBe(404);
  });
});

describe('DELETE of an object', () => {
  it('answers 204, then 404', async () => {
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    expect((await server.ask('DELETE', `${BASE}/c/o`)).status).toBe(204);
    expect((await server.ask('DELETE', `${BASE}/c/o`)).status).toBe(404);
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(404);
  });

  it('with X-If-Delete-At spares what expires at another time, or never', async () => {
    const at = String(Math.floor(Date.now() / 1000) + 1000);
    const remove = async (value: string) =>
      (await server.ask('DELETE', `${BASE}/c/o`, { headers: { 'X-If-Delete-At': value } })).status;
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    expect(await remove(at)).toBe(412);
    await server.ask('POST', `${BASE}/c/o`, { headers: { 'X-Delete-At': at } });
    expect(await remove('1')).toBe(412);
    expect(await remove('soon')).toBe(400);
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(200);
    expect(await remove(at)).toBe(204);
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(404);
  });
});

describe('expiry', () => {
  it('sets and shows X-Delete-At, also from X-Delete-After', async () => {
    const at = Math.floor(Date.now() / 1000) + 5000;
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x', headers: { 'X-Delete-At': String(at) } });
    expect((await server.ask('HEAD', `${BASE}/c/o`)).headers['x-delete-at']).toBe(String(at));
    await server.ask('POST', `${BASE}/c/o`, { headers: { 'X-Delete-After': '5000' } });
    const shown = Number((await server.ask('HEAD', `${BASE}/c/o`)).headers['x-delete-at']);
    expect(Math.abs(shown - at)).toBeLessThan(60);
    server.nowMicros = () => (at + 100) * 1e6;
    expect((await server.ask('GET', `${BASE}/c/o`)).status).toBe(404);
  });

  it.each([
    ['X-Delete-At', '1000', 'X-Delete-At in past'],
    ['X-Delete-At', 'soon', 'Non-integer X-Delete-At'],
    ['X-Delete-After', '0', 'X-Delete-After in past'],
    ['X-Delete-After', '-5', 'X-Delete-After in past'],
    ['X-Delete-After', '1.5', 'Non-integer X-Delete-After'],
  ])('refuses %s: %s', async (name, value, text) => {
    const put = await server.ask('PUT', `${BASE}/c/o`, { body: 'x', headers: { [name]: value } });
    expect([put.status, put.text]).toEqual([400, text]);
  });
});

describe('metadata limits', () => {
  const put = (headers: Record<string, string>) =>
    server.ask('PUT', `${BASE}/c/o`, { body: 'x', headers });
  const meta = (count: number, value: string): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-Object-Meta-${i}`, value]));

  it('takes everything up to them', async () => {
    expect((await put({ [`X-Object-Meta-${'n'.repeat(128)}`]: 'v'.repeat(256) })).status).toBe(201);
    expect((await put(meta(90, 'v'))).status).toBe(201);
  });

  it.each<[string, () => Record<string, string>, string]>([
    [
      'a name',
      () => ({ [`X-Object-Meta-${'n'.repeat(129)}`]: 'v' }),
      'Metadata name too long: X-O',
    ],
    [
      'a value',
      () => ({ 'X-Object-Meta-A': 'v'.repeat(257) }),
      'Metadata value longer than 256: X-Object-Meta-A',
    ],
    ['the count', () => meta(91, 'v'), 'Too many metadata items; max 90'],
    ['the sum', () => meta(20, 'v'.repeat(250)), 'Total metadata too large; max 4096'],
    ['no name', () => ({ 'X-Object-Meta-': 'v' }), 'Metadata name cannot be empty'],
    [
      'a header',
      () => ({ 'X-Object-Meta-A': 'v'.repeat(8193) }),
      'Header value too long: X-Object-Meta-A',
    ],
    [
      'the headers',
      () => Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`X-${i}`, 'v'])),
      'Too many headers',
    ],
  ])('refuses %s above its limit', async (_what, headers, text) => {
    const answer = await put(headers());
    expect(answer.status).toBe(400);
    expect(answer.text.startsWith(text), answer.text).toBe(true);
  });

  it('measures values in bytes of UTF-8', async () => {
    const value = Buffer.from('☃'.repeat(86)).toString('latin1');
    expect((await put({ 'X-Object-Meta-A': value })).status).toBe(400);
  });
});

describe('what the store could not do', () => {
  it('becomes 503 and is logged with its transaction, and with what replicas said', async () => {
    const { OperatingError } = await import('#base/errors.ts');
    const codes = ['unreachable', 'timeout'];
    server.store.failWith = new OperatingError('unavailable', 'no majority', { codes });
    const get = await server.ask('GET', `${BASE}/c/o`);
    expect(get.status).toBe(503);
    expect(server.events.at(-1)).toMatchObject({
      level: 'warn',
      event: 'swift.failed',
      facts: { txn: get.headers['x-trans-id'], code: 'unavailable', status: 503, codes },
    });
  });

  it('becomes 404 when the container went away meanwhile', async () => {
    const { OperatingError } = await import('#base/errors.ts');
    server.store.failWith = new OperatingError('no-container', 'the container refused the row');
    expect((await server.ask('DELETE', `${BASE}/c/o`)).status).toBe(404);
  });

  it('becomes 500 when it is unknown, and tells the client nothing of it', async () => {
    const { OperatingError } = await import('#base/errors.ts');
    server.store.failWith = new OperatingError('strange', 'secret detail');
    const get = await server.ask('GET', `${BASE}/c/o`);
    expect(get.status).toBe(500);
    expect(get.text).not.toContain('secret');
    expect(server.events.at(-1)?.level).toBe('error');
  });
});

describe('the end of a request', () => {
  it('is reported with operation, status and bytes', async () => {
    await server.ask('PUT', `${BASE}/c/o`, { body: 'hello' });
    await server.ask('GET', `${BASE}/c/o`);
    expect(server.finished.at(-2)).toMatchObject({
      operation: 'object.put',
      status: 201,
      bytesReceived: 5,
      path: `/v1/${ACCOUNT}/c/o`,
    });
    expect(server.finished.at(-1)).toMatchObject({ operation: 'object.get', bytesSent: 5 });
  });

  it("carries the client's own part of the transaction id", async () => {
    const get = await server.ask('GET', `${BASE}/c`, { headers: { 'X-Trans-Id-Extra': 'job 7' } });
    expect(get.headers['x-trans-id']).toMatch(/^tx[0-9a-f]{21}-[0-9a-f]{10}-job%207$/);
  });
});
