/** Streams bytes to a Swift client; see ../http/outflow.ts. */
import { pour } from '../http/outflow.ts';
import { writeHead } from './reply.ts';
import type { SwiftRequest } from './request.ts';

/** Answers with `length` bytes of `source`, which must give exactly as many. */
export async function stream(
  request: SwiftRequest,
  status: number,
  headers: string[],
  source: AsyncIterable<Uint8Array>,
  length: number,
): Promise<void> {
  await pour(request, source, length, () => {
    headers.push('Content-Length', String(length));
    writeHead(request, status, headers);
  });
}
