import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer();
});
afterEach(() => server.close());

describe('an account', () => {
  it('that nobody has used yet is an empty one', async () => {
    const head = await server.ask('HEAD', BASE);
    expect(head.status).toBe(204);
    expect(head.headers).toMatchObject({
      'x-account-container-count': '0',
      'x-account-object-count': '0',
      'x-account-bytes-used': '0',
    });
  });

  it('lists its containers with their totals', async () => {
    for (const name of ['b', 'a', 'c']) await server.ask('PUT', `${BASE}/${name}`);
    await server.ask('PUT', `${BASE}/b/o`, { body: '12345' });
    const json = await server.ask('GET', `${BASE}?format=json`);
    expect(json.headers['content-type']).toBe('application/json; charset=utf-8');
    const rows = JSON.parse(json.text) as Record<string, unknown>[];
    expect(rows.map((row) => row['name'])).toEqual(['a', 'b', 'c']);
    expect(rows[1]).toMatchObject({ count: 1, bytes: 5 });
    expect(rows[1]?.['last_modified']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);
    expect((await server.ask('GET', BASE)).text).toBe('a\nb\nc\n');
    expect((await server.ask('GET', `${BASE}?limit=1&marker=a`)).text).toBe('b\n');
    const xml = await server.ask('GET', `${BASE}?format=xml&limit=1`);
    expect(xml.text).toMatch(
      new RegExp(
        `^<\\?xml version="1.0" encoding="UTF-8"\\?>\\n<account name="${ACCOUNT}"><container>` +
          '<name>a</name><count>0</count><bytes>0</bytes><last_modified>[^<]*</last_modified>' +
          '</container></account>$',
      ),
    );
    const { headers } = await server.ask('HEAD', BASE);
    expect(headers).toMatchObject({
      'x-account-container-count': '3',
      'x-account-object-count': '1',
      'x-account-bytes-used': '5',
    });
  });

  it('keeps metadata, which only owners change', async () => {
    const post = await server.ask('POST', BASE, { headers: { 'X-Account-Meta-Book': 'x' } });
    expect(post.status).toBe(204);
    expect((await server.ask('HEAD', BASE)).headers['x-account-meta-book']).toBe('x');
    for (const as of ['member', 'reader', 'stranger']) {
      expect((await server.ask('POST', BASE, { as })).status, as).toBe(403);
    }
    expect((await server.ask('POST', BASE, { as: '' })).status).toBe(401);
    expect((await server.ask('GET', BASE, { as: 'reader' })).status).toBe(204);
    expect((await server.ask('GET', BASE, { as: 'member' })).status).toBe(403);
    await server.ask('POST', BASE, { headers: { 'X-Remove-Account-Meta-Book': 'x' } });
    expect((await server.ask('HEAD', BASE)).headers['x-account-meta-book']).toBeUndefined();
  });

  it('has a quota that only reseller admins set', async () => {
    const quota = (value: string) => ({ headers: { 'X-Account-Meta-Quota-Bytes': value } });
    expect((await server.ask('POST', BASE, quota('1000'))).status).toBe(403);
    const as = 'reseller';
    expect((await server.ask('POST', BASE, { ...quota('much'), as })).status).toBe(400);
    expect((await server.ask('POST', BASE, { ...quota('1000'), as })).status).toBe(204);
    const shown = async () =>
      (await server.ask('HEAD', BASE)).headers['x-account-meta-quota-bytes'];
    expect(await shown()).toBe('1000');
    const removal = { headers: { 'X-Remove-Account-Meta-Quota-Bytes': 'x' } };
    expect((await server.ask('POST', BASE, removal)).status).toBe(403);
    expect((await server.ask('POST', BASE, quota(''))).status).toBe(403);
    expect(await shown()).toBe('1000');
    expect((await server.ask('POST', BASE, { ...removal, as })).status).toBe(204);
    expect(await shown()).toBeUndefined();
  });

  it('is created and deleted only where that is on, and by reseller admins', async () => {
    expect((await server.ask('PUT', BASE, { as: 'reseller' })).status).toBe(405);
    await server.close();
    server = await startServer({ accountManagement: true });
    expect((await server.ask('PUT', BASE, { as: 'owner' })).status).toBe(403);
    expect((await server.ask('PUT', BASE, { as: 'reseller' })).status).toBe(201);
    expect((await server.ask('PUT', BASE, { as: 'reseller' })).status).toBe(202);
    await server.ask('PUT', `${BASE}/c`);
    expect((await server.ask('DELETE', BASE, { as: 'reseller' })).status).toBe(409);
    await server.ask('DELETE', `${BASE}/c`);
    expect((await server.ask('DELETE', BASE, { as: 'owner' })).status).toBe(403);
    expect((await server.ask('DELETE', BASE, { as: 'reseller' })).status).toBe(204);
  });
});

describe('/info and /healthcheck', () => {
  it('say what is offered, without a token', async () => {
    const answer = await server.ask('GET', '/info', { as: '' });
    const info = JSON.parse(answer.text) as Record<string, Record<string, unknown>>;
    expect(info['swift']).toMatchObject({ max_file_size: 5_368_709_122, max_meta_count: 90 });
    expect(info['swift']?.['policies']).toEqual([
      { name: 'standard', aliases: 'standard', default: true },
      { name: 'reduced', aliases: 'reduced' },
    ]);
    expect(info['slo']).toEqual({
      max_manifest_segments: 1000,
      max_manifest_size: 8_388_608,
      min_segment_size: 1,
      yield_frequency: 10,
    });
    expect(info['bulk_delete']).toMatchObject({ max_deletes_per_request: 10_000 });
    expect(info).toMatchObject({ dlo: {}, account_quotas: {}, container_quotas: {} });
    expect(info['tempurl']).toMatchObject({ allowed_digests: ['sha1', 'sha256', 'sha512'] });
    expect(info['symlink']).toBeUndefined();
    expect((await server.ask('HEAD', '/info')).body.length).toBe(0);
    const post = await server.ask('POST', '/info');
    expect([post.status, post.headers['allow']]).toEqual([405, 'GET, HEAD, OPTIONS']);
  });

  it('say whether it can serve', async () => {
    let healthy = true;
    await server.close();
    server = await startServer({ healthy: () => healthy });
    const yes = await server.ask('GET', '/healthcheck', { as: '' });
    expect([yes.status, yes.text]).toEqual([200, 'OK']);
    healthy = false;
    expect((await server.ask('GET', '/healthcheck')).status).toBe(503);
  });
});
