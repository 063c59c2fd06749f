/**
 * Streams bytes to the client at the client's speed. The first piece is fetched before the status
 * goes out, so what fails at once can still be told; what fails later breaks the connection off,
 * for a client must never take half an object for a whole one.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { OperatingError } from '#base/errors.ts';
import { writeHead } from './reply.ts';
import { clientGone, type SwiftRequest } from './request.ts';

/** Answers with `length` bytes of `source`, which must give exactly as many. */
export async function stream(
  request: SwiftRequest,
  status: number,
  headers: string[],
  source: AsyncIterable<Uint8Array>,
  length: number,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    let item = await iterator.next();
    headers.push('Content-Length', String(length));
    writeHead(request, status, headers);
    let sent = 0;
    while (item.done !== true) {
      sent += item.value.length;
      if (sent > length) throw broken(sent, length);
      await write(request, item.value);
      item = await iterator.next();
    }
    if (sent !== length) throw broken(sent, length);
    request.response.end();
  } finally {
    await iterator.return?.();
  }
}

async function write(request: SwiftRequest, chunk: Uint8Array): Promise<void> {
  const { response } = request;
  if (response.destroyed) throw clientGone();
  request.bytesSent += chunk.length;
  if (!response.write(chunk)) await drained(request, response);
}

async function drained(request: SwiftRequest, response: ServerResponse): Promise<void> {
  const { clock } = request.service.env;
  // A client that takes nothing for so long holds a replica's stream for nothing.
  const stalled = clock.setTimer(request.service.limits.clientTimeoutMs, () => response.destroy());
  try {
    await once(response, 'drain', { signal: request.signal });
  } catch (cause) {
    throw new OperatingError('client-gone', 'the client left', {}, { cause });
  } finally {
    stalled.cancel();
  }
}

function broken(sent: number, length: number): OperatingError {
  return new OperatingError('internal', 'the body has another length than announced', {
    sent,
    length,
  });
}
