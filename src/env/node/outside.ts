/**
 * Requests to places outside of the cluster that its users name: only where the operator's list allows
 * them, and never to a private address unless that is listed, whatever a name resolves to. The address
 * that was checked is the one that is connected to; redirections are not followed.
 *
 *   hooks.example.org       this host, at the usual ports; `*.example.org` for its sub-domains; `*`: any
 *   hooks.example.org:8443  at this port
 *   10.1.2.0/24, 10.1.2.3   addresses: private ones too, at any port
 */
import { lookup as lookupAll } from 'node:dns/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { OperatingError } from '#base/errors.ts';
import { Networks } from '#base/networks.ts';

export interface OutsideRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

interface Address {
  readonly address: string;
  readonly family: number;
}

export type Resolve = (host: string) => Promise<readonly Address[]>;

const TIMEOUT_MS = 10_000;
const MAX_URL = 2048;

/** Not reached by names that somebody outside controls. */
const PRIVATE = new Networks([
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16'],
  ...['198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
]);
/** Of IPv6 only what is routed globally, without what stands for IPv4 addresses. */
const GLOBAL = new Networks(['2000::/3']);
const NOT_GLOBAL = new Networks(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);

export class Outside {
  readonly #allowed: () => readonly string[];
  readonly #resolve: Resolve;

  constructor(
    allowed: () => readonly string[],
    resolve: Resolve = (host) => lookupAll(host, { all: true }),
  ) {
    this.#allowed = allowed;
    this.#resolve = resolve;
  }

  /** As far as the URL tells; where a name leads is looked at when it is used. */
  allows(url: string): boolean {
    const parsed = parse(url);
    return parsed !== undefined && this.#allowsHost(parsed);
  }

  /** The status. @throws OperatingError `not-allowed`, and what the connection fails with */
  async post(url: string, { headers, body }: OutsideRequest, signal: AbortSignal): Promise<number> {
    const target = parse(url);
    if (target === undefined || !this.#allowsHost(target)) throw notAllowed(url);
    const addresses = await this.#addressesOf(target);
    const allowed = addresses.filter(({ address }) => this.#allowsAddress(address));
    const [first] = allowed;
    if (first === undefined || allowed.length < addresses.length) throw notAllowed(url);
    return await post(target, first, headers, body, signal);
  }

  async #addressesOf({ hostname }: URL): Promise<readonly Address[]> {
    const bare = unbracketed(hostname);
    const family = isIP(bare);
    return family === 0 ? await this.#resolve(hostname) : [{ address: bare, family }];
  }

  #allowsHost(url: URL): boolean {
    const host = unbracketed(url.hostname).toLowerCase();
    if (isIP(host) !== 0) return this.#isListed(host);
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return this.#allowed().some((entry) => {
      const [name = '', wanted] = entry.toLowerCase().split(':');
      const isPort = wanted === undefined ? port === '443' || port === '80' : wanted === port;
      const isName =
        name === '*' || (name.startsWith('*.') ? host.endsWith(name.slice(1)) : name === host);
      return isPort && isName;
    });
  }

  #allowsAddress(address: string): boolean {
    return isPublic(address) || this.#isListed(address);
  }

  #isListed(address: string): boolean {
    const networks = this.#allowed().filter((entry) => isIP(entry.split('/')[0]!) !== 0);
    return new Networks(networks).has(address);
  }
}

function parse(url: string): URL | undefined {
  if (url.length > MAX_URL || !URL.canParse(url)) return undefined;
  const parsed = new URL(url);
  const isHttp = parsed.protocol === 'http:' || parsed.protocol === 'https:';
  return isHttp && parsed.username === '' && parsed.password === '' ? parsed : undefined;
}

function unbracketed(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

export function isPublic(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return isPublic(mapped);
  if (isIP(address) === 4) return !PRIVATE.has(address);
  return GLOBAL.has(address) && !NOT_GLOBAL.has(address);
}

function notAllowed(url: string): OperatingError {
  return new OperatingError('not-allowed', "not on the operator's list of receivers", { url });
}

function post(
  url: URL,
  { address, family }: Address,
  headers: Readonly<Record<string, string>>,
  body: string,
  signal: AbortSignal,
): Promise<number> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const options = {
    method: 'POST',
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    // The address that was checked; a second look-up could say another.
    lookup: (
      _host: string,
      { all }: { all?: boolean },
      done: (error: null, address: string | Address[], family?: number) => void,
    ) => (all === true ? done(null, [{ address, family }]) : done(null, address, family)),
  } as const;
  return new Promise((resolve, reject) => {
    const outgoing = send(url, options, (incoming) => {
      const { statusCode = 0 } = incoming;
      // What it says is of no interest, and may be endless.
      incoming.on('error', () => undefined);
      incoming.destroy();
      resolve(statusCode);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
