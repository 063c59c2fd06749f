/** A Swift client of a test's cluster: whole requests by fetch, and raw ones that misbehave. */
import { createHash, randomFillSync } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { availableParallelism, loadavg } from 'node:os';
import { type Cluster, sleep } from './cluster.ts';

const TIMEOUT_MS = 30_000;

export interface RequestOptions {
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

export class Client {
  readonly token: string;
  /** `/v1/AUTH_...` */
  readonly account: string;
  readonly #cluster: Cluster;

  static async logIn(cluster: Cluster): Promise<Client> {
    const { token, url } = await cluster.login();
    return new Client(cluster, token, new URL(url).pathname);
  }

  private constructor(cluster: Cluster, token: string, account: string) {
    this.#cluster = cluster;
    this.token = token;
    this.account = account;
  }

  /** `path` is below the account, such as `/container/object`; `proxy` counts from 0 in site order. */
  async request(
    proxy: number,
    method: string,
    path: string,
    { body, headers, timeoutMs = TIMEOUT_MS }: RequestOptions = {},
  ): Promise<Reply> {
    const response = await fetch(`${this.#cluster.proxies[proxy]}${this.account}${path}`, {
      method,
      headers: { 'x-auth-token': this.token, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const { status } = response;
    return { status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
  }

  /** @throws when it is not acknowledged */
  async put(proxy: number, path: string, body: string | Uint8Array): Promise<void> {
    const { status, body: text } = await this.request(proxy, 'PUT', path, { body });
    if (status !== 201) throw new Error(`PUT ${path} by proxy ${proxy}: ${status} ${text}`);
  }

  /** A connection to a proxy with the head of a request written: what follows is the test's. */
  async open(proxy: number, method: string, path: string, head: readonly string[]): Promise<Raw> {
    const { hostname, port } = new URL(this.#cluster.proxies[proxy]!);
    const socket = connect(Number(port), hostname);
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const lines = [`${method} ${this.account}${path} HTTP/1.1`, `Host: ${hostname}:${port}`];
    socket.write([...lines, `X-Auth-Token: ${this.token}`, ...head, '', ''].join('\r\n'));
    return new Raw(socket);
  }
}

/** One connection, byte by byte. */
class Raw {
  readonly socket: Socket;
  #received = '';
  #ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => (this.#received += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => (this.#ended = true));
  }

  /** The status line's number, or what else happened. */
  async status(withinMs = 10_000): Promise<number | 'closed' | 'silent'> {
    const until = Date.now() + withinMs;
    while (Date.now() < until) {
      const match = /^HTTP\/1\.1 (\d{3})[^\n]*\n/.exec(this.#received);
      if (match !== null) return Number(match[1]);
      if (this.#ended) return 'closed';
      await sleep(20);
    }
    return 'silent';
  }
}

export function md5(bytes: Uint8Array | string): string {
  return createHash('md5').update(bytes).digest('hex');
}

export function noise(length: number): Buffer {
  return randomFillSync(Buffer.allocUnsafe(length));
}

/** Some at a time: what a test does with many objects. */
export async function inParallel<T>(
  items: Iterable<T>,
  work: (item: T) => Promise<void>,
  atOnce = 8,
): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/**
 * How much longer than on a quiet machine things take on one that has more to do than it has cores for:
 * what is promised in seconds holds times this.
 */
export function slowness(): number {
  return Math.max(1, loadavg()[0]! / availableParallelism());
}

/** Asks until it is so; tells what was last seen when it does not become so. */
export async function until<T>(
  what: string,
  ask: () => Promise<T> | T,
  isSo: (value: T) => boolean,
  withinMs = 90_000,
  everyMs = 100,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const value = await ask();
    if (isSo(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what}: still ${JSON.stringify(value)}`);
    await sleep(everyMs);
  }
}
