/**
 * HELLO: who speaks, and what it can do. Read before the peer has proven anything, hence a fixed
 * layout instead of msgpack. Later versions append fields; readers ignore what they don't know.
 *
 *      0   8  magic "anello\r\n" (line ends, so that a text-mode mangler is noticed)
 *      8   2  lowest version spoken          10   2  highest version spoken
 *     12   4  feature bits offered           16   4  initial credit of every stream
 *     20   4  largest DATA payload           24   4  connection window
 *     28   4  largest call, reply, failure   32   2  lane: 0 calls, 1.. bulk
 *     34   2  role: 0 dials, 1 accepts       36  32  nonce
 *     68   8  instance: random, one for each process start
 *     76      cluster id, node, site, each as u8 length + UTF-8
 *
 * GOODBYE: why a connection ends: u8 length + code, then the message in UTF-8.
 */
import { HEADER_BYTES } from './format.ts';
import { ProtocolError } from './protocol-error.ts';

const MAGIC = Buffer.from('anello\r\n', 'latin1');
export const NONCE_BYTES = 32;
export const INSTANCE_BYTES = 8;
const NONCE_AT = 36;
const INSTANCE_AT = NONCE_AT + NONCE_BYTES;
const NAMES_AT = INSTANCE_AT + INSTANCE_BYTES;
export const MAX_HELLO_BYTES = 4096 - HEADER_BYTES;
export const MAX_GOODBYE_BYTES = 1024;
const MAX_NAME_BYTES = 255;

/** The versions this build speaks. Version 1 is the first. */
export const VERSIONS = { min: 1, max: 1 } as const;
export const CALLS_LANE = 0;
export const MAX_LANES = 16;

export interface Hello {
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly features: number;
  readonly initialCredit: number;
  readonly dataBytes: number;
  readonly connectionWindow: number;
  readonly controlBytes: number;
  readonly lane: number;
  readonly role: 'dials' | 'accepts';
  readonly nonce: Buffer;
  readonly instance: Buffer;
  readonly clusterId: string;
  readonly node: string;
  readonly site: string;
}

export function encodeHello(hello: Hello): Buffer {
  const fixed = Buffer.alloc(NAMES_AT);
  MAGIC.copy(fixed, 0);
  fixed.writeUInt16BE(hello.minVersion, 8);
  fixed.writeUInt16BE(hello.maxVersion, 10);
  fixed.writeUInt32BE(hello.features, 12);
  fixed.writeUInt32BE(hello.initialCredit, 16);
  fixed.writeUInt32BE(hello.dataBytes, 20);
  fixed.writeUInt32BE(hello.connectionWindow, 24);
  fixed.writeUInt32BE(hello.controlBytes, 28);
  fixed.writeUInt16BE(hello.lane, 32);
  fixed.writeUInt16BE(hello.role === 'dials' ? 0 : 1, 34);
  hello.nonce.copy(fixed, NONCE_AT, 0, NONCE_BYTES);
  hello.instance.copy(fixed, INSTANCE_AT, 0, INSTANCE_BYTES);
  const names = [hello.clusterId, hello.node, hello.site].map(encodeName);
  return Buffer.concat([fixed, ...names]);
}

/** @throws ProtocolError `malformed-frame` */
export function decodeHello(payload: Buffer): Hello {
  if (payload.length < NAMES_AT || !payload.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new ProtocolError('malformed-frame', 'not a HELLO of this protocol');
  }
  const names = decodeNames(payload, 3);
  const hello: Hello = {
    minVersion: payload.readUInt16BE(8),
    maxVersion: payload.readUInt16BE(10),
    features: payload.readUInt32BE(12),
    initialCredit: payload.readUInt32BE(16),
    dataBytes: payload.readUInt32BE(20),
    connectionWindow: payload.readUInt32BE(24),
    controlBytes: payload.readUInt32BE(28),
    lane: payload.readUInt16BE(32),
    role: payload.readUInt16BE(34) === 0 ? 'dials' : 'accepts',
    nonce: Buffer.from(payload.subarray(NONCE_AT, INSTANCE_AT)),
    instance: Buffer.from(payload.subarray(INSTANCE_AT, NAMES_AT)),
    clusterId: names[0]!,
    node: names[1]!,
    site: names[2]!,
  };
  checkHello(hello);
  return hello;
}

/** The smallest values with which streams still move; less would be a stall, not a limit. */
const MIN_DATA_BYTES = 1024;
export const MIN_WINDOW_BYTES = 128 * 1024;

function checkHello(hello: Hello): void {
  const sane =
    hello.minVersion <= hello.maxVersion &&
    hello.dataBytes >= MIN_DATA_BYTES &&
    hello.controlBytes >= MIN_DATA_BYTES &&
    hello.connectionWindow >= MIN_WINDOW_BYTES &&
    hello.lane < MAX_LANES &&
    hello.node.length > 0;
  if (!sane) throw new ProtocolError('malformed-frame', 'a HELLO makes no sense');
}

export interface Goodbye {
  readonly code: string;
  readonly message: string;
}

export function encodeGoodbye(goodbye: Goodbye): Buffer {
  const code = Buffer.from(goodbye.code, 'utf8').subarray(0, MAX_NAME_BYTES);
  const message = Buffer.from(goodbye.message, 'utf8');
  const whole = Buffer.concat([Buffer.of(code.length), code, message]);
  return whole.subarray(0, MAX_GOODBYE_BYTES);
}

export function decodeGoodbye(payload: Buffer): Goodbye {
  const end = 1 + (payload[0] ?? 0);
  if (payload.length < end) throw new ProtocolError('malformed-frame', 'a GOODBYE is cut short');
  return { code: payload.toString('utf8', 1, end), message: payload.toString('utf8', end) };
}

function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length > MAX_NAME_BYTES) throw new RangeError('a name of more than 255 bytes');
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

function decodeNames(payload: Buffer, count: number): string[] {
  const names: string[] = [];
  let at = NAMES_AT;
  for (let index = 0; index < count; index++) {
    const length = payload[at];
    if (length === undefined || at + 1 + length > payload.length) {
      throw new ProtocolError('malformed-frame', 'a HELLO is cut short');
    }
    names.push(payload.toString('utf8', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return names;
}
