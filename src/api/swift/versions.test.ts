import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;
const ENABLED = { headers: { 'X-Versions-Enabled': 'true' } };

beforeEach(async () => {
  server = await startServer();
  await server.ask('PUT', `${BASE}/c`, ENABLED);
});
afterEach(() => server.close());

async function put(name: string, body: string, container = 'c'): Promise<string | undefined> {
  const answer = await server.ask('PUT', `${BASE}/${container}/${name}`, { body });
  expect(answer.status).toBe(201);
  return answer.headers['x-object-version-id'] as string | undefined;
}

async function text(target: string): Promise<string> {
  const answer = await server.ask('GET', `${BASE}/${target}`);
  return answer.status === 200 ? answer.text : String(answer.status);
}

interface Row {
  readonly name: string;
  readonly version_id: string;
  readonly is_latest: boolean;
  readonly content_type: string;
  readonly bytes: number;
}

async function rows(query = '', container = 'c'): Promise<Row[]> {
  const answer = await server.ask('GET', `${BASE}/${container}?versions&format=json${query}`);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.text) as Row[];
}

describe('a container with X-Versions-Enabled', () => {
  it('says so, and can stop', async () => {
    const shown = async () => (await server.ask('HEAD', `${BASE}/c`)).headers['x-versions-enabled'];
    const post = async (value: string) => {
      const headers = { 'X-Versions-Enabled': value };
      return (await server.ask('POST', `${BASE}/c`, { headers })).status;
    };
    expect(await shown()).toBe('True');
    expect(await post('perhaps')).toBe(400);
    expect(await post('false')).toBe(204);
    expect(await shown()).toBe('False');
    expect(await post('true')).toBe(204);
    expect(await shown()).toBe('True');
    await server.ask('PUT', `${BASE}/plain`);
    expect((await server.ask('HEAD', `${BASE}/plain`)).headers['x-versions-enabled']).toBe(
      undefined,
    );
    const loose = { ...ENABLED.headers, 'X-Storage-Policy': 'reduced' };
    expect((await server.ask('PUT', `${BASE}/loose`, { headers: loose })).status).toBe(400);
    expect((await server.ask('HEAD', `${BASE}/loose`)).status).toBe(404);
  });

  it('keeps what is overwritten', async () => {
    const [first, second] = [await put('o', 'one'), await put('o', 'second')];
    expect(first).toBeDefined();
    expect(second).not.toBe(first);
    expect(await text('c/o')).toBe('second');
    expect(await text(`c/o?version-id=${first}`)).toBe('one');
    const head = await server.ask('HEAD', `${BASE}/c/o?version-id=${first}`);
    expect(head.headers).toMatchObject({ 'x-object-version-id': first, 'content-length': '3' });
    const current = await server.ask('GET', `${BASE}/c/o`);
    expect(current.headers['x-object-version-id']).toBe(second);
    const listed = JSON.parse((await server.ask('GET', `${BASE}/c?format=json`)).text) as Row[];
    expect(listed.map(({ name, bytes }) => [name, bytes])).toEqual([['o', 6]]);
  });

  it('keeps what was there before as the version null', async () => {
    await server.ask('PUT', `${BASE}/old`);
    expect(await put('o', 'before', 'old')).toBeUndefined();
    await server.ask('POST', `${BASE}/old`, ENABLED);
    await put('o', 'after', 'old');
    expect(await text('old/o?version-id=null')).toBe('before');
    expect((await rows('', 'old')).map((row) => row.version_id === 'null')).toEqual([false, true]);
  });

  it('hides what is deleted behind a marker, until that is deleted', async () => {
    const first = await put('o', 'one');
    const deleted = await server.ask('DELETE', `${BASE}/c/o`);
    const marker = deleted.headers['x-object-version-id'];
    expect([deleted.status, typeof marker]).toEqual([204, 'string']);
    expect(await text('c/o')).toBe('404');
    expect(await text(`c/o?version-id=${marker}`)).toBe('404');
    expect(await text(`c/o?version-id=${first}`)).toBe('one');
    expect((await server.ask('DELETE', `${BASE}/c`)).status).toBe(409);
    const gone = await server.ask('DELETE', `${BASE}/c/o?version-id=${marker}`);
    expect([gone.status, gone.headers['x-object-version-id']]).toEqual([204, marker]);
    expect(await text('c/o')).toBe('one');
    await server.ask('DELETE', `${BASE}/c/o?version-id=${first}`);
    expect((await server.ask('DELETE', `${BASE}/c/o?version-id=${first}`)).status).toBe(404);
    expect(await rows()).toEqual([]);
    expect((await server.ask('DELETE', `${BASE}/c`)).status).toBe(204);
  });

  it('lists versions page by page, newest first', async () => {
    const ids: (string | undefined)[] = [];
    for (const body of ['1', '22', '333']) ids.unshift(await put('a', body));
    const other = await put('b/x', 'x');
    await server.ask('DELETE', `${BASE}/c/a`);
    const all = await rows();
    expect(all.map(({ version_id: id }) => id).slice(1)).toEqual([...ids, other]);
    expect(all.map(({ is_latest: latest }) => latest)).toEqual([true, false, false, false, true]);
    expect(all[0]?.content_type).toBe('application/x-deleted;swift_versions_deleted=1');
    const paged: Row[] = [];
    for (let query = '&limit=2'; ; ) {
      const page = await rows(query);
      paged.push(...page);
      const last = page.at(-1);
      if (last === undefined) break;
      query = `&limit=2&marker=${last.name}&version_marker=${last.version_id}`;
    }
    expect(paged).toEqual(all);
    expect((await rows('&prefix=b')).map(({ name }) => name)).toEqual(['b/x']);
    expect((await rows('&delimiter=/&marker=a')).at(0)).toEqual({ subdir: 'b/' });
    expect((await rows('&end_marker=b')).length).toBe(4);
    const xml = await server.ask('GET', `${BASE}/c?versions&format=xml&prefix=b`);
    expect(xml.text).toContain(`<version_id>${other}</version_id><is_latest>true</is_latest>`);
    const plain = await server.ask('GET', `${BASE}/c?versions`);
    expect(plain.text).toBe('a\na\na\na\nb/x\n');
    for (const bad of ['reverse=true', 'version_marker=x']) {
      expect((await server.ask('GET', `${BASE}/c?versions&${bad}`)).status).toBe(400);
    }
    expect((await server.ask('GET', `${BASE}/none?versions`)).status).toBe(404);
  });

  it('makes an older version current again', async () => {
    const headers = { 'X-Object-Meta-Colour': 'red', 'Content-Type': 'text/x' };
    const kept = await server.ask('PUT', `${BASE}/c/o`, { body: 'one', headers });
    const first = kept.headers['x-object-version-id'];
    await put('o', 'two');
    const restore = (body: string) =>
      server.ask('PUT', `${BASE}/c/o?version-id=${first}`, { body });
    expect((await restore('body')).status).toBe(400);
    const restored = await restore('');
    expect(restored.status).toBe(201);
    expect((await rows()).length).toBe(3);
    const now = await server.ask('GET', `${BASE}/c/o`);
    expect([now.text, now.headers['x-object-meta-colour'], now.headers['content-type']]).toEqual([
      'one',
      'red',
      'text/x',
    ]);
    const copied = await server.ask('COPY', `${BASE}/c/o?version-id=${first}`, {
      headers: { Destination: 'c/copy' },
    });
    expect([copied.status, await text('c/copy')]).toEqual([201, 'one']);
  });

  it('deletes the version of a large object that is named, with the parts of that one', async () => {
    await server.ask('PUT', `${BASE}/parts`);
    const putSlo = async (part: string): Promise<string> => {
      await put(part, part, 'parts');
      const target = `${BASE}/c/big?multipart-manifest=put`;
      const body = JSON.stringify([{ path: `/parts/${part}` }]);
      const { headers } = await server.ask('PUT', target, { body });
      return headers['x-object-version-id'] as string;
    };
    const remove = async (id: string) => {
      const target = `${BASE}/c/big?multipart-manifest=delete&version-id=${id}`;
      const headers = { Accept: 'application/json' };
      return JSON.parse((await server.ask('DELETE', target, { headers })).text);
    };
    const old = await putSlo('a');
    await putSlo('b');
    expect(await remove(old)).toMatchObject({ 'Number Deleted': 2, Errors: [] });
    expect([await text('parts/a'), await text(`c/big?version-id=${old}`)]).toEqual(['404', '404']);
    expect(await text('c/big')).toBe('b');
    expect(await remove(old)).toMatchObject({ 'Number Deleted': 0, 'Number Not Found': 1 });
    const marker = await server.ask('DELETE', `${BASE}/c/big`);
    const hidden = marker.headers['x-object-version-id'] as string;
    expect(await remove(hidden)).toMatchObject({ 'Number Deleted': 0, 'Number Not Found': 1 });
    expect(await text('parts/b')).toBe('b');
  });

  it('wants version ids that can be, and a container that keeps versions', async () => {
    await server.ask('PUT', `${BASE}/plain`);
    await put('o', 'x', 'plain');
    const get = async (target: string) => (await server.ask('GET', `${BASE}/${target}`)).status;
    expect(await get('plain/o?version-id=null')).toBe(200);
    expect(await get('plain/o?version-id=0123')).toBe(400);
    expect(await get('c/o?version-id=0123')).toBe(404);
    expect(await get('c/o?version-id=%2F..')).toBe(400);
    expect(await get('none/o?version-id=0123')).toBe(404);
    const post = await server.ask('POST', `${BASE}/c/o?version-id=0123`);
    expect(post.status).toBe(400);
    const stranger = await server.ask('GET', `${BASE}/c/o?version-id=0123`, { as: 'stranger' });
    expect(stranger.status).toBe(403);
  });
});
