/**
 * Cuts the incoming chunks into frames, without joining them: a payload that lies within one chunk
 * is handed on as a range of it; only one that straddles chunks is copied together. DATA payloads
 * are never copied: they are handed on as the pieces in which they came, once the frame is complete
 * and its checksum has been verified.
 */
import {
  emptyHeader,
  FLAG_SUMMED,
  FRAME,
  type FrameHeader,
  HEADER_BYTES,
  payloadSum,
  readHeader,
} from './format.ts';
import { ProtocolError } from './protocol-error.ts';

/** Handles frames; anything it throws ends the connection. Header and ranges are valid during the call. */
export interface FrameSink {
  /** Before the payload is waited for: may refuse by type, length or order. */
  onHeader(header: Readonly<FrameHeader>): void;
  onFrame(header: Readonly<FrameHeader>, bytes: Buffer, start: number, end: number): void;
  onDataFrame(header: Readonly<FrameHeader>, pieces: readonly Buffer[]): void;
}

export class FrameReader {
  readonly #sink: FrameSink;
  /** False under TLS, whose own checksum is better. */
  readonly #summed: boolean;
  readonly #header = emptyHeader();
  readonly #headerBytes = Buffer.alloc(HEADER_BYTES);
  #headerFilled = 0;
  #inPayload = false;
  /** The payload so far: of DATA as pieces, of others in one buffer. */
  #pieces: Buffer[] = [];
  #joined: Buffer | undefined;
  #filled = 0;
  #sum = 0;
  #stopped = false;

  constructor(sink: FrameSink, summed: boolean) {
    this.#sink = sink;
    this.#summed = summed;
  }

  /** Nothing more is handed on, even from within a call of the sink. */
  stop(): void {
    this.#stopped = true;
    this.#pieces = [];
    this.#joined = undefined;
  }

  /** @throws ProtocolError; the reader must not be used afterwards */
  push(chunk: Buffer): void {
    let at = 0;
    while (!this.#stopped) {
      if (!this.#inPayload) {
        at = this.#readHeader(chunk, at);
        if (!this.#inPayload) return;
      }
      const missing = this.#header.length - this.#filled;
      const end = Math.min(at + missing, chunk.length);
      this.#readPayload(chunk, at, end, end - at === missing);
      at = end;
      if (this.#inPayload) return;
    }
  }

  /** The position after the header, or the end of the chunk if the header is not complete. */
  #readHeader(chunk: Buffer, at: number): number {
    const missing = HEADER_BYTES - this.#headerFilled;
    if (chunk.length - at < missing) {
      chunk.copy(this.#headerBytes, this.#headerFilled, at);
      this.#headerFilled += chunk.length - at;
      return chunk.length;
    }
    if (this.#headerFilled === 0) readHeader(chunk, at, this.#header);
    else {
      chunk.copy(this.#headerBytes, this.#headerFilled, at, at + missing);
      readHeader(this.#headerBytes, 0, this.#header);
    }
    if (this.#summed && (this.#header.flags & FLAG_SUMMED) === 0) {
      throw new ProtocolError('malformed-frame', 'a frame without a payload checksum');
    }
    this.#sink.onHeader(this.#header);
    this.#inPayload = true;
    this.#headerFilled = 0;
    return at + missing;
  }

  #readPayload(chunk: Buffer, start: number, end: number, last: boolean): void {
    const { type, length } = this.#header;
    if (type === FRAME.data) this.#addPiece(chunk, start, end);
    else if (this.#joined !== undefined || !last) {
      this.#joined ??= Buffer.allocUnsafeSlow(length);
      chunk.copy(this.#joined, this.#filled, start, end);
    }
    this.#filled += end - start;
    if (!last) return;
    this.#inPayload = false;
    this.#filled = 0;
    const joined = this.#joined;
    this.#joined = undefined;
    if (type === FRAME.data) this.#finishData();
    else if (joined === undefined) this.#finish(chunk, start, end);
    else this.#finish(joined, 0, length);
  }

  #finish(bytes: Buffer, start: number, end: number): void {
    const header = this.#header;
    if ((header.flags & FLAG_SUMMED) !== 0) {
      this.#checkSum(start === end ? 0 : payloadSum(bytes.subarray(start, end)));
    }
    this.#sink.onFrame(header, bytes, start, end);
  }

  #addPiece(chunk: Buffer, start: number, end: number): void {
    if (start === end) return;
    const piece = chunk.subarray(start, end);
    if ((this.#header.flags & FLAG_SUMMED) !== 0) this.#sum = payloadSum(piece, this.#sum);
    this.#pieces.push(piece);
  }

  #finishData(): void {
    const pieces = this.#pieces;
    const sum = this.#sum;
    this.#pieces = [];
    this.#sum = 0;
    if ((this.#header.flags & FLAG_SUMMED) !== 0) this.#checkSum(sum);
    this.#sink.onDataFrame(this.#header, pieces);
  }

  #checkSum(actual: number): void {
    if (actual === this.#header.payloadSum) return;
    const { type, stream, length } = this.#header;
    throw new ProtocolError('payload-checksum', 'the checksum of a payload is wrong', {
      type,
      stream,
      length,
    });
  }
}
