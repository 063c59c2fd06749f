/** One request as a client library would send it: raw target, own headers, `Expect`, chunked bodies. */
import http from 'node:http';
import https from 'node:https';
import { OperatingError } from '#base/errors.ts';

const TIMEOUT_MS = 60_000;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

export interface Request {
  readonly method: string;
  /** Escaped, with the query. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** In pieces, without a length. */
  readonly chunked?: boolean;
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly text: string;
  /** Whether the server said `100 Continue`. */
  readonly continued: boolean;
}

export interface Trust {
  /** PEM of authorities besides the system's. */
  readonly ca?: string;
  readonly insecure?: boolean;
}

/** Sends to one origin. */
export class HttpClient {
  readonly origin: URL;
  readonly #trust: Trust;

  constructor(origin: string, trust: Trust) {
    const url = URL.parse(origin);
    if (url === null || !/^https?:$/.test(url.protocol))
      throw new OperatingError('wrong-use', `${origin}: not an http or https URL`);
    this.origin = url;
    this.#trust = trust;
  }

  send(wanted: Request): Promise<Reply> {
    const { method, target, headers = {}, body = Buffer.alloc(0), chunked = false } = wanted;
    const secure = this.origin.protocol === 'https:';
    const options = {
      method,
      host: this.origin.hostname.replace(/^\[|\]$/g, ''),
      port: this.origin.port || (secure ? 443 : 80),
      path: target,
      headers: { ...headers, ...(!chunked && lengthOf(method, body)) },
      agent: false as const,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(secure && this.#trust.ca !== undefined && { ca: this.#trust.ca }),
      ...(secure && this.#trust.insecure && { rejectUnauthorized: false }),
    };
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? https : http).request(options);
      let continued = false;
      const write = (): void => {
        if (chunked)
          for (let at = 0; at < body.length; at += 65_536)
            outgoing.write(body.subarray(at, at + 65_536));
        outgoing.end(chunked ? undefined : body);
      };
      outgoing.once('continue', () => {
        continued = true;
        write();
      });
      outgoing.once('response', (incoming) => {
        collect(incoming).then((bytes) => resolve(replyOf(incoming, bytes, continued)), reject);
      });
      outgoing.once('error', reject);
      if (headers['expect'] === undefined) write();
      else outgoing.flushHeaders();
    });
  }
}

function lengthOf(method: string, body: Buffer): Record<string, string> {
  const has = body.length > 0 || method === 'PUT' || method === 'POST';
  return has ? { 'content-length': String(body.length) } : {};
}

async function collect(incoming: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of incoming as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > MAX_REPLY_BYTES) throw new OperatingError('too-large', 'the answer is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function replyOf(incoming: http.IncomingMessage, body: Buffer, continued: boolean): Reply {
  const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: incoming.statusCode ?? 0,
    headers: Object.fromEntries(headers),
    body,
    text: body.toString(),
    continued,
  };
}
