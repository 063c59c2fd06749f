/**
 * The body of an upload as the object's bytes: framing taken off, every digest that the request names
 * computed while it passes and compared at its end. What does not fit throws there, before the store
 * is told that the body has ended, so nothing is stored.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { EMPTY_BODY, RequestBody } from '../http/request-body.ts';
import { decodeChunked } from './aws-chunked.ts';
import {
  ALGORITHMS,
  type Algorithm,
  algorithmOf,
  DEFAULT_ALGORITHM,
  type Hasher,
  headerOf,
  isChecksum,
  unknownAlgorithm,
} from './checksums.ts';
import { refuse } from './errors.ts';
import type { S3Request } from './request.ts';

export interface Payload {
  readonly body: AsyncIterable<Uint8Array>;
  /** Of the object's bytes. */
  readonly length: number;
  /** Hexadecimal, of Content-MD5: the store compares it. */
  readonly expectedMd5: string | undefined;
  readonly algorithm: Algorithm;
  /** The client named the algorithm, so the answer repeats the value. */
  readonly asked: boolean;
  /** Base64; after the body's end. */
  checksum(): string;
  /** By algorithm: the same, and what `always` asked for besides. */
  checksums(): Readonly<Record<string, string>>;
}

const SHA256 = /^[0-9a-f]{64}$/i;
const UNSIGNED = 'UNSIGNED-PAYLOAD';

/** How a body is framed and signed, by x-amz-content-sha256. */
const STREAMS: Readonly<Record<string, { signed: boolean; trailer: boolean }>> = {
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': { signed: true, trailer: false },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': { signed: true, trailer: true },
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER': { signed: false, trailer: true },
};

export interface PayloadOptions {
  /** Computed where the client names none. */
  readonly algorithm?: Algorithm;
  /** Computed in any case, besides what the client names. */
  readonly always?: Algorithm;
  /** Checksum headers are about an object, not about this body. */
  readonly ofObject?: boolean;
}

/** What the request says of its body; nothing is read yet. @throws S3Error */
export async function payloadOf(
  request: S3Request,
  maxBytes: number,
  options: PayloadOptions = {},
): Promise<Payload> {
  const declared = request.signature?.payload ?? request.header('x-amz-content-sha256');
  const stream = declared === undefined ? undefined : STREAMS[declared];
  const sha256 = declaredSha256(declared, stream !== undefined);
  const trailer = stream?.trailer === true;
  const wanted = options.ofObject === true ? {} : wantedChecksum(request, trailer);
  const raw = rawLength(request, stream !== undefined);
  const length = stream === undefined ? raw! : decodedLength(request);
  if (length > maxBytes) {
    const fields = { ProposedSize: String(length), MaxSizeAllowed: String(maxBytes) };
    throw refuse('EntityTooLarge', undefined, fields);
  }
  if (stream === undefined && mayBeFramed(request, sha256)) {
    throw refuse(
      'InvalidArgument',
      'The aws-chunked encoding is not declared in x-amz-content-sha256.',
    );
  }
  const algorithm = wanted.algorithm ?? options.algorithm ?? options.always ?? DEFAULT_ALGORITHM;
  const { always = algorithm } = options;
  const { checksums } = request.service;
  const second = always === algorithm ? undefined : await checksums.hasher(always);
  const check = new Check({
    algorithm,
    expected: wanted.expected,
    sha256,
    hasher: await checksums.hasher(algorithm),
    second,
  });
  const bytes = raw === 0 ? EMPTY_BODY : incoming(request, raw, maxBytes);
  const content =
    stream === undefined
      ? bytes
      : decodeChunked(bytes, {
          signing: stream.signed ? signingOf(request) : undefined,
          trailers: stream.trailer ? trailerNames(request) : [],
          length,
          onTrailers: (trailers) => check.trailers(trailers),
        });
  return {
    body: check.pass(content),
    length,
    expectedMd5: contentMd5(request),
    algorithm,
    asked: wanted.algorithm !== undefined,
    checksum: () => check.checksum(),
    checksums: () => ({
      [algorithm]: check.checksum(),
      ...(second !== undefined && { [always]: check.second() }),
    }),
  };
}

/** @throws S3Error when the value is none that S3 knows */
function declaredSha256(declared: string | undefined, isStream: boolean): string | undefined {
  if (declared === undefined || declared === UNSIGNED || isStream) return undefined;
  if (SHA256.test(declared)) return declared.toLowerCase();
  throw refuse(
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
    { ArgumentName: 'x-amz-content-sha256', ArgumentValue: declared },
  );
}

function signingOf(request: S3Request) {
  const chunks = request.signature?.chunks;
  if (chunks === undefined) throw refuse('AccessDenied');
  return chunks;
}

/** Whoever gives the digest of the bytes as they come, and no other length, has framed nothing: S3 stores these, too. */
function mayBeFramed(request: S3Request, sha256: string | undefined): boolean {
  if (sha256 !== undefined && request.header('x-amz-decoded-content-length') === undefined) {
    return false;
  }
  const coding = request.header('content-encoding') ?? '';
  return coding.split(',').some((item) => item.trim().toLowerCase() === 'aws-chunked');
}

/** Undefined: chunked transfer, which only framed bodies may use. */
function rawLength(request: S3Request, framed: boolean): number | undefined {
  const coding = request.header('transfer-encoding');
  if (coding !== undefined) {
    if (coding.trim().toLowerCase() !== 'chunked') throw refuse('NotImplemented');
    if (!framed) throw refuse('MissingContentLength');
    return undefined;
  }
  const text = request.header('content-length');
  if (text === undefined) throw refuse('MissingContentLength');
  return lengthOf(text);
}

function decodedLength(request: S3Request): number {
  const text = request.header('x-amz-decoded-content-length');
  if (text === undefined) throw refuse('MissingContentLength');
  return lengthOf(text);
}

function lengthOf(text: string): number {
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw refuse('InvalidArgument', 'The length is not a number.');
  return length;
}

/** The wire's bytes: a framed body is a little longer than the object. */
function incoming(
  request: S3Request,
  length: number | undefined,
  maxBytes: number,
): AsyncIterable<Uint8Array> {
  const { env, limits } = request.service;
  return new RequestBody(request.incoming, {
    clock: env.clock,
    timeoutMs: limits.clientTimeoutMs,
    maxBytes: length ?? 2 * maxBytes,
    pace: request.pace,
    received: (bytes) => {
      request.bytesReceived += bytes;
    },
  });
}

/** @throws S3Error InvalidDigest */
function contentMd5(request: S3Request): string | undefined {
  return md5Of(request.header('content-md5'));
}

/** Hexadecimal. @throws S3Error InvalidDigest */
export function md5Of(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== 16 || bytes.toString('base64') !== text) throw refuse('InvalidDigest');
  return bytes.toString('hex');
}

interface Wanted {
  readonly algorithm?: Algorithm;
  readonly expected?: string;
}

/** Which checksum the client names, in a header or to come in a trailer. */
function wantedChecksum(request: S3Request, trailer: boolean): Wanted {
  const named = namedChecksums(Object.keys(request.incoming.headers));
  const announced = trailer ? trailerNames(request) : [];
  if (named.length + announced.length > 1) throw severalChecksums();
  const stated = request.header('x-amz-sdk-checksum-algorithm');
  const sdk = stated === undefined ? undefined : algorithmOf(stated);
  if (stated !== undefined && sdk === undefined) {
    throw unknownAlgorithm();
  }
  const inTrailer = announced[0] === undefined ? undefined : algorithmOfTrailer(announced[0]);
  const algorithm = named[0] ?? inTrailer;
  if (algorithm === undefined) {
    if (sdk === undefined) return {};
    throw refuse(
      'InvalidRequest',
      'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.',
    );
  }
  if (sdk !== undefined && sdk !== algorithm) {
    throw refuse('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.');
  }
  if (named[0] === undefined) return { algorithm };
  const expected = request.header(headerOf(algorithm))!;
  if (!isChecksum(algorithm, expected)) throw badValue(algorithm);
  return { algorithm, expected };
}

function severalChecksums() {
  return refuse(
    'InvalidRequest',
    'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
  );
}

/** The one checksum among these names of headers, or of a form's fields. @throws S3Error InvalidRequest */
export function namedChecksum(names: Iterable<string>): Algorithm | undefined {
  const [only, ...others] = namedChecksums(names);
  if (others.length > 0) throw severalChecksums();
  return only;
}

/** @throws S3Error InvalidRequest for an algorithm that nobody here computes: it must not go unnoticed */
function namedChecksums(names: Iterable<string>): Algorithm[] {
  const found: Algorithm[] = [];
  for (const name of names) {
    if (!name.startsWith(CHECKSUM) || ABOUT_CHECKSUMS.has(name)) continue;
    const algorithm = ALGORITHMS.find((known) => headerOf(known) === name);
    if (algorithm === undefined) {
      throw refuse(
        'InvalidRequest',
        'The algorithm type you specified in x-amz-checksum- header is invalid.',
      );
    }
    found.push(algorithm);
  }
  return found;
}

const CHECKSUM = 'x-amz-checksum-';
const ABOUT_CHECKSUMS = new Set(['algorithm', 'mode', 'type'].map((name) => CHECKSUM + name));

function trailerNames(request: S3Request): string[] {
  const names = (request.header('x-amz-trailer') ?? '').split(',');
  return names.map((name) => name.trim().toLowerCase()).filter((name) => name !== '');
}

function algorithmOfTrailer(name: string): Algorithm {
  const found = ALGORITHMS.find((known) => headerOf(known) === name);
  if (found !== undefined) return found;
  throw refuse(
    'InvalidRequest',
    'The value specified in the x-amz-trailer header is not supported',
  );
}

export function badChecksum(algorithm: Algorithm) {
  const name = algorithm.toUpperCase();
  return refuse('BadDigest', `The ${name} you specified did not match the calculated checksum.`);
}

function badValue(algorithm: Algorithm) {
  return refuse('InvalidRequest', `Value for ${headerOf(algorithm)} header is invalid.`);
}

interface Expectations {
  readonly algorithm: Algorithm;
  readonly hasher: Hasher;
  /** Of another algorithm; compared with nothing. */
  readonly second: Hasher | undefined;
  readonly expected: string | undefined;
  readonly sha256: string | undefined;
}

class Check {
  readonly #expectations: Expectations;
  readonly #sha256: Hash | undefined;
  #inTrailer: string | undefined;
  #value: string | undefined;
  #second: string | undefined;

  constructor(expectations: Expectations) {
    this.#expectations = expectations;
    if (expectations.sha256 !== undefined) this.#sha256 = createHash('sha256');
  }

  async *pass(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const { hasher, second } = this.#expectations;
    for await (const chunk of source) {
      hasher.update(chunk);
      second?.update(chunk);
      this.#sha256?.update(chunk);
      yield chunk;
    }
    this.#finish();
  }

  trailers(found: ReadonlyMap<string, string>): void {
    const { algorithm } = this.#expectations;
    const value = found.get(headerOf(algorithm));
    if (value === undefined) return;
    if (!isChecksum(algorithm, value)) throw badValue(algorithm);
    this.#inTrailer = value;
  }

  checksum(): string {
    if (this.#value === undefined) throw refuse('InternalError');
    return this.#value;
  }

  second(): string {
    if (this.#second === undefined) throw refuse('InternalError');
    return this.#second;
  }

  #finish(): void {
    const { algorithm, hasher, second, expected, sha256 } = this.#expectations;
    this.#value = hasher.digest();
    this.#second = second?.digest();
    const given = expected ?? this.#inTrailer;
    if (given !== undefined && given !== this.#value) {
      throw badChecksum(algorithm);
    }
    const computed = this.#sha256?.digest('hex');
    if (computed !== sha256) {
      throw refuse('XAmzContentSHA256Mismatch', undefined, {
        ClientComputedContentSHA256: sha256!,
        S3ComputedContentSHA256: computed!,
      });
    }
  }
}

/** A document that comes as the body (XML, JSON), read whole and checked like an object's bytes. */
export async function readDocument(
  request: S3Request,
  maxBytes: number,
  options: PayloadOptions = {},
): Promise<Buffer> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.incoming.headers;
  if (length === undefined && coding === undefined) return Buffer.alloc(0);
  if (Number(length) > maxBytes) throw refuse('MaxMessageLengthExceeded');
  const payload = await payloadOf(request, maxBytes, options);
  request.sendContinue();
  const chunks: Uint8Array[] = [];
  for await (const chunk of payload.body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const md5 = payload.expectedMd5;
  if (md5 !== undefined && md5 !== hash('md5', bytes)) throw refuse('BadDigest');
  return bytes;
}
