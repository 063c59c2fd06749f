/**
 * Takes the framing off an `aws-chunked` body:
 *
 *     hex-length[;chunk-signature=64 hex] CRLF data CRLF
 *     ...
 *     0[;chunk-signature=64 hex] CRLF
 *     [name:value CRLF]*            trailers
 *     [x-amz-trailer-signature:64 hex CRLF]
 *     CRLF
 *
 * Data passes as it comes; a signature that does not fit throws before the end is told, so nothing is
 * stored. What can't be read is refused, and what comes behind the end too: framing never gets in.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { chunkStringToSign, sameSignature, sign, trailerStringToSign } from '#auth/sigv4.ts';
import { refuse, type S3Error } from './errors.ts';
import type { Signature } from './request.ts';

export interface ChunkedOptions {
  /** Of the request that carries the body; undefined: chunks are not signed. */
  readonly signing: Signature['chunks'];
  /** Names in x-amz-trailer, lower case: each must come, and no other. */
  readonly trailers: readonly string[];
  /** x-amz-decoded-content-length. */
  readonly length: number;
  /** The trailers, once they are read and their signature has been checked. */
  readonly onTrailers: (trailers: ReadonlyMap<string, string>) => void;
}

const MAX_LINE = 4096;
const MAX_TRAILER_BYTES = 16 * 1024;
const CHUNK_HEADER = /^([0-9a-fA-F]{1,16})[ \t]*(?:;chunk-signature=([0-9a-f]{64}))?$/;
const TRAILER_SIGNATURE = 'x-amz-trailer-signature';

export async function* decodeChunked(
  source: AsyncIterable<Uint8Array>,
  options: ChunkedOptions,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(source);
  const signatures = options.signing === undefined ? undefined : new Chain(options.signing);
  let total = 0;
  try {
    for (;;) {
      const { length, signature } = parseHeader(await reader.line(), signatures !== undefined);
      total += length;
      if (total > options.length) throw wrongLength();
      signatures?.begin();
      for (let left = length; left > 0; ) {
        const piece = await reader.take(left);
        left -= piece.length;
        signatures?.update(piece);
        yield piece;
      }
      signatures?.end(signature!);
      if (length === 0) break;
      if ((await reader.line()) !== '') throw malformed();
    }
    if (total !== options.length) throw wrongLength();
    await readTrailers(reader, signatures, options);
    if (!(await reader.atEnd())) throw malformed();
  } finally {
    await reader.close();
  }
}

function parseHeader(line: string, signed: boolean): { length: number; signature?: string } {
  const match = CHUNK_HEADER.exec(line);
  if (match === null) throw malformed();
  const length = Number.parseInt(match[1]!, 16);
  if (!Number.isSafeInteger(length)) throw malformed();
  if (signed && match[2] === undefined) throw malformed();
  return match[2] === undefined ? { length } : { length, signature: match[2] };
}

async function readTrailers(
  reader: ByteReader,
  signatures: Chain | undefined,
  options: ChunkedOptions,
): Promise<void> {
  const found = new Map<string, string>();
  let signature: string | undefined;
  let lines = '';
  // A client that announces no trailer may leave the last empty line out.
  for (;;) {
    const line = await reader.lineOrEnd();
    if (line === undefined || line === '') break;
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (colon <= 0 || lines.length > MAX_TRAILER_BYTES) throw refuse('MalformedTrailerError');
    if (name === TRAILER_SIGNATURE) {
      signature = value;
      continue;
    }
    if (!options.trailers.includes(name) || found.has(name)) throw refuse('MalformedTrailerError');
    found.set(name, value);
    lines += `${name}:${value}\n`;
  }
  if (options.trailers.some((name) => !found.has(name))) throw refuse('MalformedTrailerError');
  if (signatures !== undefined && options.trailers.length > 0) signatures.trailer(lines, signature);
  options.onTrailers(found);
}

/** Each chunk's signature is made over the one before. */
class Chain {
  readonly #signing: NonNullable<Signature['chunks']>;
  #previous: string;
  #hash: Hash | undefined;

  constructor(signing: NonNullable<Signature['chunks']>) {
    this.#signing = signing;
    this.#previous = signing.seed;
  }

  begin(): void {
    this.#hash = createHash('sha256');
  }

  update(piece: Uint8Array): void {
    this.#hash?.update(piece);
  }

  end(signature: string): void {
    const { scope, signingKey } = this.#signing;
    const digest = this.#hash!.digest('hex');
    this.#check(sign(signingKey, chunkStringToSign(scope, this.#previous, digest)), signature);
  }

  trailer(lines: string, signature: string | undefined): void {
    const { scope, signingKey } = this.#signing;
    const digest = hash('sha256', Buffer.from(lines, 'latin1'), 'hex');
    const expected = sign(signingKey, trailerStringToSign(scope, this.#previous, digest));
    this.#check(expected, signature ?? '');
  }

  #check(expected: string, given: string): void {
    if (!sameSignature(expected, given)) throw refuse('SignatureDoesNotMatch');
    this.#previous = expected;
  }
}

/** Lines and runs of bytes out of chunks that break anywhere. */
class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** Up to its CRLF, which is not part of it. */
  async line(): Promise<string> {
    const line = await this.lineOrEnd();
    if (line === undefined) throw incomplete();
    return line;
  }

  /** Undefined: the body ended here. */
  async lineOrEnd(): Promise<string | undefined> {
    let line = '';
    for (;;) {
      if (!(await this.#fill())) {
        if (line !== '') throw incomplete();
        return undefined;
      }
      const end = this.#chunk.indexOf(0x0a, this.#at);
      const stop = end < 0 ? this.#chunk.length : end;
      line += this.#chunk.toString('latin1', this.#at, stop);
      this.#at = end < 0 ? stop : stop + 1;
      if (line.length > MAX_LINE) throw malformed();
      if (end >= 0) {
        if (!line.endsWith('\r')) throw malformed();
        return line.slice(0, -1);
      }
    }
  }

  /** At least one byte, at most `most`. */
  async take(most: number): Promise<Buffer> {
    if (!(await this.#fill())) throw incomplete();
    const piece = this.#chunk.subarray(this.#at, Math.min(this.#chunk.length, this.#at + most));
    this.#at += piece.length;
    return piece;
  }

  async atEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #fill(): Promise<boolean> {
    while (this.#at >= this.#chunk.length) {
      const next = await this.#iterator.next();
      if (next.done === true) return false;
      const { buffer, byteOffset, length } = next.value;
      this.#chunk = Buffer.from(buffer, byteOffset, length);
      this.#at = 0;
    }
    return true;
  }
}

function malformed(): S3Error {
  return refuse('InvalidRequest', 'The body is not a well-formed aws-chunked stream.');
}

function incomplete(): S3Error {
  return refuse('IncompleteBody', 'The request body terminated unexpectedly');
}

function wrongLength(): S3Error {
  return refuse(
    'IncompleteBody',
    'You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header',
  );
}
