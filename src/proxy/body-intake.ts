/**
 * Reads a client's body: up to a limit into memory, with its MD5 and its declared length checked.
 * Whatever breaks off while reading is the client's leaving; nothing has been stored by then.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { OperatingError } from '#base/errors.ts';
import { clientGone } from './context.ts';
import type { PutRequest } from './contract.ts';

export type Intake =
  /** The whole body. */
  | { readonly kind: 'whole'; readonly body: Buffer; readonly etag: string }
  /** More than the limit: what has been read, and where the rest comes from. */
  | { readonly kind: 'rest'; readonly start: readonly Uint8Array[]; readonly rest: BodySource };

/** The rest of a body; counts and hashes what passes. */
export class BodySource {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #request: PutRequest;
  readonly #signal: AbortSignal;
  #hash: Hash | undefined;
  #length = 0;

  constructor(request: PutRequest, signal: AbortSignal) {
    this.#request = request;
    this.#signal = signal;
    this.#iterator = request.body[Symbol.asyncIterator]();
  }

  get length(): number {
    return this.#length;
  }

  /** @throws OperatingError `client-gone`, `body-too-large`, `length-mismatch` */
  async next(): Promise<Uint8Array | undefined> {
    const result = await this.#pull();
    if (result.done === true) {
      this.#checkLength();
      return undefined;
    }
    this.#length += result.value.length;
    const { length, maxLength } = this.#request;
    if (this.#length > maxLength) throw tooLarge(maxLength);
    if (length !== undefined && this.#length > length) this.#checkLength();
    return result.value;
  }

  hash(chunk: Uint8Array): void {
    this.#hash ??= createHash('md5');
    this.#hash.update(chunk);
  }

  /** The MD5 of all that was hashed. @throws OperatingError `etag-mismatch` */
  etag(): string {
    return checkEtag(this.#request, (this.#hash ?? createHash('md5')).digest('hex'));
  }

  async #pull(): Promise<IteratorResult<Uint8Array>> {
    if (this.#signal.aborted) throw clientGone();
    try {
      return await this.#iterator.next();
    } catch (error) {
      throw error instanceof OperatingError ? error : clientGone(error);
    }
  }

  #checkLength(): void {
    const { length } = this.#request;
    if (length === undefined || length === this.#length) return;
    throw new OperatingError('length-mismatch', 'the body is not as long as declared', {
      declared: length,
      received: this.#length,
    });
  }
}

export async function takeBody(
  request: PutRequest,
  limit: number,
  signal: AbortSignal,
): Promise<Intake> {
  const { length, maxLength } = request;
  if (length !== undefined && length > maxLength) throw tooLarge(maxLength);
  const source = new BodySource(request, signal);
  const gathered = new Gathered();
  while (source.length <= limit && (length ?? 0) <= limit) {
    const chunk = await source.next();
    if (chunk === undefined) return whole(request, gathered.chunks());
    gathered.add(chunk);
  }
  return { kind: 'rest', start: gathered.chunks(), rest: source };
}

/** Small chunks are joined as they come: a body sent byte by byte must not take a thousandfold. */
class Gathered {
  readonly #chunks: Uint8Array[] = [];
  #small: Uint8Array[] = [];

  add(chunk: Uint8Array): void {
    if (chunk.length >= SMALL_CHUNK_BYTES) {
      this.#flush();
      this.#chunks.push(chunk);
    } else if (this.#small.push(chunk) >= MAX_SMALL_CHUNKS) this.#flush();
  }

  chunks(): readonly Uint8Array[] {
    this.#flush();
    return this.#chunks;
  }

  #flush(): void {
    if (this.#small.length === 1) this.#chunks.push(this.#small[0]!);
    else if (this.#small.length > 1) this.#chunks.push(Buffer.concat(this.#small));
    this.#small = [];
  }
}

const SMALL_CHUNK_BYTES = 4096;
const MAX_SMALL_CHUNKS = 256;

function whole(request: PutRequest, chunks: readonly Uint8Array[]): Intake {
  const [first] = chunks;
  const body =
    chunks.length === 1
      ? Buffer.from(first!.buffer, first!.byteOffset, first!.length)
      : Buffer.concat(chunks);
  return { kind: 'whole', body, etag: checkEtag(request, hash('md5', body, 'hex')) };
}

function checkEtag({ expectedEtag }: PutRequest, etag: string): string {
  if (expectedEtag === undefined || expectedEtag.toLowerCase() === etag) return etag;
  throw new OperatingError('etag-mismatch', 'the body has another MD5 than declared', { etag });
}

function tooLarge(maxLength: number): OperatingError {
  return new OperatingError('body-too-large', 'the body is too large', { maxLength });
}
