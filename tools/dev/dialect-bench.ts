/**
 * What a dialect costs per request: `node tools/dev/dialect-bench.ts [seconds] [kind,kind] [operation]`.
 * Server and load generator are two processes; the figure is the server's CPU time, less that of a bare
 * node:http server that reads and answers the same bytes. S3's requests are signed in their headers.
 * With PROFILE=FOLDER each server leaves a CPU profile there.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { startServer as startS3 } from '#api/s3/testing/harness.ts';
import { BASE, startServer as startSwift } from '#api/swift/testing/harness.ts';

const CONNECTIONS = 16;
const WARM_SECONDS = 1;
const BODY = 'x'.repeat(4096);
const HEAD = 'Host: localhost\r\nX-Auth-Token: owner\r\nAccept-Encoding: identity\r\n';
const KINDS = ['bare', 'swift', 's3'] as const;
type Kind = (typeof KINDS)[number];

/** Method, and what of: each is asked again and again. */
const OPERATIONS = {
  put: { method: 'PUT', key: 'o' },
  get: { method: 'GET', key: 'o' },
  head: { method: 'HEAD', key: 'o' },
  missing: { method: 'GET', key: 'none' },
} as const;
type Operation = keyof typeof OPERATIONS;

interface Ready {
  readonly port: number;
  readonly requests: Readonly<Record<Operation, string>>;
}

async function serve(kind: Kind): Promise<void> {
  const ready = await { bare: serveBare, swift: serveSwift, s3: serveS3 }[kind]();
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
  process.on('disconnect', () => process.exit());
  process.send?.(ready);
}

async function serveSwift(): Promise<Ready> {
  const server = await startSwift();
  await server.ask('PUT', `${BASE}/c`);
  await server.ask('PUT', `${BASE}/c/o`, { body: BODY });
  server.finished.push = () => 0;
  return { port: server.port, requests: plainRequests() };
}

async function serveS3(): Promise<Ready> {
  const server = await startS3();
  await server.ask('PUT', '/bucket');
  await server.ask('PUT', '/bucket/o', { body: BODY });
  const requests = eachOperation((operation) => {
    const { method, key } = OPERATIONS[operation];
    const target = `/bucket/${key}`;
    const body = operation === 'put' ? BODY : '';
    const signed = server.signed(method, target, { body });
    const head = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
    return rawRequest(method, target, head.join(''), body);
  });
  return { port: server.port, requests };
}

async function serveBare(): Promise<Ready> {
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
  return { port: (server.address() as AddressInfo).port, requests: plainRequests() };
}

function plainRequests(): Ready['requests'] {
  return eachOperation((operation) => {
    const { method, key } = OPERATIONS[operation];
    return rawRequest(method, `${BASE}/c/${key}`, HEAD, operation === 'put' ? BODY : '');
  });
}

function eachOperation(make: (operation: Operation) => string): Ready['requests'] {
  const names = Object.keys(OPERATIONS) as Operation[];
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Ready['requests'];
}

function rawRequest(method: string, target: string, head: string, body: string): string {
  const length = method === 'PUT' ? `Content-Length: ${body.length}\r\n` : '';
  return `${method} ${target} HTTP/1.1\r\n${head}${length}\r\n${body}`;
}

function answerOf<Answer>(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve) => child.once('message', (answer) => resolve(answer as Answer)));
}

function cpuMicros(child: ChildProcess): Promise<number> {
  const answer = answerOf<number>(child);
  child.send('usage');
  return answer;
}

/** Keeps one request under way on each connection; resolves with how many were answered. */
async function drive({ port, requests }: Ready, operation: Operation, seconds: number) {
  let answered = 0;
  let running = true;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      const request = Buffer.from(requests[operation]);
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

async function measure(seconds: number, kinds: readonly Kind[], operations: readonly Operation[]) {
  for (const operation of operations) {
    let bare: number | undefined;
    for (const kind of kinds) {
      const micros = await costOf(kind, operation, seconds);
      if (kind === 'bare') bare = micros;
      const own =
        bare === undefined || kind === 'bare' ? '' : `, own ${(micros - bare).toFixed(1)}`;
      console.log(`${operation} ${kind}: ${micros.toFixed(1)} µs${own}`);
    }
  }
}

async function costOf(kind: Kind, operation: Operation, seconds: number): Promise<number> {
  const folder = process.env['PROFILE'];
  const flags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${kind}-${operation}`];
  const options = { execArgv: folder === undefined ? [] : flags };
  const child = fork(fileURLToPath(import.meta.url), [kind], options);
  const ready = await answerOf<Ready>(child);
  await drive(ready, operation, WARM_SECONDS);
  const before = await cpuMicros(child);
  const answered = await drive(ready, operation, seconds);
  const micros = ((await cpuMicros(child)) - before) / answered;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.disconnect();
  await exited;
  return micros;
}

function chosen<Name extends string>(text: string | undefined, all: readonly Name[]): Name[] {
  return text === undefined ? [...all] : all.filter((name) => text.split(',').includes(name));
}

if (process.send !== undefined) await serve(process.argv[2] as Kind);
else {
  const [, , seconds, kinds, operations] = process.argv;
  const all = Object.keys(OPERATIONS) as Operation[];
  await measure(Number(seconds ?? 2), chosen(kinds, KINDS), chosen(operations, all));
}
