/**
 * The payloads of the frames that belong to calls, both ways.
 *
 *     CALL     msgpack [method, txn, remaining ms, args]   FLAG_BODY: DATA of the same stream follow
 *     REPLY    msgpack result                              FLAG_BODY: the same
 *     FAILURE  msgpack [code, message, facts]              instead of a REPLY, or of the rest of its DATA
 *     CREDIT   u32 bytes                                   stream 0: confirms DATA of the connection
 *     CANCEL   reason, UTF-8                               of the caller: the call; of the callee:
 *                                                          it wants no more of the request body
 */
import type { Facts } from '#base/errors.ts';
import type { Failure } from './failure.ts';
import { FLAG_BODY, FLAG_WIRE, FRAME, type FrameType } from './format.ts';
import type { Outbox } from './outbox.ts';
import { ProtocolError } from './protocol-error.ts';
import { decodeValue, type Encoded, encodeValue } from './value-codec.ts';

export const MAX_REASON_BYTES = 256;
const MAX_MESSAGE_CHARACTERS = 2048;
const MAX_FAILURE_BYTES = 64 * 1024;
export const MAX_DEADLINE_MS = 0x7fff_ffff;

export interface CallPayload {
  readonly method: string;
  readonly txn: string;
  readonly remainingMs: number;
  readonly args: unknown;
}

/** Why a value could not be sent. */
export type Problem = 'not encodable' | 'too large';

export class CallFrames {
  readonly #outbox: Outbox;
  readonly #maxBytes: number;

  constructor(outbox: Outbox, maxBytes: number) {
    this.#outbox = outbox;
    this.#maxBytes = maxBytes;
  }

  /** Undefined when it was queued. */
  call(stream: number, hasBody: boolean, payload: CallPayload): Problem | undefined {
    const { method, txn, remainingMs, args } = payload;
    const flags = hasBody ? FLAG_BODY : 0;
    return this.#value(FRAME.call, flags, stream, [method, txn, remainingMs, args]);
  }

  /** Undefined when it was queued. */
  reply(stream: number, hasBody: boolean, result: unknown): Problem | undefined {
    return this.#value(FRAME.reply, hasBody ? FLAG_BODY : 0, stream, result);
  }

  /** Facts that can't be sent are left out: an error must arrive. */
  failure(stream: number, { code, message, facts, isWire }: Failure): void {
    const flags = isWire ? FLAG_WIRE : 0;
    const text = message.slice(0, MAX_MESSAGE_CHARACTERS);
    const problem = this.#value(
      FRAME.failure,
      flags,
      stream,
      [code, text, facts],
      MAX_FAILURE_BYTES,
    );
    if (problem !== undefined) this.#value(FRAME.failure, flags, stream, [code, text, {}]);
  }

  cancel(stream: number, reason: string): void {
    const text = Buffer.from(reason, 'utf8').subarray(0, MAX_REASON_BYTES);
    this.#outbox.frame(FRAME.cancel, 0, stream, text);
  }

  credit(stream: number, bytes: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(bytes);
    this.#outbox.frame(FRAME.credit, 0, stream, payload);
  }

  #value(
    type: FrameType,
    flags: number,
    stream: number,
    value: unknown,
    maxBytes = this.#maxBytes,
  ): Problem | undefined {
    let encoded: Encoded;
    try {
      encoded = encodeValue(value);
    } catch {
      return 'not encodable';
    }
    if (encoded.end - encoded.start > maxBytes) return 'too large';
    this.#outbox.frame(type, flags, stream, encoded, encoded.start, encoded.end);
    return undefined;
  }
}

/** @throws ProtocolError `malformed-frame` */
export function decodeCall(bytes: Buffer, start: number, end: number): CallPayload {
  const value = decodeValue(bytes, start, end);
  if (!Array.isArray(value) || value.length < 4) throw malformed('CALL');
  const [method, txn, remainingMs, args] = value as unknown[];
  const isSound =
    typeof method === 'string' &&
    typeof txn === 'string' &&
    typeof remainingMs === 'number' &&
    remainingMs >= 0 &&
    remainingMs <= MAX_DEADLINE_MS;
  if (!isSound) throw malformed('CALL');
  return { method, txn, remainingMs, args };
}

/** @throws ProtocolError `malformed-frame` */
export function decodeFailure(bytes: Buffer, start: number, end: number, isWire: boolean): Failure {
  const value = decodeValue(bytes, start, end);
  if (!Array.isArray(value) || value.length < 3) throw malformed('FAILURE');
  const [code, message, facts] = value as unknown[];
  if (typeof code !== 'string' || typeof message !== 'string') throw malformed('FAILURE');
  if (typeof facts !== 'object' || facts === null) throw malformed('FAILURE');
  return { code, message, facts: facts as Facts, isWire };
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('malformed-frame', `the payload of a ${what} has another shape`);
}
