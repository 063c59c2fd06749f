/**
 * Cross-origin requests, as a container's metadata allows them:
 * X-Container-Meta-Access-Control-Allow-Origin (`*` or origins, separated by spaces), -Max-Age and
 * -Expose-Headers.
 */
import type { ContainerInfo } from '#proxy/contract.ts';
import { latin1FromUtf8 } from '../http/utf8.ts';
import type { SwiftRequest } from './request.ts';

const PREFIX = 'x-container-meta-access-control-';
const EXPOSED = [
  'cache-control',
  'content-language',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
  'etag',
  'x-timestamp',
  'x-trans-id',
  'x-openstack-request-id',
];

const METADATA = /^x-(?:container|object)-meta-/i;

export interface CorsRules {
  readonly origins: readonly string[];
  readonly exposed: readonly string[];
  readonly maxAge: string | undefined;
}

export function corsRules(info: ContainerInfo): CorsRules {
  const words = (name: string): string[] =>
    (info.headers[PREFIX + name] ?? '').split(/[\s,]+/).filter((word) => word !== '');
  return {
    origins: words('allow-origin'),
    exposed: words('expose-headers'),
    maxAge: info.headers[`${PREFIX}max-age`],
  };
}

export function originAllowed(rules: CorsRules, origin: string): boolean {
  return rules.origins.includes('*') || rules.origins.includes(origin);
}

/** Adds what a browser needs to see to the answer, whatever that will be. */
export async function addCorsHeaders(request: SwiftRequest): Promise<void> {
  const origin = request.header('origin');
  const name = request.containerName;
  if (origin === undefined || name.container === '') return;
  const info = await request.service.store.containerInfo(request, name, false);
  if (info === undefined) return;
  const rules = corsRules(info);
  if (!originAllowed(rules, origin)) return;
  const anyone = rules.origins.includes('*');
  request.extraHeaders.push('Access-Control-Allow-Origin', anyone ? '*' : origin);
  if (!anyone) request.extraHeaders.push('Vary', 'Origin');
  request.exposed = [...EXPOSED, ...rules.exposed];
}

/** What scripts of other origins may see of an answer: what is named, and all metadata in it. */
export function exposedHeaders(named: readonly string[], answer: readonly string[]): string {
  const metadata = answer.filter((text, i) => i % 2 === 0 && METADATA.test(text));
  const names = [...named, ...metadata].map((name) => name.toLowerCase());
  return latin1FromUtf8([...new Set(names)].join(', '));
}
