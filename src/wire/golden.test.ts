/** The bytes of version 1, made once: what a build of that version has sent must stay readable. */
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { CallFrames, decodeCall, decodeFailure } from './call-frames.ts';
import {
  FLAG_BODY,
  FLAG_END,
  FLAG_SUMMED,
  FLAG_WIRE,
  FRAME,
  type FrameHeader,
  HEADER_BYTES,
} from './format.ts';
import { FrameLimits } from './frame-limits.ts';
import { FrameReader } from './frame-reader.ts';
import { Handshake } from './handshake.ts';
import { decodeGoodbye, decodeHello, encodeGoodbye, encodeHello, type Hello } from './hello.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { Outbox } from './outbox.ts';
import { ProtocolError } from './protocol-error.ts';
import { makeFrame } from './testing/scripted-peer.ts';
import { decodeValue } from './value-codec.ts';

const FOLDER = new URL('../../test/golden/wire/v1/', import.meta.url);
const KEY = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
const CLOCK = 1_767_225_600_123_456;

function lines(name: string): string[][] {
  const text = readFileSync(new URL(name, FOLDER), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
}

const FRAMES = new Map(lines('frames.txt').map(([name, hex]) => [name!, Buffer.from(hex!, 'hex')]));

interface Read {
  readonly header: FrameHeader;
  readonly payload: Buffer;
}

function read(bytes: Buffer, chunkBytes = bytes.length): Read[] {
  const seen: Read[] = [];
  const limits = new FrameLimits(DEFAULT_LIMITS);
  const note = (header: Readonly<FrameHeader>, payload: Buffer): void => {
    seen.push({ header: { ...header }, payload: Buffer.from(payload) });
  };
  const sink = {
    onHeader: (header: Readonly<FrameHeader>) => {
      const { type } = header;
      limits.check(
        header,
        type === FRAME.hello ? 'hello' : type === FRAME.proof ? 'proof' : 'open',
      );
    },
    onFrame: (header: Readonly<FrameHeader>, from: Buffer, start: number, end: number) =>
      note(header, from.subarray(start, end)),
    onDataFrame: (header: Readonly<FrameHeader>, pieces: readonly Buffer[]) =>
      note(header, Buffer.concat(pieces)),
  };
  const reader = new FrameReader(sink, true);
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    reader.push(bytes.subarray(at, at + chunkBytes));
  }
  return seen;
}

function frame(name: string): Read {
  const [only, ...more] = read(FRAMES.get(name)!);
  expect(more).toEqual([]);
  return only!;
}

function value(name: string): unknown {
  const { payload } = frame(name);
  return decodeValue(payload, 0, payload.length);
}

const HEADERS: [name: string, type: number, stream: number, flags: number][] = [
  ['hello-dials', FRAME.hello, 0, 0],
  ['hello-accepts', FRAME.hello, 0, 0],
  ['proof-accepts', FRAME.proof, 0, 0],
  ['proof-dials', FRAME.proof, 0, 0],
  ['call', FRAME.call, 1, 0],
  ['call-with-body', FRAME.call, 3, FLAG_BODY],
  ['reply', FRAME.reply, 1, 0],
  ['reply-with-body', FRAME.reply, 3, FLAG_BODY],
  ['failure', FRAME.failure, 5, 0],
  ['failure-wire', FRAME.failure, 7, FLAG_WIRE],
  ['data', FRAME.data, 3, 0],
  ['data-end', FRAME.data, 3, FLAG_END],
  ['data-end-empty', FRAME.data, 3, FLAG_END],
  ['credit-stream', FRAME.credit, 3, 0],
  ['credit-connection', FRAME.credit, 0, 0],
  ['cancel', FRAME.cancel, 3, 0],
  ['ping', FRAME.ping, 0, 0],
  ['pong', FRAME.pong, 0, 0],
  ['goodbye', FRAME.goodbye, 0, 0],
];

describe('frames of version 1', () => {
  it('are all there', () => {
    expect([...FRAMES.keys()].sort()).toEqual(HEADERS.map(([name]) => name).sort());
  });

  it.each(HEADERS)(
    '%s has its header, and is written the same way',
    (name, type, stream, flags) => {
      const { header, payload } = frame(name);
      expect(header).toMatchObject({
        type,
        stream,
        flags: flags | FLAG_SUMMED,
        clockMicros: CLOCK,
      });
      const fields = { stream, flags: flags | FLAG_SUMMED, clockMicros: CLOCK };
      expect(makeFrame(type, payload, fields).equals(FRAMES.get(name)!)).toBe(true);
    },
  );

  it('are the same however the stream is cut', () => {
    const all = Buffer.concat([...FRAMES.values()]);
    const whole = read(all);
    for (const chunkBytes of [1, 2, 7, 23, 24, 25, 100])
      expect(read(all, chunkBytes)).toEqual(whole);
  });

  it('carry calls, replies and failures', () => {
    const { payload } = frame('call');
    expect(decodeCall(payload, 0, payload.length)).toEqual({
      method: 'object.put',
      txn: 'tx0001',
      remainingMs: 10_000,
      args: { hash: Buffer.alloc(16, 0xab), size: 5, etag: null },
    });
    expect(value('reply')).toEqual({ ok: true, newest: '00065f2f1c7c64c00001' });
    expect(value('reply-with-body')).toBeNull();
    const failure = frame('failure').payload;
    expect(decodeFailure(failure, 0, failure.length, false)).toEqual({
      code: 'disk-full',
      message: 'no room',
      facts: { device: 'd1' },
      isWire: false,
    });
    expect(value('failure-wire')).toEqual(['overloaded', 'too many calls', {}]);
  });

  it('carry bodies, credit, cancellations and the reason of an end', () => {
    expect(frame('data').payload.toString()).toBe('some bytes');
    expect(frame('data-end').payload.toString()).toBe('the last');
    expect(frame('data-end-empty').payload).toHaveLength(0);
    expect(frame('credit-stream').payload.readUInt32BE()).toBe(262_144);
    expect(frame('cancel').payload.toString()).toBe('timeout');
    const goodbye = { code: 'closing', message: 'the process goes away' };
    expect(decodeGoodbye(frame('goodbye').payload)).toEqual(goodbye);
    expect(encodeGoodbye(goodbye).equals(frame('goodbye').payload)).toBe(true);
  });

  it.each(lines('corrupt.txt'))('%s is refused as %s', (_name, code, hex) => {
    let thrown: unknown;
    try {
      for (const { header, payload } of read(Buffer.from(hex!, 'hex'))) {
        if (header.type === FRAME.call) decodeCall(payload, 0, payload.length);
      }
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ProtocolError);
    expect(thrown).toMatchObject({ code });
  });
});

describe('the handshake of version 1', () => {
  let dials: Hello;
  let accepts: Hello;
  beforeAll(() => {
    dials = decodeHello(frame('hello-dials').payload);
    accepts = decodeHello(frame('hello-accepts').payload);
  });

  it('says who speaks, and what it can do', () => {
    expect(dials).toEqual({
      minVersion: 1,
      maxVersion: 1,
      features: 0,
      initialCredit: 262_144,
      dataBytes: 262_144,
      connectionWindow: 8_388_608,
      controlBytes: 8_388_608,
      lane: 1,
      role: 'dials',
      nonce: Buffer.alloc(32, 0x11),
      instance: Buffer.alloc(8, 0x22),
      clusterId: 'anello-test',
      node: 'lngs-1',
      site: 'lngs',
    });
    expect(accepts).toMatchObject({ role: 'accepts', node: 'bari-1', site: 'bari' });
    expect(encodeHello(dials).equals(frame('hello-dials').payload)).toBe(true);
    expect(encodeHello(accepts).equals(frame('hello-accepts').payload)).toBe(true);
  });

  it('proves the key by the documented sum', () => {
    for (const role of ['dials', 'accepts']) {
      const hmac = createHmac('sha256', KEY).update(`anello wire proof\0${role}`);
      for (const name of ['hello-dials', 'hello-accepts']) {
        const { payload } = frame(name);
        hmac.update(Buffer.of(0, 0, payload.length >> 8, payload.length & 255)).update(payload);
      }
      expect(hmac.digest().equals(frame(`proof-${role}`).payload)).toBe(true);
    }
  });

  it('is accepted from both sides', () => {
    const cluster = { clusterId: 'anello-test', sharedKey: KEY };
    for (const [own, other] of [
      [dials, 'accepts'],
      [accepts, 'dials'],
    ] as const) {
      const common = { cluster, expectedNode: undefined, certificateName: undefined };
      const handshake = new Handshake({ ...common, own });
      expect(handshake.acceptHello(frame(`hello-${other}`).payload)).toBe(1);
      handshake.acceptProof(frame(`proof-${other}`).payload);
    }
  });
});

describe('what this build sends', () => {
  it('is version 1, byte for byte', () => {
    const written: Buffer[] = [];
    const outbox = new Outbox({
      socket: {
        write: (bytes: Uint8Array) => written.push(Buffer.from(bytes)) > 0,
        cork: () => undefined,
        uncork: () => undefined,
        bufferedBytes: 0,
      } as never,
      clock: { defer: () => undefined } as never,
      summed: true,
      micros: () => CLOCK,
      addControl: () => undefined,
      addData: () => outbox.data(FLAG_END, 3, [Buffer.from('the '), Buffer.from('last')], 8),
    });
    const frames = new CallFrames(outbox, 1000);
    const args = { hash: Buffer.alloc(16, 0xab), size: 5, etag: undefined };
    frames.call(1, false, { method: 'object.put', txn: 'tx0001', remainingMs: 10_000, args });
    frames.reply(3, true, null);
    frames.failure(5, {
      code: 'disk-full',
      message: 'no room',
      facts: { device: 'd1' },
      isWire: false,
    });
    frames.cancel(3, 'timeout');
    frames.credit(3, 262_144);
    outbox.flush();
    const names = ['call', 'reply-with-body', 'failure', 'cancel', 'credit-stream', 'data-end'];
    const expected = Buffer.concat(names.map((name) => FRAMES.get(name)!));
    expect(Buffer.concat(written).toString('hex')).toBe(expected.toString('hex'));
    expect(expected.length).toBeGreaterThan(6 * HEADER_BYTES);
  });
});
