/** AWS signature version 4, as clients make it: in headers, or in the query of a presigned URL. */
import { createHash, createHmac } from 'node:crypto';
import type { HttpClient, Reply, Request } from './http.ts';

export interface S3Keys {
  readonly accessKey: string;
  readonly secretKey: string;
  readonly region: string;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** RFC 3986, as the signature wants it; slashes of a path stay. */
export function escaped(text: string, keep = ''): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      if (/[A-Za-z0-9_.~-]/.test(char) || keep.includes(char)) return char;
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

type Query = Readonly<Record<string, string>>;

export interface S3Request extends Omit<Request, 'target'> {
  readonly bucket?: string;
  readonly key?: string;
  readonly query?: Query;
  /** Instead of the hash of the body. */
  readonly payload?: string;
}

export class S3Client {
  readonly #http: HttpClient;
  readonly #keys: S3Keys;

  constructor(client: HttpClient, keys: S3Keys) {
    this.#http = client;
    this.#keys = keys;
  }

  get origin(): URL {
    return this.#http.origin;
  }

  send(wanted: S3Request, now = new Date()): Promise<Reply> {
    const { bucket = '', key = '', query = {}, payload, ...request } = wanted;
    const body = request.body ?? Buffer.alloc(0);
    const path = this.#path(bucket, key);
    const hash = payload ?? sha256(body);
    const stamp = stampOf(now);
    const signed: Record<string, string> = {
      ...request.headers,
      host: this.#http.origin.host,
      'x-amz-content-sha256': hash,
      'x-amz-date': stamp,
    };
    const names = Object.keys(signed)
      .filter((name) => name !== 'expect')
      .sort();
    const canonicalHeaders = names.map((name) => `${name}:${signed[name]!.trim()}\n`).join('');
    const list = names.join(';');
    const canonicalQuery = queryText(query);
    const canonical = [request.method, path, canonicalQuery, canonicalHeaders, list, hash];
    const { credential, signature } = this.#sign(stamp, canonical.join('\n'));
    const authorization = `${ALGORITHM} Credential=${credential}, SignedHeaders=${list}, Signature=${signature}`;
    const target = canonicalQuery === '' ? path : `${path}?${canonicalQuery}`;
    return this.#http.send({ ...request, target, headers: { ...signed, authorization } });
  }

  /** GET by a URL alone. */
  presigned(bucket: string, key: string, seconds: number, now = new Date()): Promise<Reply> {
    const path = this.#path(bucket, key);
    const stamp = stampOf(now);
    const query = queryText({
      'X-Amz-Algorithm': ALGORITHM,
      'X-Amz-Credential': `${this.#keys.accessKey}/${this.#scope(stamp)}`,
      'X-Amz-Date': stamp,
      'X-Amz-Expires': String(seconds),
      'X-Amz-SignedHeaders': 'host',
    });
    const headers = `host:${this.#http.origin.host}\n`;
    const canonical = ['GET', path, query, headers, 'host', 'UNSIGNED-PAYLOAD'].join('\n');
    const { signature } = this.#sign(stamp, canonical);
    return this.#http.send({
      method: 'GET',
      target: `${path}?${query}&X-Amz-Signature=${signature}`,
    });
  }

  #path(bucket: string, key: string): string {
    const base = this.#http.origin.pathname.replace(/\/$/, '');
    const rest = bucket === '' ? '/' : `/${bucket}${key === '' ? '' : `/${escaped(key, '/')}`}`;
    return base + rest;
  }

  #scope(stamp: string): string {
    return `${stamp.slice(0, 8)}/${this.#keys.region}/s3/aws4_request`;
  }

  #sign(stamp: string, canonical: string): { credential: string; signature: string } {
    const scope = this.#scope(stamp);
    const text = [ALGORITHM, stamp, scope, sha256(canonical)].join('\n');
    const hmac = (key: string | Buffer, data: string) =>
      createHmac('sha256', key).update(data).digest();
    const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${this.#keys.secretKey}`);
    const credential = `${this.#keys.accessKey}/${scope}`;
    return { credential, signature: hmac(key, text).toString('hex') };
  }
}

function queryText(query: Query): string {
  return Object.entries(query)
    .map(([name, value]) => [escaped(name), escaped(value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function stampOf(now: Date): string {
  return now.toISOString().replace(/[-:]|\.\d{3}/g, '');
}
