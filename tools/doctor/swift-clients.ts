/** What swiftclient, rclone and Glance's Swift store send, request for request. */
import { createHash } from 'node:crypto';
import { type Examination, expectHeader, expectStatus, expectThat, Wrong } from './examination.ts';
import { HttpClient, type Reply, type Request, type Trust } from './http.ts';
import { escaped } from './sigv4.ts';

export interface SwiftLogin {
  readonly auth: string;
  readonly user: string;
  readonly key: string;
}

export interface KeystoneLogin {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
  readonly region: string | undefined;
}

const NAME = 'folder/ünïcode a+b%20c?.txt';
const BODY = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(50));

function md5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

/** An account, with a token. */
class Account {
  readonly #http: HttpClient;
  readonly #base: string;
  readonly #token: string;

  constructor(storageUrl: string, token: string, trust: Trust) {
    this.#http = new HttpClient(storageUrl, trust);
    this.#base = this.#http.origin.pathname.replace(/\/$/, '');
    this.#token = token;
  }

  /** `name`: container, or container/object, unescaped. */
  send(
    method: string,
    name: string,
    { query = '', headers = {}, ...rest }: Partial<Request> & { readonly query?: string } = {},
  ): Promise<Reply> {
    const path = name === '' ? '' : `/${escaped(name, '/')}`;
    const target = `${this.#base}${path}${query === '' ? '' : `?${query}`}`;
    return this.#http.send({
      ...rest,
      method,
      target,
      headers: { ...headers, 'x-auth-token': this.#token },
    });
  }

  async clear(container: string, names: readonly string[]): Promise<void> {
    for (const name of names) await this.send('DELETE', `${container}/${name}`);
    await this.send('DELETE', container);
  }
}

async function logInV1({ auth, user, key }: SwiftLogin, trust: Trust): Promise<Account> {
  const http = new HttpClient(auth, trust);
  const headers = { 'x-auth-user': user, 'x-auth-key': key };
  const reply = await http.send({ method: 'GET', target: http.origin.pathname, headers });
  expectStatus(reply, 200, 204);
  const { 'x-storage-url': url, 'x-auth-token': token } = reply.headers;
  if (url === undefined || token === undefined) throw new Wrong('no X-Storage-Url or no token');
  return new Account(url, token, trust);
}

async function logInV3(login: KeystoneLogin, trust: Trust): Promise<Account> {
  const { url, user, password, project, domain, region } = login;
  const http = new HttpClient(url, trust);
  const where = { name: domain };
  const auth = {
    identity: {
      methods: ['password'],
      password: { user: { name: user, domain: where, password } },
    },
    scope: { project: { name: project, domain: where } },
  };
  const body = Buffer.from(JSON.stringify({ auth }));
  const target = `${http.origin.pathname.replace(/\/$/, '')}/auth/tokens`;
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const reply = expectStatus(await http.send({ method: 'POST', target, headers, body }), 201);
  const token = reply.headers['x-subject-token'];
  if (token === undefined) throw new Wrong('no X-Subject-Token');
  const storage = storageOf(JSON.parse(reply.text), region);
  if (storage === undefined) throw new Wrong('the catalogue has no public object-store endpoint');
  return new Account(storage, token, trust);
}

interface Catalogue {
  readonly token?: {
    readonly catalog?: readonly {
      readonly type: string;
      readonly endpoints: readonly { interface: string; region?: string; url: string }[];
    }[];
  };
}

function storageOf({ token }: Catalogue, region: string | undefined): string | undefined {
  const service = token?.catalog?.find(({ type }) => type === 'object-store');
  const isWanted = (endpoint: { interface: string; region?: string }): boolean =>
    endpoint.interface === 'public' && (region === undefined || endpoint.region === region);
  return service?.endpoints.find(isWanted)?.url;
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
      expectStatus(await swift.send('DELETE', `${container}/large`, { query }), 200);
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
