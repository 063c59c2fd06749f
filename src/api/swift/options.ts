/** OPTIONS: what a resource takes, and the answer to a browser's preflight. No token is needed. */
import { challenge } from './access.ts';
import { corsRules, originAllowed } from './cors.ts';
import { page } from './errors.ts';
import type { Resource } from './metadata.ts';
import { allowedMethods } from './methods.ts';
import { reply } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function options(request: SwiftRequest, resource: Resource): Promise<void> {
  const methods = allowedMethods(resource, request.service.accountManagement);
  const headers = ['Allow', methods, 'Content-Type', page(200).contentType];
  const origin = request.header('origin');
  if (origin === undefined) return reply(request, 200, headers);
  const more = await preflight(request, origin, methods);
  if (more !== undefined) return reply(request, 200, [...headers, ...more]);
  reply(request, 401, [...headers, ...challenge(request)]);
}

/** Undefined: this origin, or this method, is not allowed. */
async function preflight(
  request: SwiftRequest,
  origin: string,
  methods: string,
): Promise<string[] | undefined> {
  const name = request.containerName;
  const method = request.header('access-control-request-method');
  if (name.container === '' || method === undefined) return undefined;
  if (!methods.split(', ').includes(method)) return undefined;
  const info = await request.service.store.containerInfo(request, name, false);
  if (info === undefined) return undefined;
  const rules = corsRules(info);
  if (!originAllowed(rules, origin)) return undefined;
  const anyone = rules.origins.includes('*');
  const headers = [
    'Access-Control-Allow-Origin',
    anyone ? '*' : origin,
    'Access-Control-Allow-Methods',
    methods,
  ];
  if (rules.maxAge !== undefined && /^\d{1,10}$/.test(rules.maxAge)) {
    headers.push('Access-Control-Max-Age', rules.maxAge);
  }
  const wanted = request.header('access-control-request-headers');
  if (wanted !== undefined) headers.push('Access-Control-Allow-Headers', wanted);
  headers.push('Vary', 'Origin, Access-Control-Request-Headers');
  return headers;
}
