/**
 * A small Keystone client for the verbs that manage identity. It logs in with what `anello up` wrote
 * to DIR/access.json, or at `--endpoint URL` with OpenStack's variables (OS_USERNAME, OS_PASSWORD,
 * OS_PROJECT_NAME), and goes on to the next proxy when one is dead.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';

const TIMEOUT_MS = 15_000;

export interface IdentityOptions {
  readonly data: string;
  readonly endpoint?: string;
  readonly json?: boolean;
}

export function addIdentityOptions(command: Command): Command {
  return command
    .option('--data <dir>', "the cluster's data folder (reads access.json there)", './data')
    .option(
      '--endpoint <url>',
      'identity at URL instead, with OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME',
    )
    .option('--json', 'machine-readable output');
}

interface Access {
  readonly urls: readonly string[];
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
}

const accessFile = z.object({
  swift: z.object({ storageUrls: z.array(z.string()).default([]) }),
  keystone: z.object({
    url: z.string(),
    domain: z.string(),
    project: z.string(),
    user: z.string(),
    password: z.string(),
  }),
});

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export class IdentityClient {
  readonly #access: Access;
  #base: string | undefined;
  #token = '';
  #storage = '';

  constructor(options: IdentityOptions) {
    this.#access =
      options.endpoint === undefined
        ? accessOfFolder(options.data)
        : accessOfEndpoint(options.endpoint);
  }

  /** @throws OperatingError with the server's message; `not-found` for 404, `conflict` for 409 */
  async call(method: string, target: string, body?: unknown): Promise<unknown> {
    if (this.#base === undefined) await this.#logIn();
    const answer = await send(`${this.#base}${target}`, method, body, {
      'X-Auth-Token': this.#token,
    });
    if (answer.status >= 400) throw failure(answer);
    return answer.body;
  }

  /** The one item of a list with this name. */
  async find(
    what: 'project' | 'user' | 'role',
    name: string,
  ): Promise<{ id: string; name: string }> {
    const query = `?name=${encodeURIComponent(name)}`;
    const list = listOf(await this.call('GET', `/${what}s${query}`), `${what}s`, namedSchema);
    if (list.length > 1)
      throw new OperatingError('ambiguous', `several domains have a ${what} ${name}`);
    const [found] = list;
    if (found === undefined) throw new OperatingError('not-found', `no such ${what}: ${name}`);
    return found;
  }

  /**
   * A request for an account, of a project or of a user, where the catalogue says that objects are.
   * @throws OperatingError `refused` for who does not own all accounts
   */
  async account(
    method: 'HEAD' | 'POST',
    account: string,
    headers: Record<string, string> = {},
  ): Promise<Headers> {
    if (this.#base === undefined) await this.#logIn();
    const url = this.#storage.replace(/AUTH_[^/]*$/, account);
    if (url === '') throw new OperatingError('not-found', 'the catalogue names no object store');
    const response = await fetch(url, {
      method,
      headers: { ...headers, 'X-Auth-Token': this.#token },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return response.headers;
    const needs = response.status === 403 ? ': this needs the role ResellerAdmin' : '';
    throw new OperatingError('refused', `the object store answers ${response.status}${needs}`);
  }

  async #logIn(): Promise<void> {
    let last: unknown;
    for (const base of this.#access.urls) {
      try {
        await this.#logInAt(base);
        this.#base = base;
        return;
      } catch (error) {
        if (error instanceof OperatingError && error.code !== 'unreachable') throw error;
        last = error;
      }
    }
    throw last ?? new OperatingError('unreachable', 'no identity endpoint is known');
  }

  async #logInAt(base: string): Promise<void> {
    const { user, password, project, domain } = this.#access;
    const where = { name: domain };
    const auth = {
      identity: {
        methods: ['password'],
        password: { user: { name: user, domain: where, password } },
      },
      scope: { project: { name: project, domain: where } },
    };
    const { status, body, token } = await send(`${base}/auth/tokens`, 'POST', { auth });
    if (status !== 201 || token === null) throw failure({ status, body });
    this.#token = token;
    this.#storage = storageUrlOf(body) ?? '';
  }
}

async function send(
  url: string,
  method: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer & { readonly token: string | null }> {
  try {
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    const token = response.headers.get('x-subject-token');
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text), token };
  } catch (cause) {
    throw new OperatingError(
      'unreachable',
      `identity at ${new URL(url).origin} does not answer: ${messageOf(cause)}`,
      {},
      { cause },
    );
  }
}

const catalogueSchema = z.object({
  token: z.object({
    catalog: z.array(
      z.object({
        type: z.string(),
        endpoints: z.array(z.object({ interface: z.string(), url: z.string() })),
      }),
    ),
  }),
});

/** Of the region that comes first: the proxy's own. */
function storageUrlOf(body: unknown): string | undefined {
  const parsed = catalogueSchema.safeParse(body);
  const service = parsed.data?.token.catalog.find(({ type }) => type === 'object-store');
  return service?.endpoints.find((endpoint) => endpoint.interface === 'public')?.url;
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

function failure({ status, body }: Answer): OperatingError {
  const parsed = errorSchema.safeParse(body);
  const message = parsed.success ? parsed.data.error.message : `identity answered ${status}`;
  const code = { 401: 'unauthorized', 404: 'not-found', 409: 'conflict' }[status] ?? 'refused';
  return new OperatingError(code, message, { status });
}

export const namedSchema = z.object({ id: z.string(), name: z.string() });

/** The list `name` of an answer. @throws OperatingError `bad-answer` */
export function listOf<Item>(answer: unknown, name: string, schema: z.ZodType<Item>): Item[] {
  return fieldOf(answer, name, z.array(schema));
}

export function fieldOf<Value>(answer: unknown, name: string, schema: z.ZodType<Value>): Value {
  const parsed = z.record(z.string(), z.unknown()).safeParse(answer);
  const value = schema.safeParse(parsed.success ? parsed.data[name] : undefined);
  if (!value.success) throw new OperatingError('bad-answer', `identity's answer has no ${name}`);
  return value.data;
}

function accessOfFolder(folder: string): Access {
  const file = path.join(folder, 'access.json');
  if (!existsSync(file)) {
    throw new OperatingError(
      'no-cluster',
      `no cluster in ${folder}: start one with "anello up --data ${folder}"`,
    );
  }
  const parsed = accessFile.safeParse(JSON.parse(readFileSync(file, 'utf8')));
  if (!parsed.success)
    throw new OperatingError('no-cluster', `${file} is not what "anello up" writes`);
  const { keystone, swift } = parsed.data;
  const others = swift.storageUrls.map((url) => `${new URL(url).origin}/v3`);
  return { ...keystone, urls: [...new Set([keystone.url.replace(/\/$/, ''), ...others])] };
}

function accessOfEndpoint(endpoint: string): Access {
  const url = URL.parse(endpoint);
  if (url === null) throw new OperatingError('wrong-use', `not a URL: ${endpoint}`);
  const base = `${url.origin}${url.pathname.replace(/\/(v3\/?)?$/, '')}/v3`;
  const variable = (name: string): string => {
    const value = process.env[name];
    if (!value) throw new OperatingError('wrong-use', `--endpoint needs the variable ${name}`);
    return value;
  };
  return {
    urls: [base],
    user: variable('OS_USERNAME'),
    password: variable('OS_PASSWORD'),
    project: variable('OS_PROJECT_NAME'),
    domain: process.env['OS_USER_DOMAIN_NAME'] || 'Default',
  };
}
