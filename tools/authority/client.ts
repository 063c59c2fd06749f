/** The authority's API for verbs: any authority that answers; a change goes on to the leader. */
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { httpsRequest } from '#env/node/https-client.ts';
import { reasonFor } from '../endpoint.ts';
import { type OperatorFile, type OperatorOptions, readOperatorFile } from './operator-file.ts';

const TIMEOUT_MS = 60_000;
const MAX_REPLY_BYTES = 256 * 1024 * 1024;
const MAX_HOPS = 3;
/** Its schemas have refused what the command line said. */
const BAD_REQUEST = 400;

export interface AuthorityOptions extends OperatorOptions {
  readonly endpoint?: string;
  readonly json?: boolean;
}

export function addAuthorityOptions(command: Command): Command {
  return command
    .option('--data <dir>', "the data folder of `anello up`'s cluster", './data')
    .option('--endpoint <url>', "this authority, instead of those of the operator's file")
    .option('--operator <file>', "an operator's file; default DATA/operator.json, then /etc/anello")
    .option('--json', 'machine-readable output');
}

type Method = 'GET' | 'POST' | 'PUT';

export class AuthorityClient {
  readonly #file: OperatorFile;

  constructor(options: AuthorityOptions) {
    const file = readOperatorFile(options);
    const { endpoint } = options;
    if (endpoint !== undefined && URL.parse(endpoint) === null)
      throw new OperatingError('wrong-use', `--endpoint ${endpoint}: not a URL`);
    this.#file =
      endpoint === undefined ? file : { ...file, authorities: [endpoint.replace(/\/$/, '')] };
  }

  get file(): OperatorFile {
    return this.#file;
  }

  get<Reply>(path: string): Promise<Reply> {
    return this.#ask('GET', path, undefined) as Promise<Reply>;
  }

  /** What comes is no JSON. */
  async getBytes(path: string): Promise<Buffer> {
    return (await this.#answer('GET', path, undefined)).body;
  }

  post<Reply>(path: string, body: unknown): Promise<Reply> {
    return this.#ask('POST', path, body) as Promise<Reply>;
  }

  put<Reply>(path: string, body: unknown): Promise<Reply> {
    return this.#ask('PUT', path, body) as Promise<Reply>;
  }

  async #ask(method: Method, path: string, body: unknown): Promise<unknown> {
    const text = (await this.#answer(method, path, body)).body.toString();
    return text === '' ? {} : JSON.parse(text);
  }

  /** @throws OperatingError with the authority's code, or `no-authority` when none answers */
  async #answer(method: Method, path: string, body: unknown): Promise<Answer> {
    const failures: string[] = [];
    for (const authority of this.#file.authorities) {
      let url = `${authority}${path}`;
      try {
        for (let hop = 0; hop < MAX_HOPS; hop += 1) {
          const reply = await this.#once(method, url, body);
          if (reply.location === undefined) return accepted(reply);
          url = reply.location;
        }
        failures.push(`${authority}: sent from one to the other`);
      } catch (error) {
        if (error instanceof Refused) throw error.reason;
        failures.push(`${authority}: ${reasonFor(error)}`);
      }
    }
    throw new OperatingError('no-authority', `no authority answers: ${failures.join('; ')}`);
  }

  async #once(method: Method, url: string, body: unknown): Promise<Answer> {
    const { token, ca } = this.#file;
    const headers = { authorization: `Bearer ${token}` };
    const text = body === undefined ? undefined : JSON.stringify(body);
    if (ca === undefined) return plain(method, url, headers, text);
    const reply = await httpsRequest(url, {
      method,
      headers,
      ...(text !== undefined && { body: text }),
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_REPLY_BYTES,
      tls: { key: '', certificate: '', authority: ca },
      role: 'authority',
    });
    const { location } = reply.headers;
    return {
      status: reply.status,
      body: reply.body,
      location: typeof location === 'string' ? location : undefined,
    };
  }
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly location: string | undefined;
}

async function plain(
  method: Method,
  url: string,
  headers: Record<string, string>,
  body: string | undefined,
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers,
    ...(body !== undefined && { body }),
    redirect: 'manual',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const location = response.headers.get('location') ?? undefined;
  return { status: response.status, body: Buffer.from(await response.arrayBuffer()), location };
}

/** The authority has understood and said no: another one would say the same. */
class Refused extends Error {
  readonly reason: OperatingError;

  constructor(reason: OperatingError) {
    super(reason.message);
    this.reason = reason;
  }
}

function accepted(answer: Answer): Answer {
  const { status, body } = answer;
  if (status < 300) return answer;
  const { code = 'internal', message = `status ${status}` } = refusalOf(body);
  if (status >= 500) throw new OperatingError(code, message);
  throw new Refused(new OperatingError(status === BAD_REQUEST ? 'wrong-use' : code, message));
}

/** Something that is no authority may answer anything. */
function refusalOf(body: Buffer): { readonly code?: string; readonly message?: string } {
  try {
    return JSON.parse(body.toString()) as Record<string, string>;
  } catch {
    return { message: 'not an answer of an authority' };
  }
}
