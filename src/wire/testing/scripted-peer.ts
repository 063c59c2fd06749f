/** For tests of the wire: a peer that speaks frame by frame, rightly or wrongly. */
import type { Env, Socket } from '#env/env.ts';
import type { ClusterIdentity } from '../contract.ts';
import {
  FLAG_SUMMED,
  FRAME,
  type FrameHeader,
  HEADER_BYTES,
  payloadSum,
  writeHeader,
} from '../format.ts';
import { FrameReader } from '../frame-reader.ts';
import { Handshake } from '../handshake.ts';
import { decodeGoodbye, type Goodbye, type Hello } from '../hello.ts';
import { encodeValue } from '../value-codec.ts';

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly clockMicros: number;
  readonly payload: Buffer;
}

export function makeFrame(
  type: number,
  payload: Buffer = Buffer.alloc(0),
  fields: Partial<FrameHeader> = {},
): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length);
  const header = {
    type,
    flags: FLAG_SUMMED,
    stream: 0,
    length: payload.length,
    clockMicros: 0,
    payloadSum: payload.length === 0 ? 0 : payloadSum(payload),
    ...fields,
  };
  writeHeader(frame, 0, header);
  payload.copy(frame, HEADER_BYTES);
  return frame;
}

export function packed(value: unknown): Buffer {
  const encoded = encodeValue(value);
  return Buffer.from(encoded.subarray(encoded.start, encoded.end));
}

export function testHello(fields: Partial<Hello> = {}): Hello {
  return {
    minVersion: 1,
    maxVersion: 1,
    features: 0,
    initialCredit: 262_144,
    dataBytes: 262_144,
    connectionWindow: 8_388_608,
    controlBytes: 8_388_608,
    lane: 0,
    role: 'dials',
    nonce: Buffer.alloc(32, 0x11),
    instance: Buffer.alloc(8, 0x22),
    clusterId: 'test',
    node: 'scripted',
    site: 'here',
    ...fields,
  };
}

export class ScriptedPeer {
  readonly socket: Socket;
  readonly seen: SeenFrame[] = [];
  /** Everything received, byte for byte. */
  readonly received: Buffer[] = [];
  closed = false;
  readonly #handshake: Handshake;
  readonly #reader: FrameReader;

  constructor(socket: Socket, cluster: ClusterIdentity, hello: Hello) {
    this.socket = socket;
    this.#handshake = new Handshake({
      cluster,
      own: hello,
      expectedNode: undefined,
      certificateName: undefined,
    });
    this.#reader = new FrameReader(
      {
        onHeader: () => undefined,
        onFrame: (header, bytes, start, end) => this.#note(header, bytes.subarray(start, end)),
        onDataFrame: (header, pieces) => this.#note(header, Buffer.concat(pieces)),
      },
      true,
    );
    socket.onData = (bytes) => {
      this.received.push(Buffer.from(bytes));
      this.#reader.push(bytes);
    };
    socket.onClose = () => {
      this.closed = true;
    };
  }

  static async dial(
    env: Env,
    host: string,
    cluster: ClusterIdentity,
    hello = testHello(),
  ): Promise<ScriptedPeer> {
    const socket = await env.network.connect({ host, port: 7400 });
    return new ScriptedPeer(socket, cluster, hello);
  }

  get goodbye(): Goodbye | undefined {
    const frame = this.seen.find(({ type }) => type === FRAME.goodbye);
    return frame === undefined ? undefined : decodeGoodbye(frame.payload);
  }

  get hello(): Buffer {
    return this.#handshake.hello;
  }

  send(...frames: Buffer[]): void {
    for (const frame of frames) this.socket.write(frame);
  }

  sayHello(): void {
    this.send(makeFrame(FRAME.hello, this.#handshake.hello));
  }

  /** After the HELLO of the other side has come. */
  prove(): void {
    const hello = this.seen.find(({ type }) => type === FRAME.hello);
    if (hello === undefined) throw new Error('no HELLO has come');
    if (this.#handshake.peer === undefined) this.#handshake.acceptHello(hello.payload);
    this.send(makeFrame(FRAME.proof, this.#handshake.proof()));
  }

  /** Frames of one type that have come. */
  frames(type: number): SeenFrame[] {
    return this.seen.filter((frame) => frame.type === type);
  }

  #note(header: Readonly<FrameHeader>, payload: Buffer): void {
    const { type, flags, stream, clockMicros } = header;
    this.seen.push({ type, flags, stream, clockMicros, payload: Buffer.from(payload) });
  }
}
