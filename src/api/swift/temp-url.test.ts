import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { type Answer, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
const LATER = 4_000_000_000;
const KEY = 'kéy';

beforeEach(async () => {
  server = await startServer();
  for (const name of ['c', 'other']) await server.ask('PUT', `${BASE}/${name}`);
  const key = Buffer.from(KEY).toString('latin1');
  await server.ask('POST', BASE, { headers: { 'X-Account-Meta-Temp-URL-Key': key } });
  await server.ask('POST', `${BASE}/c`, {
    headers: { 'X-Container-Meta-Temp-URL-Key-2': 'c-key' },
  });
  await server.ask('PUT', `${BASE}/c/a/o%20x`, {
    body: 'secret',
    headers: { 'X-Object-Meta-Inner': '1', 'X-Object-Meta-Public-Outer': '2' },
  });
  await server.ask('PUT', `${BASE}/other/o`, { body: 'other' });
});
afterEach(() => server.close());

interface Signing {
  readonly key?: string;
  readonly method?: string;
  readonly path?: string;
  readonly expires?: number | string;
  readonly digest?: string;
  readonly form?: 'hex' | 'base64';
  readonly range?: string;
}

function query(signing: Signing = {}): string {
  const { key = KEY, method = 'GET', path = `${BASE}/c/a/o x`, expires = LATER } = signing;
  const { digest = 'sha256', form = 'hex', range } = signing;
  const from = range === undefined ? '' : `ip=${range}\n`;
  const text = `${from}${method}\n${expires}\n${path}`;
  const made = createHmac(digest, key).update(text).digest(form);
  const signature = form === 'hex' ? made : `${digest}:${made}`;
  const ranged = range === undefined ? '' : `&temp_url_ip_range=${encodeURIComponent(range)}`;
  return `temp_url_sig=${encodeURIComponent(signature)}&temp_url_expires=${expires}${ranged}`;
}

function ask(method: string, signed: string, target = 'c/a/o%20x', more = {}): Promise<Answer> {
  return server.ask(method, `${BASE}/${target}?${signed}`, { as: '', ...more });
}

const status = async (...call: Parameters<typeof ask>): Promise<number> =>
  (await ask(...call)).status;

describe('a temporary URL', () => {
  it('opens one object for one method until it expires', async () => {
    const answer = await ask('GET', query());
    expect([answer.status, answer.text]).toEqual([200, 'secret']);
    expect(await status('HEAD', query())).toBe(200);
    expect(await status('HEAD', query({ method: 'HEAD' }))).toBe(200);
    for (const wrong of [
      query({ method: 'HEAD' }),
      query({ method: 'PUT' }),
      query({ key: 'guessed' }),
      query({ path: `${BASE}/c/a/o` }),
      query({ expires: 1_000_000_000 }),
      query({ expires: 'soon' }),
      query().replace('temp_url_sig', 'x'),
      query().replace('temp_url_expires', 'x'),
      `temp_url_sig=zz&temp_url_expires=${LATER}`,
      `temp_url_sig=&temp_url_expires=${LATER}`,
    ]) {
      const refused = await ask('GET', wrong);
      expect([refused.status, refused.text]).toEqual([401, '401 Unauthorized: Temp URL invalid\n']);
    }
    expect(await status('DELETE', query())).toBe(401);
    expect(await status('GET', query(), 'other/o')).toBe(401);
  });

  it('takes every digest, in both forms', async () => {
    for (const digest of ['sha1', 'sha256', 'sha512']) {
      expect(await status('GET', query({ digest }))).toBe(200);
      expect(await status('GET', query({ digest, form: 'base64' }))).toBe(200);
    }
    expect(await status('GET', query({ digest: 'md5', form: 'base64' }))).toBe(401);
  });

  it('takes a time that people can read', async () => {
    const iso = new Date(LATER * 1000).toISOString().replace('.000Z', 'Z');
    const signed = query().replace(`=${LATER}`, `=${encodeURIComponent(iso)}`);
    expect(await status('GET', signed)).toBe(200);
  });

  it('with the key of a container stays in it', async () => {
    expect(await status('GET', query({ key: 'c-key' }))).toBe(200);
    const path = `${BASE}/other/o`;
    expect(await status('GET', query({ path }), 'other/o')).toBe(200);
    expect(await status('GET', query({ key: 'c-key', path }), 'other/o')).toBe(401);
    await server.ask('PUT', `${BASE}/c/big`, { headers: { 'X-Object-Manifest': 'other/o' } });
    const big = { path: `${BASE}/c/big` };
    expect((await ask('GET', query(big), 'c/big')).text).toBe('other');
    expect(await status('GET', query({ ...big, key: 'c-key' }), 'c/big')).toBe(401);
  });

  it('may be for all below a prefix', async () => {
    const signed = `${query({ path: `prefix:${BASE}/c/a/` })}&temp_url_prefix=a/`;
    expect(await status('GET', signed)).toBe(200);
    await server.ask('PUT', `${BASE}/c/b`, { body: 'x' });
    expect(await status('GET', signed, 'c/b')).toBe(401);
    expect(await status('GET', `${query({ path: `${BASE}/c/a/` })}&temp_url_prefix=a/`)).toBe(401);
  });

  it('may be for some addresses', async () => {
    expect(await status('GET', query({ range: '127.0.0.0/8' }))).toBe(200);
    expect(await status('GET', query({ range: '127.0.0.1' }))).toBe(200);
    expect(await status('GET', query({ range: '10.0.0.0/8' }))).toBe(401);
    expect(await status('GET', `${query()}&temp_url_ip_range=127.0.0.1`)).toBe(401);
  });

  it('uploads and deletes that one object, and opens no others by it', async () => {
    const put = query({ method: 'PUT', path: `${BASE}/c/new` });
    expect(await status('PUT', put, 'c/new', { body: 'new' })).toBe(201);
    expect((await server.ask('GET', `${BASE}/c/new`)).text).toBe('new');
    for (const name of ['X-Object-Manifest', 'X-Copy-From']) {
      const more = { body: '', headers: { [name]: 'other/o' } };
      expect(await status('PUT', put, 'c/new', more)).toBe(400);
    }
    const body = JSON.stringify([{ path: '/other/o' }]);
    expect(await status('PUT', `${put}&multipart-manifest=put`, 'c/new', { body })).toBe(400);
    expect((await server.ask('GET', `${BASE}/c/new`)).text).toBe('new');
    const remove = query({ method: 'DELETE', path: `${BASE}/c/new` });
    expect(await status('DELETE', `${remove}&version-id=null`, 'c/new')).toBe(400);
    expect(await status('DELETE', remove, 'c/new')).toBe(204);
    const copy = query({ method: 'COPY' });
    expect(await status('COPY', copy, 'c/a/o%20x', { headers: { Destination: 'c/y' } })).toBe(401);
    expect(await status('GET', query({ path: `${BASE}/c` }), 'c')).toBe(401);
  });

  it('counts instead of the token, and not beside it', async () => {
    expect(await status('GET', query({ key: 'guessed' }), undefined, { as: 'owner' })).toBe(401);
  });

  it('shows no private metadata, and how to save the file', async () => {
    const { headers } = await ask('GET', query());
    expect(headers['x-object-meta-inner']).toBeUndefined();
    expect(headers['x-object-meta-public-outer']).toBe('2');
    expect(headers['content-disposition']).toBe(
      `attachment; filename="o x"; filename*=UTF-8''o%20x`,
    );
    expect(headers['expires']).toBe(new Date(LATER * 1000).toUTCString());
    const shown = async (more: string) =>
      (await ask('GET', query() + more)).headers['content-disposition'];
    expect(await shown('&inline')).toBe('inline');
    expect(await shown('&filename=%22%0d%0a%c3%a9')).toBe(
      `attachment; filename="%22%0D%0A%C3%A9"; filename*=UTF-8''%22%0D%0A%C3%A9`,
    );
    expect(await shown('&inline&filename=b')).toBe(`inline; filename="b"; filename*=UTF-8''b`);
    await server.ask('POST', `${BASE}/c/a/o%20x`, {
      headers: { 'Content-Disposition': 'attachment; filename=own' },
    });
    expect(await shown('')).toBe('attachment; filename=own');
  });

  it('has keys that only owners see', async () => {
    await server.ask('POST', `${BASE}/c`, { headers: { 'X-Container-Read': 'p2:*' } });
    const head = (as: string) => server.ask('HEAD', `${BASE}/c`, { as });
    expect((await head('owner')).headers['x-container-meta-temp-url-key-2']).toBe('c-key');
    const strangers = await head('stranger');
    expect(strangers.status).toBe(204);
    expect(strangers.headers['x-container-meta-temp-url-key-2']).toBeUndefined();
    const reader = await server.ask('HEAD', BASE, { as: 'reader' });
    expect(reader.headers['x-account-meta-temp-url-key']).toBeUndefined();
  });

  it('is in no log: not its signature, not its key', async () => {
    expect(await status('GET', query())).toBe(200);
    server.store.failWith = new OperatingError('unavailable', 'no majority');
    expect(await status('GET', query())).toBe(503);
    const told = JSON.stringify([server.events, server.finished]);
    expect(told).toContain('unavailable');
    for (const secret of [new URLSearchParams(query()).get('temp_url_sig')!, 'temp_url_sig', KEY])
      expect(told).not.toContain(secret);
  });
});
