/**
 * What this layer costs per request: `node src/api/swift/testing/load.ts [seconds]`. Server and load
 * generator are two processes; the figure is the server's CPU time, less that of a bare node:http
 * server that reads and answers the same bytes.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { BASE, startServer } from './harness.ts';

const CONNECTIONS = 16;
const BODY = 'x'.repeat(4096);
const HEAD = 'Host: localhost\r\nX-Auth-Token: owner\r\nAccept-Encoding: identity\r\n';
const REQUESTS: Readonly<Record<string, string>> = {
  put: `PUT ${BASE}/c/o HTTP/1.1\r\n${HEAD}Content-Length: ${BODY.length}\r\n\r\n${BODY}`,
  get: `GET ${BASE}/c/o HTTP/1.1\r\n${HEAD}\r\n`,
  head: `HEAD ${BASE}/c/o HTTP/1.1\r\n${HEAD}\r\n`,
  missing: `GET ${BASE}/c/none HTTP/1.1\r\n${HEAD}\r\n`,
};

interface Usage {
  readonly port: number;
  readonly cpuMicros: number;
}

async function serve(kind: string): Promise<void> {
  const port = kind === 'bare' ? await serveBare() : await serveSwift();
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.({ port, cpuMicros: user + system } satisfies Usage);
  });
  process.send?.('ready');
}

async function serveSwift(): Promise<number> {
  const server = await startServer();
  await server.ask('PUT', `${BASE}/c`);
  await server.ask('PUT', `${BASE}/c/o`, { body: BODY });
  server.finished.push = () => 0;
  return server.port;
}

async function serveBare(): Promise<number> {
  const body = Buffer.from(BODY);
  const server = createServer((request, response) => {
    if (request.method === 'PUT') {
      request.on('data', () => {});
      request.on('end', () => {
        response.writeHead(201, ['Content-Length', '0']);
        response.end();
      });
      return;
    }
    response.writeHead(200, ['Content-Length', String(body.length)]);
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function usageOf(child: ChildProcess): Promise<Usage> {
  return new Promise((resolve) => {
    child.once('message', (usage) => resolve(usage as Usage));
    child.send('usage');
  });
}

/** Keeps one request under way on each connection; resolves with how many were answered. */
async function drive(port: number, operation: string, seconds: number): Promise<number> {
  let answered = 0;
  let running = true;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      const request = Buffer.from(REQUESTS[operation]!);
      let pending = -1;
      let text = '';
      socket.setNoDelay(true);
      socket.on('error', reject);
      socket.on('close', () => resolve());
      socket.on('data', (chunk) => {
        if (pending < 0) {
          text += chunk.toString('latin1');
          const end = text.indexOf('\r\n\r\n');
          if (end < 0) return;
          const length =
            operation === 'head' ? 0 : Number(/content-length: (\d+)/i.exec(text)?.[1]);
          pending = length - (text.length - end - 4);
          text = '';
        } else {
          pending -= chunk.length;
        }
        if (pending > 0) return;
        pending = -1;
        answered += 1;
        if (running) socket.write(request);
        else socket.end();
      });
      socket.write(request);
    });
  const all = Promise.all(Array.from({ length: CONNECTIONS }, one));
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  running = false;
  await all;
  return answered;
}

async function measure(seconds: number): Promise<void> {
  const self = fileURLToPath(import.meta.url);
  for (const operation of Object.keys(REQUESTS)) {
    const cost: Record<string, number> = {};
    for (const kind of ['bare', 'swift']) {
      const child = fork(self, [kind]);
      await new Promise((resolve) => child.once('message', resolve));
      const { port } = await usageOf(child);
      await drive(port, operation, 0.5);
      const before = await usageOf(child);
      const answered = await drive(port, operation, seconds);
      const after = await usageOf(child);
      child.kill();
      cost[kind] = (after.cpuMicros - before.cpuMicros) / answered;
      console.log(
        operation,
        kind,
        Math.round(answered / seconds),
        '/s',
        cost[kind].toFixed(1),
        'us',
      );
    }
    console.log(operation, 'this layer', (cost['swift']! - cost['bare']!).toFixed(1), 'us');
  }
}

const [, , argument] = process.argv;
if (argument === 'bare' || argument === 'swift') await serve(argument);
else await measure(Number(argument ?? 2));
