/** Which frames may come in which state, and how long each may be: checked before any payload. */
import type { Facts } from '#base/errors.ts';
import { MAX_REASON_BYTES } from './call-frames.ts';
import { FRAME, type FrameHeader, type FrameType } from './format.ts';
import { PROOF_BYTES } from './handshake.ts';
import { PING_BYTES } from './heartbeat.ts';
import { MAX_GOODBYE_BYTES, MAX_HELLO_BYTES } from './hello.ts';
import type { WireLimits } from './limits.ts';
import { type ProtocolCode, ProtocolError } from './protocol-error.ts';

const CREDIT_BYTES = 4;

export type FrameState = 'hello' | 'proof' | 'open';

export class FrameLimits {
  readonly #least: number[] = [];
  readonly #most: number[] = [];

  constructor({ controlBytes, dataBytes }: WireLimits) {
    this.#allow(FRAME.hello, 1, MAX_HELLO_BYTES);
    this.#allow(FRAME.proof, 0, PROOF_BYTES);
    this.#allow(FRAME.call, 1, controlBytes);
    this.#allow(FRAME.reply, 1, controlBytes);
    this.#allow(FRAME.failure, 1, controlBytes);
    this.#allow(FRAME.data, 0, dataBytes);
    this.#allow(FRAME.credit, CREDIT_BYTES, CREDIT_BYTES);
    this.#allow(FRAME.cancel, 0, MAX_REASON_BYTES);
    this.#allow(FRAME.ping, PING_BYTES, PING_BYTES);
    this.#allow(FRAME.pong, PING_BYTES, PING_BYTES);
    this.#allow(FRAME.goodbye, 1, MAX_GOODBYE_BYTES);
  }

  /** @throws ProtocolError for a frame that may not come now, or not so long */
  check({ type, length }: Readonly<FrameHeader>, state: FrameState): void {
    const most = this.#most[type];
    if (most === undefined) fail('unknown-frame', 'a frame of unknown type', { type });
    const isPart = type === FRAME.hello || type === FRAME.proof;
    const isNow = state === 'open' ? !isPart : type === FRAME[state];
    if (!isNow && type !== FRAME.goodbye) {
      fail('unexpected-frame', 'a frame of another state', { type, state });
    }
    if (length > most) fail('oversized-frame', 'a frame is too long', { type, length, most });
    if (length < this.#least[type]!)
      fail('malformed-frame', 'a frame is cut short', { type, length });
  }

  #allow(type: FrameType, least: number, most: number): void {
    this.#least[type] = least;
    this.#most[type] = most;
  }
}

function fail(code: ProtocolCode, message: string, facts: Facts): never {
  throw new ProtocolError(code, message, facts);
}
