/** What tests put, and how they look at what comes back. */
import type { PutRequest } from '../contract.ts';

/** A PUT of these bytes, in the given chunks. */
export function putRequest(
  body: Buffer | readonly Buffer[],
  overrides: Partial<PutRequest> = {},
): PutRequest {
  const chunks = Buffer.isBuffer(body) ? [body] : body;
  return {
    body: chunkSource(chunks),
    length: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    maxLength: 5 * 1024 ** 3,
    contentType: 'text/plain',
    user: {},
    system: {},
    ...overrides,
  };
}

async function* chunkSource(chunks: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) if (chunk.length > 0) yield chunk;
}

export async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Bytes that differ at every position, so that a shift or a mix shows. */
export function patternBytes(length: number, salt = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + salt) & 0xff;
  return bytes;
}
