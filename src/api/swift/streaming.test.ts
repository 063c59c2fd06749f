import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT, BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(() => start());
afterEach(() => server.close());

/** Patient with clients, unless told: this machine may be slow, too. */
async function start(limits: { readonly clientTimeoutMs?: number } = {}): Promise<void> {
  server = await startServer({ inlineLimit: 64 * 1024, limits });
  await server.ask('PUT', `${BASE}/c`);
}

async function restart(clientTimeoutMs: number): Promise<void> {
  await server.close();
  await start({ clientTimeoutMs });
}

const HEAD = 'Host: x\r\nX-Auth-Token: owner\r\n';

/** Polls, for what happens on the other side of a socket. */
async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(what()).toBe(true);
}

const SLOW_TIMEOUT_MS = 1000;

/** Six bytes in more than the time in which a client must move. */
async function putSlowly(): Promise<{ text: string; wasHeldUp: boolean }> {
  const socket = await open();
  socket.write(`PUT ${BASE}/c/slow HTTP/1.1\r\n${HEAD}Content-Length: 6\r\n\r\n`);
  let wasHeldUp = false;
  for (const byte of 'slowly') {
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 200));
    socket.write(byte);
    if (performance.now() - start > SLOW_TIMEOUT_MS / 2) wasHeldUp = true;
  }
  await until(() => socket.text.includes('HTTP/1.1 '));
  socket.destroy();
  return { text: socket.text, wasHeldUp };
}

function open(): Promise<Socket & { text: string }> {
  return new Promise((resolve) => {
    const socket = Object.assign(connect(server.port, '127.0.0.1'), { text: '' });
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      socket.text += text;
    });
    socket.on('error', () => {});
    socket.once('connect', () => resolve(socket));
  });
}

describe('uploads', () => {
  it('of many megabytes arrive whole, chunked or not', async () => {
    const body = Buffer.alloc(5_000_000, 'anello');
    const etag = createHash('md5').update(body).digest('hex');
    const put = await server.ask('PUT', `${BASE}/c/big`, { body });
    expect(put.headers['etag']).toBe(etag);
    const chunked = await new Promise<string | undefined>((resolve, reject) => {
      const outgoing = httpRequest(
        {
          port: server.port,
          method: 'PUT',
          path: `${BASE}/c/b2`,
          headers: { 'X-Auth-Token': 'owner' },
        },
        (incoming) => resolve(incoming.resume().headers['etag']),
      );
      outgoing.on('error', reject);
      for (let at = 0; at < body.length; at += 77_777)
        outgoing.write(body.subarray(at, at + 77_777));
      outgoing.end();
    });
    expect(chunked).toBe(etag);
    expect((await server.ask('GET', `${BASE}/c/b2`)).body.equals(body)).toBe(true);
  });

  it('that break off store nothing', async () => {
    const socket = await open();
    socket.write(`PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Content-Length: 1000\r\n\r\nonly this`);
    await until(() => server.finished.length === 1);
    socket.destroy();
    await until(() => server.finished.some((request) => request.operation === 'object.put'));
    expect((await server.ask('HEAD', `${BASE}/c/o`)).status).toBe(404);
    expect(server.events.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('that stop moving are ended with 408', async () => {
    await restart(300);
    const socket = await open();
    socket.write(`PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Content-Length: 1000\r\n\r\nonly this`);
    await until(() => socket.text.includes('408 Request Timeout'));
    socket.destroy();
    expect((await server.ask('HEAD', `${BASE}/c/o`)).status).toBe(404);
  });

  it('may be slow, as long as they move', async () => {
    await restart(SLOW_TIMEOUT_MS);
    let answer = await putSlowly();
    // Where this process itself was held up for so long the client did not move.
    for (let tries = 1; answer.wasHeldUp && tries < 20; tries++) answer = await putSlowly();
    expect(answer.text).toContain('201 Created');
    expect((await server.ask('GET', `${BASE}/c/slow`)).text).toBe('slowly');
  });

  it('with a broken chunk or two lengths are refused', async () => {
    const chunk = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n`,
    );
    expect(chunk).toContain('400');
    const both = await server.raw(
      `PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    );
    expect(both).toContain('400');
    expect((await server.ask('HEAD', `${BASE}/c/o`)).status).toBe(404);
  });

  it('in a coding that is not offered are refused, and the log is not bothered', async () => {
    const head = `PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Connection: close\r\n`;
    const answer = await server.raw(
      `${head}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
    );
    expect(answer).toContain('501 Not Implemented');
    expect(server.events).toEqual([]);
  });

  it('of which the store wants no more are refused, and the connection is not kept', async () => {
    const socket = await open();
    let closed = false;
    socket.on('close', () => {
      closed = true;
    });
    socket.write(`PUT ${BASE}/none/o HTTP/1.1\r\n${HEAD}Content-Length: 99999999\r\n\r\n`);
    const flood = setInterval(() => socket.write(Buffer.alloc(256 * 1024)), 1);
    await until(() => socket.text.includes('404 Not Found'));
    await until(() => closed);
    clearInterval(flood);
  });

  it('refused early leave the connection usable when the rest is short', async () => {
    const socket = await open();
    socket.write(
      `PUT ${BASE}/none/o HTTP/1.1\r\n${HEAD}Content-Length: 5\r\n\r\nhello` +
        `HEAD ${BASE}/c HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`,
    );
    await until(() => socket.text.includes('204 No Content'));
    expect(socket.text).toContain('404 Not Found');
  });
});

describe('Expect: 100-continue', () => {
  const expecting = (target: string, token = 'owner'): string =>
    `PUT ${target} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: ${token}\r\nContent-Length: 5\r\n` +
    'Expect: 100-continue\r\n\r\n';

  it('is answered when the write can start', async () => {
    const socket = await open();
    socket.write(expecting(`${BASE}/c/o`));
    await until(() => socket.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
    socket.write('hello');
    await until(() => socket.text.includes('201 Created'));
    expect(socket.text.match(/100 Continue/g)).toHaveLength(1);
    socket.destroy();
  });

  it('is ignored of a client of HTTP/1.0, which would take it for the answer', async () => {
    const head = expecting(`${BASE}/c/o`).replace('HTTP/1.1', 'HTTP/1.0');
    expect(await server.raw(`${head}hello`)).toMatch(/^HTTP\/1\.1 201 Created\r\n/);
    expect((await server.ask('GET', `${BASE}/c/o`)).text).toBe('hello');
  });

  it.each<[string, string, string, string]>([
    ['a container that is not there', `${BASE}/none/o`, 'owner', '404 Not Found'],
    ['a caller who may not', `${BASE}/c/o`, 'stranger', '403 Forbidden'],
    ['no token', `${BASE}/c/o`, 'x', '401 Unauthorized'],
  ])(
    'is not for %s: the refusal comes instead, and the end',
    async (_what, target, token, status) => {
      const answer = await server.raw(expecting(target, token));
      expect(answer).toContain(status);
      expect(answer).not.toContain('100 Continue');
    },
  );

  it('goes before a manifest and a bulk delete, too', async () => {
    for (const target of [`${BASE}/c/o?multipart-manifest=put`, `${BASE}?bulk-delete`]) {
      const socket = await open();
      socket.write(expecting(target).replace('PUT /v1/AUTH_p1?', 'POST /v1/AUTH_p1?'));
      await until(() => socket.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
      socket.destroy();
    }
  });
});

describe('downloads', () => {
  const BIG = Buffer.alloc(8_000_000, 'ring');
  const OPERATION = { txn: 'tx', signal: new AbortController().signal, read: 'quorum' } as const;
  const NAME = { account: ACCOUNT, container: 'c', object: 'big' };

  beforeEach(() => putBig());

  const putBig = (): Promise<unknown> =>
    server.store.putObject(OPERATION, NAME, {
      body: (async function* () {
        yield BIG;
      })(),
      length: BIG.length,
      maxLength: BIG.length,
      contentType: 'text/plain',
      user: {},
      system: {},
    });

  it('give all bytes', async () => {
    expect((await server.ask('GET', `${BASE}/c/big`)).body.equals(BIG)).toBe(true);
  });

  it('go at the speed of the client', async () => {
    let pieces = 0;
    server.store.beforePiece = async () => {
      pieces += 1;
    };
    const socket = await open();
    socket.pause();
    socket.write(`GET ${BASE}/c/big HTTP/1.1\r\n${HEAD}\r\n`);
    await until(() => pieces > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(pieces).toBeLessThan(110);
    socket.resume();
    await until(() => socket.text.length > BIG.length);
    socket.destroy();
  });

  it('of a client that takes nothing are cut', async () => {
    await restart(300);
    await putBig();
    const socket = await open();
    socket.pause();
    socket.write(`GET ${BASE}/c/big HTTP/1.1\r\n${HEAD}\r\n`);
    await until(() => server.store.openReads === 1);
    await until(() => server.store.openReads === 0);
    socket.destroy();
  });

  it('release everything when the client leaves', async () => {
    let waiting = (): void => {};
    server.store.beforePiece = (_name, start) =>
      start < 500_000
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting = resolve;
          });
    const socket = await open();
    socket.write(`GET ${BASE}/c/big HTTP/1.1\r\n${HEAD}\r\n`);
    await until(() => socket.text.length > 400_000);
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    waiting();
    await until(() => server.store.openReads === 0);
    await until(() => server.finished.some((request) => request.operation === 'object.get'));
  });

  it('that fail midway break off, and never look whole', async () => {
    server.store.beforePiece = async (_name, start) => {
      if (start > 1_000_000) throw new OperatingError('unavailable', 'no replica left');
    };
    await expect(server.ask('GET', `${BASE}/c/big`)).rejects.toThrow();
    await until(() => server.events.some(({ event }) => event === 'swift.broken-off'));
    expect(server.store.openReads).toBe(0);
  });

  it('that fail at once are told so', async () => {
    server.store.beforePiece = async () => {
      throw new OperatingError('unavailable', 'no replica');
    };
    expect((await server.ask('GET', `${BASE}/c/big`)).status).toBe(503);
  });
});

describe('requests', () => {
  it('with thousands of headers are refused', async () => {
    const headers = Array.from({ length: 4000 }, (_, i) => `X-H${i}: v\r\n`).join('');
    const answer = await server.raw(`GET ${BASE}/c HTTP/1.1\r\n${HEAD}${headers}\r\n`, {
      end: true,
    });
    expect(answer).toContain('400 Bad Request');
    const huge = await server.raw(
      `GET ${BASE}/c HTTP/1.1\r\n${HEAD}X-A: ${'v'.repeat(70_000)}\r\n\r\n`,
    );
    expect(huge).toContain('431');
  });

  it('in one connection are answered in their order', async () => {
    await server.ask('PUT', `${BASE}/c/a`, { body: 'AAA' });
    await server.ask('PUT', `${BASE}/c/b`, { body: 'BBB' });
    const answer = await server.raw(
      `GET ${BASE}/c/a HTTP/1.1\r\n${HEAD}\r\nGET ${BASE}/c/none HTTP/1.1\r\n${HEAD}\r\n` +
        `GET ${BASE}/c/b HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`,
    );
    expect(answer.match(/HTTP\/1\.1 (\d+)/g)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 404',
      'HTTP/1.1 200',
    ]);
    expect(answer.indexOf('AAA')).toBeLessThan(answer.indexOf('BBB'));
  });
});
