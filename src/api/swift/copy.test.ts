import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ inlineLimit: 4 });
  for (const name of ['c', 'd']) await server.ask('PUT', `${BASE}/${name}`);
  await server.ask('PUT', `${BASE}/c/s%20%E2%98%83`, {
    body: 'source',
    headers: {
      'Content-Type': 'text/x-source',
      'Content-Encoding': 'gzip',
      'X-Object-Meta-A': '1',
      'X-Object-Meta-B': '1',
      'X-Delete-At': '4000000000',
    },
  });
});
afterEach(() => server.close());

const copy = (destination: string, headers: Record<string, string> = {}, query = '') =>
  server.ask('COPY', `${BASE}/c/s%20%E2%98%83${query}`, {
    headers: { Destination: destination, ...headers },
  });

describe('COPY', () => {
  it('copies bytes and metadata, and takes what the request adds', async () => {
    const answer = await copy('d/t%20%E2%98%83', { 'X-Object-Meta-B': '2' });
    expect(answer.status).toBe(201);
    expect(answer.headers).toMatchObject({
      etag: '36cd38f49b9afa08222c0dc9ebfe35eb',
      'x-copied-from': 'c/s%20%E2%98%83',
      'x-copied-from-account': 'AUTH_p1',
      'x-object-meta-a': '1',
      'x-object-meta-b': '2',
      'x-delete-at': '4000000000',
    });
    expect(answer.headers['x-copied-from-last-modified']).toMatch(/GMT$/);
    const get = await server.ask('GET', `${BASE}/d/t%20%E2%98%83`);
    expect(get.text).toBe('source');
    expect(get.headers).toMatchObject({
      'content-type': 'text/x-source',
      'content-encoding': 'gzip',
      'x-object-meta-a': '1',
      'x-object-meta-b': '2',
      'x-delete-at': '4000000000',
    });
  });

  it('leaves the metadata behind with X-Fresh-Metadata', async () => {
    await copy('/d/t', { 'X-Fresh-Metadata': 'true', 'X-Object-Meta-C': '3' });
    const { headers } = await server.ask('HEAD', `${BASE}/d/t`);
    expect(headers['x-object-meta-c']).toBe('3');
    expect(headers['content-type']).toBe('text/x-source');
    for (const gone of ['x-object-meta-a', 'content-encoding', 'x-delete-at']) {
      expect(headers[gone], gone).toBeUndefined();
    }
  });

  it('onto itself changes the metadata', async () => {
    await copy('c/s%20%E2%98%83', { 'Content-Type': 'text/new' });
    const { headers } = await server.ask('HEAD', `${BASE}/c/s%20%E2%98%83`);
    expect(headers['content-type']).toBe('text/new');
  });

  it('goes to another account with leave to write there', async () => {
    const other = '/v1/AUTH_p2';
    await server.ask('PUT', `${other}/in`, { as: 'stranger' });
    const account = { 'Destination-Account': 'AUTH_p2' };
    expect((await copy('in/t', account)).status).toBe(403);
    await server.ask('POST', `${other}/in`, {
      as: 'stranger',
      headers: { 'X-Container-Write': 'p1:*' },
    });
    expect((await copy('in/t', account)).status).toBe(201);
    expect((await server.ask('GET', `${other}/in/t`, { as: 'stranger' })).text).toBe('source');
  });

  it.each(['', 'd', '/d', 'd/', '//', '%ff/x', 'd/%00'])(
    'to %j is refused',
    async (destination) => {
      expect((await copy(destination)).status).toBe(412);
    },
  );

  it('is refused to where there is no container, and above 1,024 bytes', async () => {
    expect((await copy('none/t')).status).toBe(404);
    expect((await copy(`d/${'t'.repeat(1025)}`)).status).toBe(400);
  });

  it('answers 404 for a source that is not there', async () => {
    const answer = await server.ask('COPY', `${BASE}/c/none`, { headers: { Destination: 'd/t' } });
    expect(answer.status).toBe(404);
  });
});

describe('PUT with X-Copy-From', () => {
  const from = (source: string, headers: Record<string, string> = {}, body = '') =>
    server.ask('PUT', `${BASE}/d/t`, { body, headers: { 'X-Copy-From': source, ...headers } });

  it('copies, a range too', async () => {
    expect((await from('/c/s%20%E2%98%83')).status).toBe(201);
    expect((await server.ask('GET', `${BASE}/d/t`)).text).toBe('source');
    await from('c/s%20%E2%98%83', { Range: 'bytes=1-2' });
    expect((await server.ask('GET', `${BASE}/d/t`)).text).toBe('ou');
    expect((await from('c/s%20%E2%98%83', { Range: 'bytes=99-' })).status).toBe(416);
  });

  it('wants no body, and the etag that is sent', async () => {
    expect((await from('c/s%20%E2%98%83', {}, 'x')).status).toBe(400);
    expect((await from('c/s%20%E2%98%83', { ETag: '0'.repeat(32) })).status).toBe(422);
    expect((await from('nonsense')).status).toBe(412);
  });

  it('follows conditions on the source', async () => {
    expect((await from('c/s%20%E2%98%83', { 'If-Match': '"x"' })).status).toBe(412);
    expect((await from('c/s%20%E2%98%83', { 'If-None-Match': '*' })).status).toBe(201);
  });

  it('may not read what the caller may not', async () => {
    await server.ask('POST', `${BASE}/d`, { headers: { 'X-Container-Write': 'p2:*' } });
    const answer = await server.ask('PUT', `${BASE}/d/t`, {
      as: 'stranger',
      body: '',
      headers: { 'X-Copy-From': 'c/s%20%E2%98%83' },
    });
    expect(answer.status).toBe(403);
  });
});

describe('copying a large object', () => {
  beforeEach(async () => {
    await server.ask('PUT', `${BASE}/c/p1`, { body: 'one-' });
    await server.ask('PUT', `${BASE}/c/p2`, { body: 'two' });
    const body = JSON.stringify([{ path: '/c/p1' }, { path: '/c/p2' }]);
    await server.ask('PUT', `${BASE}/c/slo?multipart-manifest=put`, { body });
    const headers = { 'X-Object-Manifest': 'c/p' };
    await server.ask('PUT', `${BASE}/c/dlo`, { body: '', headers });
  });

  it.each(['slo', 'dlo'])('%s makes one plain object', async (name) => {
    const headers = { Destination: 'd/t' };
    expect((await server.ask('COPY', `${BASE}/c/${name}`, { headers })).status).toBe(201);
    const get = await server.ask('GET', `${BASE}/d/t`);
    expect(get.text).toBe('one-two');
    expect(get.headers['x-static-large-object']).toBeUndefined();
    expect(get.headers['x-object-manifest']).toBeUndefined();
    expect(get.headers['etag']).toBe('7e510ad6ddd1ef6386ebff2379e55725');
  });

  it.each(['slo', 'dlo'])('%s with multipart-manifest=get copies the manifest', async (name) => {
    const target = `${BASE}/c/${name}?multipart-manifest=get`;
    const headers = { Destination: 'd/t' };
    expect((await server.ask('COPY', target, { headers })).status).toBe(201);
    await server.ask('PUT', `${BASE}/c/p3`, { body: '-three' });
    const get = await server.ask('GET', `${BASE}/d/t`);
    expect(get.text).toBe(name === 'dlo' ? 'one-two-three' : 'one-two');
    const original = await server.ask('HEAD', `${BASE}/c/${name}`);
    expect(get.headers['etag']).toBe(original.headers['etag']);
  });
});
