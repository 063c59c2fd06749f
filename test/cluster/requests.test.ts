/**
 * Requests that are wrong, broken off, or at odds with each other, against real processes: the right
 * status, and nothing left behind.
 */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, md5, noise, slowness, until } from './client.ts';
import { Cluster, sleep } from './cluster.ts';

const LARGE = 6 * 1024 * 1024;
/** A revocation is in force at every proxy within this. */
const PROMISED_MS = 2_000;

let cluster: Cluster;
let client: Client;

beforeAll(async () => {
  cluster = await Cluster.start();
  client = await Client.logIn(cluster);
  await client.put(0, '/c', '');
});

afterAll(() => cluster?.stopAndRemove());

async function names(): Promise<string[]> {
  const { body } = await client.request(1, 'GET', '/c');
  return body.toString().split('\n').filter(Boolean);
}

/** Files that hold bodies of uploads, on all devices: what is staged, too. */
function blobs(): number {
  const folders = cluster.nodes.flatMap((node) => node.devices.map((d) => path.join(d, 'blobs')));
  return folders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile()).length;
}

describe('an upload that is wrong', () => {
  it.each([100, LARGE])('with another ETag is 422 and leaves nothing (%i bytes)', async (size) => {
    const headers = { etag: md5('something else') };
    const reply = await client.request(0, 'PUT', '/c/wrong', { body: noise(size), headers });
    expect(reply.status).toBe(422);
    expect((await client.request(1, 'GET', '/c/wrong')).status).toBe(404);
    expect(await names()).not.toContain('wrong');
    await until('bodies that nobody wants', blobs, (count) => count === 0);
  });

  it.each([
    ['small', 10, 100],
    ['large', 2_000_000, LARGE],
  ])('that breaks off leaves nothing (%s)', async (name, sent, declared) => {
    const raw = await client.open(0, 'PUT', `/c/${name}`, [`Content-Length: ${declared}`]);
    raw.socket.write(noise(sent));
    await sleep(300);
    raw.socket.destroy();
    await until('bodies of uploads that broke off', blobs, (count) => count === 0);
    expect((await client.request(1, 'GET', `/c/${name}`)).status).toBe(404);
    expect(await names()).not.toContain(name);
  });

  it('that breaks off leaves what was there before', async () => {
    await client.put(0, '/c/before', 'as it was');
    const raw = await client.open(2, 'PUT', '/c/before', ['Transfer-Encoding: chunked']);
    raw.socket.write(`200000\r\n${'x'.repeat(0x200000)}\r\n`);
    await sleep(300);
    raw.socket.destroy();
    await sleep(300);
    expect((await client.request(1, 'GET', '/c/before')).body.toString()).toBe('as it was');
  });

  it('that is shorter than declared, its sender waiting for an answer, is refused', async () => {
    const raw = await client.open(0, 'PUT', '/c/short', ['Content-Length: 1000']);
    raw.socket.end('only this');
    expect([400, 408, 499, 'closed']).toContain(await raw.status());
    expect((await client.request(1, 'GET', '/c/short')).status).toBe(404);
  });

  it('that is longer than declared is refused, or stored as declared; the rest is no object', async () => {
    const raw = await client.open(0, 'PUT', '/c/longer', ['Content-Length: 4']);
    raw.socket.write('fourPLUS MORE THAN WAS DECLARED\r\n\r\n');
    // What follows the body is a request without sense (400), which may overtake the answer.
    expect([201, 400]).toContain(await raw.status());
    await until(
      'the end of the connection',
      () => raw.socket.destroyed,
      (ended) => ended,
    );
    const { status, body } = await client.request(1, 'GET', '/c/longer');
    if (status !== 404) expect(body.toString()).toBe('four');
  });

  it('with broken chunks is 400 or cut off, and leaves nothing', async () => {
    const raw = await client.open(0, 'PUT', '/c/chunks', ['Transfer-Encoding: chunked']);
    raw.socket.write('5\r\nhello\r\nNOT-A-LENGTH\r\n');
    expect([400, 'closed']).toContain(await raw.status());
    expect((await client.request(1, 'GET', '/c/chunks')).status).toBe(404);
  });
});

describe('a download that breaks off', () => {
  it('releases what it held: the same proxy serves hundreds more', async () => {
    const body = noise(LARGE);
    await client.put(0, '/c/big', body);
    const address = `${cluster.proxies[0]}${client.account}/c/big`;
    const breakOff = async (times: number): Promise<void> => {
      for (let n = 0; n < times; n += 1) {
        const controller = new AbortController();
        const headers = { 'x-auth-token': client.token };
        const response = await fetch(address, { headers, signal: controller.signal });
        expect(response.status).toBe(200);
        await response.body!.getReader().read();
        controller.abort();
      }
    };
    // The first ones may open what then stays open: connections to other nodes, files of the log.
    await breakOff(20);
    const before = openFiles().length;
    await breakOff(200);
    await until('files and sockets open', openFiles, ({ length }) => length < before + 50);
    const whole = await client.request(0, 'GET', '/c/big');
    expect(md5(whole.body)).toBe(md5(body));
  });
});

/** What the process that the client talks to has open. */
function openFiles(): string[] {
  const folder = `/proc/${cluster.nodes[0]!.pid}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(path.join(folder, fd))];
    } catch {
      return []; // Closed meanwhile.
    }
  });
}

describe('who may not', () => {
  it.each(['nonsense', '', 'gAAAAABh', 'x'.repeat(4000)])('bad token %j is 401', async (token) => {
    for (const proxy of [0, 1, 2]) {
      const headers = { 'x-auth-token': token };
      expect((await client.request(proxy, 'GET', '/c', { headers })).status).toBe(401);
      expect((await client.request(proxy, 'PUT', '/c/x', { headers, body: 'x' })).status).toBe(401);
    }
  });

  it('a token with one bit changed is 401', async () => {
    const { token } = client;
    const at = Math.floor(token.length / 2);
    const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
    const headers = { 'x-auth-token': changed };
    expect((await client.request(0, 'GET', '/c', { headers })).status).toBe(401);
  });

  it('a revoked token is 401 at every proxy', async () => {
    const took: number[] = [];
    for (let n = 0; n < 3; n += 1) took.push(await revocation());
    expect(Math.min(...took), took.join()).toBeLessThan(PROMISED_MS * slowness());
  });

  /** Milliseconds until a revoked token is refused by all proxies, for good. */
  async function revocation(): Promise<number> {
    const { token } = await cluster.login();
    const headers = { 'x-auth-token': token, 'x-subject-token': token };
    const statusBy = async (proxy: number): Promise<number> =>
      (await client.request(proxy, 'GET', '/c', { headers })).status;
    expect(await statusBy(2)).toBe(200);
    const { url } = cluster.access.keystone;
    const start = performance.now();
    const revoked = await fetch(`${url}/auth/tokens`, { method: 'DELETE', headers });
    expect(revoked.status).toBe(204);
    const isRefused = (status: number): boolean => status === 401;
    for (const proxy of [0, 1, 2]) await until('a revoked token', () => statusBy(proxy), isRefused);
    const took = performance.now() - start;
    for (const proxy of [0, 1, 2]) expect(await statusBy(proxy)).toBe(401);
    return took;
  }

  it('a token that has expired is 401 at every proxy', async () => {
    const { token, expiresAt } = await seenShortLivedToken();
    const headers = { 'x-auth-token': token };
    await sleep(Math.max(0, expiresAt - Date.now()) + 100);
    for (const proxy of [0, 1, 2])
      expect((await client.request(proxy, 'GET', '/c', { headers })).status).toBe(401);
  });
});

/** One that a proxy has taken before it ended: on a slow machine it has to live longer. */
async function seenShortLivedToken(): Promise<{ token: string; expiresAt: number }> {
  for (let ms = 2_000; ; ms *= 2) {
    const made = await shortLivedToken(ms).catch((error: unknown) => {
      if (ms > 60_000) throw error;
    });
    if (made === undefined) continue;
    const headers = { 'x-auth-token': made.token };
    const { status } = await client.request(1, 'GET', '/c', { headers });
    if (Date.now() < made.expiresAt || ms > 60_000) expect(status).toBe(200);
    if (status === 200) return made;
  }
}

/** By an application credential: its tokens end with it. */
async function shortLivedToken(ms: number): Promise<{ token: string; expiresAt: number }> {
  const { url, user, password, project, domain } = cluster.access.keystone;
  const named = { name: user, domain: { name: domain }, password };
  const scope = { project: { name: project, domain: { name: domain } } };
  const own = await post(`${url}/auth/tokens`, {
    auth: { identity: { methods: ['password'], password: { user: named } }, scope },
  });
  const headers = { 'x-auth-token': own.headers.get('x-subject-token')! };
  const { token } = (await own.json()) as { token: { user: { id: string } } };
  const expiresAt = Date.now() + ms;
  const made = await post(
    `${url}/users/${token.user.id}/application_credentials`,
    {
      application_credential: {
        name: `short-${ms}`,
        expires_at: new Date(expiresAt).toISOString(),
      },
    },
    headers,
  );
  const { application_credential: credential } = (await made.json()) as {
    application_credential: { id: string; secret: string };
  };
  const { id, secret } = credential;
  const short = await post(`${url}/auth/tokens`, {
    auth: {
      identity: {
        methods: ['application_credential'],
        application_credential: { id, secret },
      },
    },
  });
  return { token: short.headers.get('x-subject-token')!, expiresAt };
}

async function post(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  if (response.status !== 201) throw new Error(`${url}: ${response.status}`);
  return response;
}

describe('a container that is not empty', () => {
  it('is not deleted by any proxy (409), and is once it is empty', async () => {
    await client.put(0, '/full', '');
    await client.put(1, '/full/object', 'x');
    for (const proxy of [0, 1, 2])
      expect((await client.request(proxy, 'DELETE', '/full')).status).toBe(409);
    expect((await client.request(2, 'GET', '/full/object')).body.toString()).toBe('x');
    expect((await client.request(2, 'DELETE', '/full/object')).status).toBe(204);
    expect((await client.request(1, 'DELETE', '/full')).status).toBe(204);
    expect((await client.request(0, 'PUT', '/full/late', { body: 'x' })).status).toBe(404);
  });

  it('keeps what is written while it is being deleted, or refuses it', async () => {
    for (let round = 0; round < 10; round += 1) {
      // Each time another: what was undecided may still take effect, and bring its container back.
      const race = `/race-${round}`;
      await client.put(round % 3, race, '');
      const [deleted, written] = await Promise.all([
        client.request(round % 3, 'DELETE', race),
        client.request((round + 1) % 3, 'PUT', `${race}/o`, { body: 'x' }),
      ]);
      const outcome = `${deleted.status} ${written.status}`;
      // 503 is undecided for either. 204 and 201: the write's row came after the deletion, and
      // brought the container back. Only a write's row keeps a container: 409 and 404 is wrong.
      expect([204, 409, 503], outcome).toContain(deleted.status);
      expect([201, 404, 503], outcome).toContain(written.status);
      expect(outcome).not.toBe('409 404');
      const read = await client.request((round + 2) % 3, 'GET', `${race}/o`);
      // 503 is undecided: it may have taken effect, and then its row keeps the container.
      const right = { 201: [200], 404: [404], 503: [200, 404] }[written.status];
      expect(right, outcome).toContain(read.status);
      const removed = await client.request(0, 'DELETE', `${race}/o`);
      expect([204, 404, 503], outcome).toContain(removed.status);
    }
  });
});

describe('two writers of one name at two proxies', () => {
  it('one of the two wins, and all proxies agree on it', async () => {
    for (let round = 0; round < 20; round += 1) {
      const bodies = [`from lngs ${round}`, `from padova ${round}`, `from bari ${round}`];
      await Promise.all(bodies.map((body, proxy) => client.put(proxy, '/c/contended', body)));
      const seen = await Promise.all(
        [0, 1, 2].map(async (proxy) => {
          const { body, headers } = await client.request(proxy, 'GET', '/c/contended');
          expect(headers.get('etag')).toBe(md5(body));
          return body.toString();
        }),
      );
      expect(new Set(seen).size).toBe(1);
      expect(bodies).toContain(seen[0]);
      const { body } = await client.request(round % 3, 'GET', '/c?format=json&prefix=contended');
      expect(JSON.parse(body.toString())[0].hash).toBe(md5(seen[0]!));
    }
  });

  it('a write and a deletion: every proxy tells the same story', async () => {
    for (let round = 0; round < 20; round += 1) {
      await client.put(0, '/c/fought', 'first');
      await Promise.all([
        client.put(1, '/c/fought', 'second'),
        client.request(2, 'DELETE', '/c/fought'),
      ]);
      const statuses = await Promise.all(
        [0, 1, 2].map(async (proxy) => (await client.request(proxy, 'GET', '/c/fought')).status),
      );
      expect(new Set(statuses).size, statuses.join()).toBe(1);
      expect((await names()).includes('fought')).toBe(statuses[0] === 200);
    }
  });
});
