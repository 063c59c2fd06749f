/** What any client may do to a listener of ours, byte by byte. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionLimits } from './descriptors.ts';
import { type HttpListener, serveHttp } from './http-server.ts';

const DOCUMENT_MS = 200;
const CONNECTIONS = 3;

let listener: HttpListener;
let port: number;

beforeAll(async () => {
  const app = new Hono();
  app.get('/where', (context) => context.text(new URL(context.req.url).pathname));
  app.post('/document', async (context) => context.text((await context.req.text()).toUpperCase()));
  app.onError((_, context) => context.text('it broke off', 400));
  listener = await serveHttp({ host: '127.0.0.1', port: 0 }, { app }, undefined, {
    documentTimeoutMs: DOCUMENT_MS,
    connections: CONNECTIONS,
  });
  const address = listener.server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});

afterAll(() => listener.close(0));

/** All that is answered until the server closes the connection. */
async function answersTo(text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  return received;
}

function post(head: string, body: string): string {
  return `POST /document HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${head}\r\n\r\n${body}`;
}

describe('a document', () => {
  it('that comes is read', async () => {
    expect(await answersTo(post('Content-Length: 5', 'hello'))).toMatch(/ 200 [\s\S]*HELLO$/);
  });

  it.each(['Expect: 200', 'Expect:', 'Expect: 100-continue'])('is read after %s', async (line) => {
    const answer = await answersTo(post(`${line}\r\nContent-Length: 5`, 'hello'));
    expect(answer).toMatch(/ 200 [\s\S]*HELLO$/);
  });

  it.each([
    ['of a length', 'Content-Length: 100'],
    ['in chunks', 'Transfer-Encoding: chunked'],
  ])('%s that stops coming is 408, and its connection ends', async (_, head) => {
    expect(await answersTo(post(head, '5\r\nhello'))).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe('an absolute target', () => {
  it.each(['http://x/where', 'http://user:word@x:99999/where', 'http:///where'])(
    '%s is its path',
    async (target) => {
      const answer = await answersTo(
        `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      );
      expect(answer).toMatch(/ 200 [\s\S]*\/where$/);
    },
  );

  it('that has none is the root', async () => {
    const answer = await answersTo('GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
  });
});

describe('connections', () => {
  it('above the limit are closed, and those below it served', async () => {
    const request = 'GET /where HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    await untilHeld(0);
    const held = Array.from({ length: CONNECTIONS }, () => connect(port, '127.0.0.1'));
    await untilHeld(CONNECTIONS);
    expect(await answersTo(request)).toBe('');
    held.pop()!.destroy();
    await untilHeld(CONNECTIONS - 1);
    expect(await answersTo(request)).toMatch(/ 200 [\s\S]*\/where$/);
    for (const socket of held) socket.destroy();
  });

  it('leave at least a quarter of all descriptors to the devices', () => {
    for (const descriptors of [1024, 20_000, 262_144]) {
      const { proxy, other } = connectionLimits(descriptors);
      expect(proxy + 4 * other).toBeLessThanOrEqual(descriptors * 0.75);
      expect(other).toBeGreaterThan(50);
    }
  });
});

async function untilHeld(count: number): Promise<void> {
  for (;;) {
    const held = await new Promise<number>((resolve, reject) => {
      listener.server.getConnections((error, open) => (error ? reject(error) : resolve(open)));
    });
    if (held === count) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
