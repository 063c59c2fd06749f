/** An account of Swift, and the two ways to log in to it. */
import { expectStatus, Wrong } from './examination.ts';
import { HttpClient, type Reply, type Request, type Trust } from './http.ts';
import { escaped } from './sigv4.ts';

export interface SwiftLogin {
  readonly auth: string;
  readonly user: string;
  readonly key: string;
}

export interface KeystoneLogin {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
  readonly domain: string;
  readonly region: string | undefined;
}

/** An account, with a token. */
export class Account {
  readonly url: URL;
  readonly token: string;
  readonly #http: HttpClient;
  readonly #base: string;

  constructor(storageUrl: string, token: string, trust: Trust) {
    this.#http = new HttpClient(storageUrl, trust);
    this.#base = this.#http.origin.pathname.replace(/\/$/, '');
    this.url = this.#http.origin;
    this.token = token;
  }

  /** `name`: container, or container/object, unescaped. */
  send(
    method: string,
    name: string,
    { query = '', headers = {}, ...rest }: Partial<Request> & { readonly query?: string } = {},
  ): Promise<Reply> {
    const path = name === '' ? '' : `/${escaped(name, '/')}`;
    const target = `${this.#base}${path}${query === '' ? '' : `?${query}`}`;
    return this.#http.send({
      ...rest,
      method,
      target,
      headers: { ...headers, 'x-auth-token': this.token },
    });
  }

  async clear(container: string, names: readonly string[]): Promise<void> {
    for (const name of names) await this.send('DELETE', `${container}/${name}`);
    await this.send('DELETE', container);
  }
}

export async function logInV1({ auth, user, key }: SwiftLogin, trust: Trust): Promise<Account> {
  const http = new HttpClient(auth, trust);
  const headers = { 'x-auth-user': user, 'x-auth-key': key };
  const reply = await http.send({ method: 'GET', target: http.origin.pathname, headers });
  expectStatus(reply, 200, 204);
  const { 'x-storage-url': url, 'x-auth-token': token } = reply.headers;
  if (url === undefined || token === undefined) throw new Wrong('no X-Storage-Url or no token');
  return new Account(url, token, trust);
}

export async function logInV3(login: KeystoneLogin, trust: Trust): Promise<Account> {
  const { url, user, password, project, domain, region } = login;
  const http = new HttpClient(url, trust);
  const where = { name: domain };
  const auth = {
    identity: {
      methods: ['password'],
      password: { user: { name: user, domain: where, password } },
    },
    scope: { project: { name: project, domain: where } },
  };
  const body = Buffer.from(JSON.stringify({ auth }));
  const target = `${http.origin.pathname.replace(/\/$/, '')}/auth/tokens`;
  const headers = { 'content-type': 'application/json', accept: 'application/json' };
  const reply = expectStatus(await http.send({ method: 'POST', target, headers, body }), 201);
  const token = reply.headers['x-subject-token'];
  if (token === undefined) throw new Wrong('no X-Subject-Token');
  const storage = storageOf(JSON.parse(reply.text), region);
  if (storage === undefined) throw new Wrong('the catalogue has no public object-store endpoint');
  return new Account(storage, token, trust);
}

interface Catalogue {
  readonly token?: {
    readonly catalog?: readonly {
      readonly type: string;
      readonly endpoints: readonly { interface: string; region?: string; url: string }[];
    }[];
  };
}

function storageOf({ token }: Catalogue, region: string | undefined): string | undefined {
  const service = token?.catalog?.find(({ type }) => type === 'object-store');
  const isWanted = (endpoint: { interface: string; region?: string }): boolean =>
    endpoint.interface === 'public' && (region === undefined || endpoint.region === region);
  return service?.endpoints.find(isWanted)?.url;
}
