import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer();
});
afterEach(() => server.close());

describe('PUT of a container', () => {
  it('answers 201, then 202, and changes metadata both times', async () => {
    const headers = { 'X-Container-Meta-A': '1' };
    expect((await server.ask('PUT', `${BASE}/c`, { headers })).status).toBe(201);
    const again = await server.ask('PUT', `${BASE}/c`, { headers: { 'X-Container-Meta-B': '2' } });
    expect(again.status).toBe(202);
    const head = await server.ask('HEAD', `${BASE}/c`);
    expect(head.status).toBe(204);
    expect(head.headers).toMatchObject({
      'x-container-meta-a': '1',
      'x-container-meta-b': '2',
      'x-container-object-count': '0',
      'x-container-bytes-used': '0',
      'x-storage-policy': 'standard',
      'content-length': '0',
    });
  });

  it('takes a storage policy by name', async () => {
    const put = (name: string, policy: string) =>
      server.ask('PUT', `${BASE}/${name}`, { headers: { 'X-Storage-Policy': policy } });
    expect((await put('c', 'Reduced')).status).toBe(201);
    const { headers } = await server.ask('HEAD', `${BASE}/c`);
    expect(headers['x-storage-policy']).toBe('reduced');
    expect((await put('c', 'reduced')).status).toBe(202);
    expect((await put('c', 'standard')).status).toBe(409);
    const unknown = await put('d', 'golden');
    expect([unknown.status, unknown.text]).toEqual([400, "Invalid X-Storage-Policy 'golden'"]);
  });
});

describe('POST of a container', () => {
  beforeEach(async () => {
    await server.ask('PUT', `${BASE}/c`, {
      headers: { 'X-Container-Meta-A': '1', 'X-Container-Meta-B': '2' },
    });
  });

  it('changes what is named and keeps the rest', async () => {
    const post = await server.ask('POST', `${BASE}/c`, {
      headers: { 'X-Container-Meta-A': '3', 'X-Remove-Container-Meta-B': 'x' },
    });
    expect([post.status, post.text]).toEqual([204, '']);
    const { headers } = await server.ask('HEAD', `${BASE}/c`);
    expect(headers['x-container-meta-a']).toBe('3');
    expect(headers['x-container-meta-b']).toBeUndefined();
    await server.ask('POST', `${BASE}/c`, { headers: { 'X-Container-Meta-A': '' } });
    expect((await server.ask('HEAD', `${BASE}/c`)).headers['x-container-meta-a']).toBeUndefined();
  });

  it('counts the limits over everything that is there', async () => {
    const names = Array.from({ length: 89 }, (_, i) => [`X-Container-Meta-N${i}`, 'v']);
    const post = await server.ask('POST', `${BASE}/c`, { headers: Object.fromEntries(names) });
    expect([post.status, post.text]).toEqual([400, 'Too many metadata items; max 90']);
  });

  it('answers 404 where there is none', async () => {
    expect((await server.ask('POST', `${BASE}/none`)).status).toBe(404);
    const headers = { 'X-Container-Meta-A': '1' };
    expect((await server.ask('POST', `${BASE}/none`, { headers })).status).toBe(404);
  });
});

describe('what is not offered', () => {
  it('is refused instead of ignored', async () => {
    await server.ask('PUT', `${BASE}/c`);
    const refused = async (method: string, target: string, headers = {}) =>
      expect((await server.ask(method, target, { headers, body: '' })).status).toBe(400);
    await refused('POST', `${BASE}/c`, { 'X-Versions-Location': 'old' });
    await refused('PUT', `${BASE}/new`, { 'X-History-Location': 'old' });
    await refused('POST', `${BASE}/c`, { 'X-Container-Sync-To': 'http://elsewhere/v1/a/c' });
    await refused('PUT', `${BASE}/c/link`, { 'X-Symlink-Target': 'c/o' });
    await refused('POST', BASE, { 'X-Account-Access-Control': '{}' });
    await refused('PUT', `${BASE}/c?extract-archive=tar`);
    expect((await server.ask('HEAD', `${BASE}/c/link`)).status).toBe(404);
    const cleared = { headers: { 'X-Versions-Location': '' } };
    expect((await server.ask('POST', `${BASE}/c`, cleared)).status).toBe(204);
  });
});

describe('the quota of a container', () => {
  it('is a number', async () => {
    const put = (headers: Record<string, string>) => server.ask('PUT', `${BASE}/q`, { headers });
    const bytes = await put({ 'X-Container-Meta-Quota-Bytes': 'much' });
    expect([bytes.status, bytes.text]).toEqual([400, 'Invalid bytes quota.']);
    expect((await put({ 'X-Container-Meta-Quota-Count': '-1' })).status).toBe(400);
    expect((await put({ 'X-Container-Meta-Quota-Bytes': '10' })).status).toBe(201);
    expect((await server.ask('PUT', `${BASE}/q/o`, { body: 'x'.repeat(11) })).status).toBe(413);
    expect((await put({ 'X-Container-Meta-Quota-Bytes': '' })).status).toBe(202);
    expect((await server.ask('PUT', `${BASE}/q/o`, { body: 'x'.repeat(11) })).status).toBe(201);
  });
});

describe('DELETE of a container', () => {
  it('is refused while something is in it', async () => {
    await server.ask('PUT', `${BASE}/c`);
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
    const full = await server.ask('DELETE', `${BASE}/c`);
    expect(full.status).toBe(409);
    await server.ask('DELETE', `${BASE}/c/o`);
    expect((await server.ask('DELETE', `${BASE}/c`)).status).toBe(204);
    expect((await server.ask('DELETE', `${BASE}/c`)).status).toBe(404);
    expect((await server.ask('GET', `${BASE}/c`)).status).toBe(404);
  });
});

describe('ACLs', () => {
  const acl = (headers: Record<string, string>) => server.ask('POST', `${BASE}/c`, { headers });
  const read = (as: string, headers = {}) => server.ask('GET', `${BASE}/c/o`, { as, headers });

  beforeEach(async () => {
    await server.ask('PUT', `${BASE}/c`);
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
  });

  it('are normalised, and only owners see them', async () => {
    await acl({ 'X-Container-Read': ' p2:u4 , .referrer: *, .rlistings' });
    const owner = await server.ask('HEAD', `${BASE}/c`);
    expect(owner.headers['x-container-read']).toBe('p2:u4,.r:*,.rlistings');
    const other = await server.ask('HEAD', `${BASE}/c`, { as: 'stranger' });
    expect(other.status).toBe(204);
    expect(other.headers['x-container-read']).toBeUndefined();
    await acl({ 'X-Remove-Container-Read': 'x' });
    expect((await server.ask('HEAD', `${BASE}/c`)).headers['x-container-read']).toBeUndefined();
  });

  it('that mean nothing are refused', async () => {
    expect((await acl({ 'X-Container-Read': '.unknown:x' })).status).toBe(400);
    expect((await acl({ 'X-Container-Write': '.r:*' })).status).toBe(400);
  });

  it('open a container to whom they name', async () => {
    expect((await read('')).status).toBe(401);
    expect((await read('member')).status).toBe(403);
    expect((await read('stranger')).status).toBe(403);
    expect((await read('reseller')).status).toBe(200);
    expect((await read('reader')).status).toBe(200);
    await acl({ 'X-Container-Read': 'p2:*,.r:example.org' });
    expect((await read('stranger')).status).toBe(200);
    expect((await read('')).status).toBe(401);
    expect((await read('', { Referer: 'http://example.org/page' })).status).toBe(200);
    expect((await read('bad-token', { Referer: 'http://example.org/page' })).status).toBe(200);
    expect((await server.ask('GET', `${BASE}/c`, { as: '' })).status).toBe(401);
  });

  it('let others write, and only objects', async () => {
    const write = () => server.ask('PUT', `${BASE}/c/new`, { as: 'stranger', body: 'x' });
    expect((await write()).status).toBe(403);
    await acl({ 'X-Container-Write': 'p2:u4' });
    expect((await write()).status).toBe(201);
    expect((await server.ask('GET', `${BASE}/c/new`, { as: 'stranger' })).status).toBe(403);
    expect((await server.ask('DELETE', `${BASE}/c`, { as: 'stranger' })).status).toBe(403);
    expect((await server.ask('POST', `${BASE}/c`, { as: 'stranger' })).status).toBe(403);
    expect((await server.ask('DELETE', `${BASE}/c/new`, { as: 'stranger' })).status).toBe(204);
  });

  it('without a token ask for one', async () => {
    const answer = await read('');
    expect(answer.headers['www-authenticate']).toBe(`Swift realm="${ACCOUNT}"`);
    expect(answer.text).toContain('<h1>Unauthorized</h1>');
  });
});

describe('other methods', () => {
  it('are refused with what is allowed', async () => {
    const answer = await server.ask('PATCH', `${BASE}/c`);
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toBe('DELETE, GET, HEAD, OPTIONS, POST, PUT');
    expect((await server.ask('COPY', `${BASE}/c`)).status).toBe(405);
    expect((await server.ask('PUT', BASE)).headers['allow']).toBe('GET, HEAD, OPTIONS, POST');
  });
});

describe('CORS', () => {
  beforeEach(async () => {
    await server.ask('PUT', `${BASE}/c`, {
      headers: {
        'X-Container-Meta-Access-Control-Allow-Origin': 'http://a.example http://b.example',
        'X-Container-Meta-Access-Control-Max-Age': '600',
        'X-Container-Meta-Access-Control-Expose-Headers': 'X-Object-Meta-Color',
      },
    });
    await server.ask('PUT', `${BASE}/c/o`, { body: 'x' });
  });

  it('answers a preflight of an origin that is allowed', async () => {
    const preflight = (origin: string, method: string) =>
      server.ask('OPTIONS', `${BASE}/c/o`, {
        as: '',
        headers: {
          Origin: origin,
          'Access-Control-Request-Method': method,
          'Access-Control-Request-Headers': 'x-auth-token',
        },
      });
    const yes = await preflight('http://a.example', 'PUT');
    expect(yes.status).toBe(200);
    expect(yes.headers).toMatchObject({
      'access-control-allow-origin': 'http://a.example',
      'access-control-max-age': '600',
      'access-control-allow-headers': 'x-auth-token',
    });
    expect(yes.headers['access-control-allow-methods']).toContain('PUT');
    expect((await preflight('http://evil.example', 'PUT')).status).toBe(401);
    expect((await preflight('http://a.example', 'TRACE')).status).toBe(401);
  });

  it('marks answers for that origin only', async () => {
    const get = (origin: string) =>
      server.ask('GET', `${BASE}/c/o`, { headers: { Origin: origin } });
    const yes = await get('http://b.example');
    expect(yes.headers['access-control-allow-origin']).toBe('http://b.example');
    expect(yes.headers['access-control-expose-headers']).toContain('x-object-meta-color');
    const no = await get('http://evil.example');
    expect(no.status).toBe(200);
    expect(no.headers['access-control-allow-origin']).toBeUndefined();
  });

  it('shows all metadata of an answer to scripts', async () => {
    const headers = { 'X-Object-Meta-Shape': 'round' };
    await server.ask('POST', `${BASE}/c/o`, { headers });
    const exposed = async (target: string) => {
      const answer = await server.ask('GET', target, { headers: { Origin: 'http://a.example' } });
      return String(answer.headers['access-control-expose-headers']).split(', ');
    };
    expect(await exposed(`${BASE}/c/o`)).toContain('x-object-meta-shape');
    expect(await exposed(`${BASE}/c`)).toContain('x-container-meta-access-control-max-age');
  });

  it('OPTIONS without an origin tells the methods', async () => {
    const answer = await server.ask('OPTIONS', `${BASE}/c/o`, { as: '' });
    expect(answer.status).toBe(200);
    expect(answer.headers['allow']).toContain('COPY');
  });
});
