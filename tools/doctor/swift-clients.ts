/** What swiftclient, rclone and Glance's Swift store send, request for request. */
import { createHash } from 'node:crypto';
import { type Examination, expectHeader, expectStatus, expectThat } from './examination.ts';
import type { Trust } from './http.ts';
import { escaped } from './sigv4.ts';
import {
  type Account,
  type KeystoneLogin,
  logInV1,
  logInV3,
  type SwiftLogin,
} from './swift-account.ts';

const NAME = 'folder/ünïcode a+b%20c?.txt';
const BODY = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(50));

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

export async function swiftclient(
  login: SwiftLogin,
  trust: Trust,
  container: string,
  exam: Examination,
): Promise<void> {
  let account: Account | undefined;
  const segments = `${container}_segments`;
  const visit = async (): Promise<void> => {
    const swift = await exam.must('log in (v1)', () => logInV1(login, trust));
    account = swift;
    await exam.step('stat', async () => {
      const reply = expectStatus(await swift.send('HEAD', ''), 200, 204);
      expectThat(reply.headers['x-account-container-count'] !== undefined, 'no container count');
    });
    await exam.must('post CONTAINER', async () =>
      expectStatus(await swift.send('PUT', container), 201, 202),
    );
    await exam.step('upload (chunked)', async () => {
      const headers = { 'x-object-meta-mtime': '1700000000.123456' };
      const wanted = { headers, body: BODY, chunked: true };
      const reply = expectStatus(await swift.send('PUT', `${container}/${NAME}`, wanted), 201);
      expectHeader(reply, 'etag', md5(BODY));
    });
    await exam.step('upload -S (static large object)', () => upload(swift, container, segments));
    await exam.step('list', async () => {
      const query = 'format=json&limit=10000';
      const { text } = expectStatus(await swift.send('GET', container, { query }), 200);
      const names = (JSON.parse(text) as { name: string }[]).map(({ name }) => name);
      expectThat(names.includes(NAME) && names.includes('large'), `listed are ${names.join(', ')}`);
    });
    await exam.step('download', async () => {
      const reply = expectStatus(await swift.send('GET', `${container}/${NAME}`), 200);
      expectThat(reply.body.equals(BODY), 'other bytes than were sent');
    });
    await exam.step('post OBJECT', async () => {
      const headers = { 'x-object-meta-color': 'blue' };
      expectStatus(await swift.send('POST', `${container}/${NAME}`, { headers }), 202);
      const reply = expectStatus(await swift.send('HEAD', `${container}/${NAME}`), 200);
      expectHeader(reply, 'x-object-meta-color', 'blue');
    });
    await exam.step('delete (with segments)', async () => {
      const query = 'multipart-manifest=delete';
      const reply = expectStatus(await swift.send('DELETE', `${container}/large`, { query }), 200);
      // What could not be deleted is told in the body.
      const report = reply.body.toString().trim().replaceAll('\n', '; ');
      expectThat(/Response Status"?: "?200/.test(report), report);
      expectStatus(await swift.send('HEAD', `${segments}/1`), 404);
      expectStatus(await swift.send('DELETE', `${container}/${NAME}`), 204);
      expectStatus(await swift.send('DELETE', container), 204);
    });
  };
  await exam.visit(visit, async () => {
    await account?.clear(container, [NAME, 'large']);
    await account?.clear(segments, ['1', '2']);
  });
}

async function upload(swift: Account, container: string, segments: string): Promise<void> {
  expectStatus(await swift.send('PUT', segments), 201, 202);
  const parts = [Buffer.alloc(1_000_000, 'a'), Buffer.alloc(1000, 'b')];
  const manifest: { path: string; etag: string; size_bytes: number }[] = [];
  for (const [i, body] of parts.entries()) {
    const name = `${segments}/${i + 1}`;
    expectStatus(await swift.send('PUT', name, { body }), 201);
    manifest.push({ path: `/${name}`, etag: md5(body), size_bytes: body.length });
  }
  const body = Buffer.from(JSON.stringify(manifest));
  const query = 'multipart-manifest=put';
  expectStatus(await swift.send('PUT', `${container}/large`, { query, body }), 201);
  const reply = expectStatus(await swift.send('GET', `${container}/large`), 200);
  expectThat(reply.body.equals(Buffer.concat(parts)), 'other bytes than the segments');
  expectHeader(reply, 'x-static-large-object', 'True');
}

export async function rcloneSwift(
  login: KeystoneLogin,
  trust: Trust,
  container: string,
  exam: Examination,
): Promise<void> {
  let account: Account | undefined;
  const visit = async (): Promise<void> => {
    const swift = await exam.must('log in (Keystone v3)', () => logInV3(login, trust));
    account = swift;
    await exam.must('mkdir', async () =>
      expectStatus(await swift.send('PUT', container), 201, 202),
    );
    await exam.step('copy (mtime)', async () => {
      const headers = { 'x-object-meta-mtime': '1700000000.123456789', etag: md5(BODY) };
      const wanted = { headers, body: BODY };
      expectStatus(await swift.send('PUT', `${container}/${NAME}`, wanted), 201);
    });
    await exam.step('lsf', async () => {
      const query = 'format=json&delimiter=%2F&limit=1000';
      const { text } = expectStatus(await swift.send('GET', container, { query }), 200);
      expectThat(text.includes('"subdir"'), 'no folder is listed');
    });
    await exam.step('check (HEAD)', async () => {
      const reply = expectStatus(await swift.send('HEAD', `${container}/${NAME}`), 200);
      expectHeader(reply, 'x-object-meta-mtime', '1700000000.123456789');
      expectHeader(reply, 'etag', md5(BODY));
    });
    await exam.step('copyto (server side)', async () => {
      const headers = { 'x-copy-from': `/${escaped(`${container}/${NAME}`, '/')}` };
      expectStatus(await swift.send('PUT', `${container}/copy`, { headers }), 201);
      const reply = expectStatus(await swift.send('GET', `${container}/copy`), 200);
      expectThat(reply.body.equals(BODY), 'the copy has other bytes');
    });
    await exam.step('purge', async () => {
      for (const name of [NAME, 'copy'])
        expectStatus(await swift.send('DELETE', `${container}/${name}`), 204);
      expectStatus(await swift.send('DELETE', container), 204);
    });
  };
  await exam.visit(visit, async () => account?.clear(container, [NAME, 'copy']));
}

export async function glance(
  login: KeystoneLogin,
  trust: Trust,
  container: string,
  exam: Examination,
): Promise<void> {
  const image = '8d9b2b0e-0000-4000-8000-000000000001';
  const parts = [Buffer.alloc(500_000, 'x'), Buffer.alloc(123, 'y')];
  const names = parts.map((_, i) => `${image}-${String(i + 1).padStart(5, '0')}`);
  let account: Account | undefined;
  const visit = async (): Promise<void> => {
    const swift = await exam.must('log in (Keystone v3, catalogue)', () => logInV3(login, trust));
    account = swift;
    await exam.must('container on demand', async () => {
      expectStatus(await swift.send('HEAD', container), 404);
      expectStatus(await swift.send('PUT', container), 201);
    });
    await exam.step('image in chunks (dynamic large object)', async () => {
      for (const [i, body] of parts.entries()) {
        const wanted = { body, chunked: true };
        expectStatus(await swift.send('PUT', `${container}/${names[i]}`, wanted), 201);
      }
      const headers = { 'x-object-manifest': `${container}/${image}-` };
      expectStatus(await swift.send('PUT', `${container}/${image}`, { headers }), 201);
    });
    await exam.step('size (HEAD)', async () => {
      const reply = expectStatus(await swift.send('HEAD', `${container}/${image}`), 200);
      expectHeader(reply, 'content-length', '500123');
    });
    await exam.step('download', async () => {
      const reply = expectStatus(await swift.send('GET', `${container}/${image}`), 200);
      expectThat(reply.body.equals(Buffer.concat(parts)), 'other bytes than the chunks');
    });
    await exam.step('range over a chunk border', async () => {
      const headers = { range: 'bytes=499998-500001' };
      const reply = await swift.send('GET', `${container}/${image}`, { headers });
      expectThat(expectStatus(reply, 206).text === 'xxyy', 'other bytes than were asked for');
    });
    await exam.step('delete the image and its chunks', async () => {
      for (const name of [...names, image])
        expectStatus(await swift.send('DELETE', `${container}/${name}`), 204);
      expectStatus(await swift.send('DELETE', container), 204);
    });
  };
  await exam.visit(visit, async () => account?.clear(container, [...names, image]));
}
