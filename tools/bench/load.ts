/**
 * The load generator: N connections, each sending its next request when the last was answered. Plain
 * sockets and pre-built requests, because a client library would take more CPU than the store it measures.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface LoadPlan {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Requests per connection at the most; 0: as many as fit into the time. */
  readonly requests?: number;
  readonly method: 'PUT' | 'GET' | 'HEAD' | 'DELETE';
  /** `%` stands for a key: sequential per run (PUT, DELETE), random below `keys`, or those in turn. */
  readonly path: string;
  readonly keys: number;
  readonly order: 'sequential' | 'random' | 'cyclic';
  readonly bodyBytes: number;
  readonly headers: Readonly<Record<string, string>>;
  /** All connections together, at the most; absent: no limit. */
  readonly total?: number;
  /** A file of request heads made beforehand (one that is signed covers its path), used in turn. */
  readonly heads?: string;
  /** HTTPS, with the system's authorities and these (PEM). */
  readonly tls?: { readonly ca?: string; readonly insecure?: boolean };
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly bytesReceived: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly errors: number;
}

/** Answers of one connection are counted by their length only. */
class Connection {
  readonly #run: Run;
  readonly #socket: Socket;
  #head = '';
  /** Body bytes still to come; -1: in the head. */
  #remaining = -1;
  #status = 0;
  #sentAt = 0;
  #left: number;

  constructor(run: Run) {
    this.#run = run;
    this.#left = run.plan.requests ?? 0;
    this.#socket = socketTo(run.plan, () => this.#send());
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on('error', () => run.onError());
    this.#socket.on('close', () => run.onClosed());
  }

  #send(): void {
    const limited = (this.#run.plan.requests ?? 0) > 0;
    if (this.#run.isOver || (limited && this.#left-- <= 0)) {
      this.#socket.destroy();
      return;
    }
    this.#head = '';
    this.#remaining = -1;
    this.#sentAt = performance.now();
    const { head, body } = this.#run.nextRequest();
    if (body.length <= 65_536 || body.length === 0)
      this.#socket.write(body.length > 0 ? Buffer.concat([head, body]) : head);
    else this.#stream(head, body);
  }

  #stream(head: Buffer, body: Buffer): void {
    this.#socket.write(head);
    const total = this.#run.plan.bodyBytes;
    let sent = 0;
    const more = (): void => {
      while (sent < total) {
        const chunk = body.subarray(0, Math.min(body.length, total - sent));
        sent += chunk.length;
        if (!this.#socket.write(chunk)) {
          this.#socket.once('drain', more);
          return;
        }
      }
    };
    more();
  }

  #onData(chunk: Buffer): void {
    this.#run.bytes += chunk.length;
    let at = 0;
    while (at < chunk.length) {
      if (this.#remaining < 0) at = this.#readHead(chunk, at);
      else {
        const take = Math.min(this.#remaining, chunk.length - at);
        this.#remaining -= take;
        at += take;
      }
      if (this.#remaining === 0) this.#onAnswer();
    }
  }

  /** @returns where the body starts in `chunk`, or its length when the head goes on. */
  #readHead(chunk: Buffer, at: number): number {
    const before = this.#head.length;
    this.#head += chunk.toString('latin1', at);
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return chunk.length;
    this.#status = Number(this.#head.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(this.#head.slice(0, end + 2));
    this.#remaining = this.#run.plan.method === 'HEAD' ? 0 : Number(length?.[1] ?? 0);
    return at + end + 4 - before;
  }

  #onAnswer(): void {
    this.#remaining = -1;
    this.#run.onAnswer(performance.now() - this.#sentAt, this.#status);
    this.#send();
  }
}

function socketTo({ host, port, tls }: LoadPlan, ready: () => void): Socket {
  if (tls === undefined) return connect({ host, port, noDelay: true }, ready);
  const { ca, insecure } = tls;
  const options = { ...(ca !== undefined && { ca }), rejectUnauthorized: insecure !== true };
  return connectTls({ host, port, servername: host, ...options }, ready);
}

class Run {
  readonly plan: LoadPlan;
  readonly startedAt = performance.now();
  readonly endsAt: number;
  bytes = 0;
  #next = 0;
  #sent = 0;
  #open: number;
  #errors = 0;
  readonly #latencies: number[] = [];
  readonly #body: Buffer;
  readonly #headers: string;
  readonly #heads: readonly Buffer[] | undefined;
  readonly #done: (result: LoadResult) => void;

  constructor(plan: LoadPlan, done: (result: LoadResult) => void) {
    this.plan = plan;
    this.endsAt = this.startedAt + plan.seconds * 1000;
    this.#open = plan.connections;
    this.#done = done;
    this.#body = Buffer.alloc(Math.min(plan.bodyBytes, 1024 * 1024), 'anello benchmark body ');
    const length = plan.method === 'PUT' ? [`Content-Length: ${plan.bodyBytes}`] : [];
    const all = [
      `Host: ${plan.host}:${plan.port}`,
      ...length,
      ...Object.entries(plan.headers).map(([k, v]) => `${k}: ${v}`),
    ];
    this.#headers = ` HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n`;
    this.#heads = plan.heads === undefined ? undefined : readHeads(plan.heads);
  }

  start(): void {
    for (let n = 0; n < this.plan.connections; n += 1) new Connection(this);
  }

  get isOver(): boolean {
    const { total = Number.POSITIVE_INFINITY } = this.plan;
    return this.#sent >= total || performance.now() >= this.endsAt;
  }

  get answered(): number {
    return this.#latencies.length;
  }

  nextRequest(): { head: Buffer; body: Buffer } {
    this.#sent += 1;
    const n = this.#nextKey();
    const made = this.#heads?.[n % this.#heads.length];
    if (made !== undefined) return { head: made, body: this.#body };
    const path = this.plan.path.replace('%', String(n).padStart(7, '0'));
    return {
      head: Buffer.from(`${this.plan.method} ${path}${this.#headers}`, 'latin1'),
      body: this.#body,
    };
  }

  #nextKey(): number {
    const { order, keys } = this.plan;
    if (order === 'random') return Math.floor(Math.random() * keys);
    const n = this.#next++;
    return order === 'cyclic' ? n % keys : n;
  }

  onAnswer(ms: number, status: number): void {
    this.#latencies.push(ms);
    if (status >= 400) this.#errors += 1;
  }

  onError(): void {
    this.#errors += 1;
  }

  onClosed(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    const seconds = (performance.now() - this.startedAt) / 1000;
    const sorted = Float64Array.from(this.#latencies).sort();
    const at = (share: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    this.#done({
      requests: sorted.length,
      seconds,
      perSecond: sorted.length / seconds,
      bytesReceived: this.bytes,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      p999Ms: at(0.999),
      errors: this.#errors,
    });
  }
}

function readHeads(file: string): Buffer[] {
  const texts = readFileSync(file, 'latin1').split(HEAD_END);
  return texts.filter((text) => text !== '').map((text) => Buffer.from(text + HEAD_END, 'latin1'));
}

const HEAD_END = '\r\n\r\n';

/** `progress` is told twice a second how many requests were answered. */
export function runLoad(
  plan: LoadPlan,
  progress?: (answered: number) => void,
): Promise<LoadResult> {
  return new Promise((resolve) => {
    const run = new Run(plan, (result) => {
      clearInterval(timer);
      resolve(result);
    });
    const timer = progress && setInterval(() => progress(run.answered), PROGRESS_MS);
    run.start();
  });
}

const PROGRESS_MS = 500;
