/** A request as it came over the wire, before anything normalised it: what signatures are made over. */
import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import type { SigV4Request } from '#auth/sigv4-claim.ts';

interface NodeBindings {
  readonly incoming?: Pick<IncomingMessage, 'url' | 'headersDistinct'>;
}

export function rawRequestOf(c: Context): SigV4Request {
  const incoming = (c.env as NodeBindings | undefined)?.incoming;
  if (incoming?.headersDistinct !== undefined) {
    const { url = '/', headersDistinct: headers } = incoming;
    return { method: c.req.method, target: url, headers };
  }
  const { pathname, search } = new URL(c.req.url);
  return { method: c.req.method, target: pathname + search, headers: c.req.header() };
}
