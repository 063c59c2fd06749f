import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Endpoint } from './endpoint.ts';
import { FLAG_BODY, FLAG_END, FLAG_SUMMED, FRAME, HEADER_BYTES } from './format.ts';
import type { Hello } from './hello.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { makeFrame, packed, ScriptedPeer, testHello } from './testing/scripted-peer.ts';
import { SimCluster, TEST_CLUSTER } from './testing/sim-cluster.ts';

let cluster: SimCluster;
let endpoint: Endpoint;

async function setUp(limits = {}): Promise<void> {
  cluster = new SimCluster();
  endpoint = await cluster.start('a', 'here', { limits });
  endpoint.handle('echo', (args) => ({ result: args }));
  endpoint.handle('hang', () => new Promise(() => undefined));
  endpoint.handle('ignore', async (_args, { deadline }) => {
    await new Promise((resolve) => deadline.signal.addEventListener('abort', resolve));
    return { result: null };
  });
}

beforeEach(() => setUp());

async function dial(hello?: Partial<Hello>, shared = TEST_CLUSTER): Promise<ScriptedPeer> {
  const { env } = cluster.world.machine('scripted');
  return cluster.world.run(ScriptedPeer.dial(env, 'a', shared, testHello(hello)));
}

/** A peer that has proven itself. */
async function member(hello?: Partial<Hello>): Promise<ScriptedPeer> {
  const peer = await dial(hello);
  peer.sayHello();
  await cluster.world.runFor(5);
  peer.prove();
  await cluster.world.runFor(5);
  return peer;
}

function call(stream: number, method = 'echo', args: unknown = null, flags = 0): Buffer {
  const payload = packed([method, 'tx', 1000, args]);
  return makeFrame(FRAME.call, payload, { stream, flags: FLAG_SUMMED | flags });
}

/** The named error that the endpoint answers `bytes` with; undefined if the connection stays. */
async function verdict(peer: ScriptedPeer, bytes: Buffer): Promise<string | undefined> {
  peer.socket.write(bytes);
  await cluster.world.runFor(20);
  return peer.goodbye?.code;
}

describe('a peer that has not proven itself', () => {
  it('is told why when it speaks another protocol', async () => {
    const peer = await dial();
    const request = Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await verdict(peer, request)).toBe('header-checksum');
    expect(peer.closed).toBe(true);
  });

  it('is told why when its HELLO is no HELLO', async () => {
    const peer = await dial();
    expect(await verdict(peer, makeFrame(FRAME.hello, Buffer.alloc(90)))).toBe('malformed-frame');
  });

  it('is refused with a HELLO of more than 4 KiB', async () => {
    const peer = await dial();
    expect(await verdict(peer, makeFrame(FRAME.hello, Buffer.alloc(5000)))).toBe('oversized-frame');
  });

  it.each([
    ['another cluster', { clusterId: 'other' }, 'wrong-cluster'],
    ['the name of the node itself', { node: 'a' }, 'wrong-node'],
    ['only later versions', { minVersion: 7, maxVersion: 9 }, 'no-common-version'],
    ['a version range upside down', { minVersion: 2, maxVersion: 1 }, 'malformed-frame'],
    ['the role of an acceptor', { role: 'accepts' as const }, 'unexpected-frame'],
    ['a lane that nobody has', { lane: 99 }, 'malformed-frame'],
    ['a window too small to move', { connectionWindow: 10 }, 'malformed-frame'],
  ])('is refused with %s', async (_what, hello, code) => {
    const peer = await dial(hello);
    peer.sayHello();
    await cluster.world.runFor(5);
    expect(peer.goodbye?.code).toBe(code);
    expect(peer.frames(FRAME.hello)).toHaveLength(1);
  });

  it('is refused with a proof under another key, and learns nothing of the key', async () => {
    const peer = await dial({}, { ...TEST_CLUSTER, sharedKey: Buffer.alloc(32, 8) });
    peer.sayHello();
    await cluster.world.runFor(5);
    peer.prove();
    await cluster.world.runFor(5);
    expect(peer.goodbye?.code).toBe('wrong-proof');
    const everything = Buffer.concat(peer.received);
    expect(everything.includes(TEST_CLUSTER.sharedKey.subarray(0, 8))).toBe(false);
  });

  it("can't send the endpoint's own proof back to it", async () => {
    const peer = await dial();
    peer.sayHello();
    await cluster.world.runFor(5);
    const [proof] = peer.frames(FRAME.proof);
    expect(await verdict(peer, makeFrame(FRAME.proof, proof!.payload))).toBe('wrong-proof');
  });

  it("can't replay what another peer has sent", async () => {
    const first = await dial();
    first.sayHello();
    await cluster.world.runFor(5);
    const sent: Buffer[] = [];
    const write = first.socket.write.bind(first.socket);
    first.socket.write = (bytes) => {
      sent.push(Buffer.from(bytes));
      return write(bytes);
    };
    first.prove();
    const second = await dial();
    second.sayHello();
    await cluster.world.runFor(5);
    expect(await verdict(second, sent[0]!)).toBe('wrong-proof');
  });

  it("can't call, and can't move the clock", async () => {
    const peer = await dial();
    const ahead = cluster.world.machine('a').env.clock.wallMicros() + 3_600_000_000;
    peer.send(makeFrame(FRAME.hello, peer.hello, { clockMicros: ahead }));
    await cluster.world.runFor(5);
    expect(await verdict(peer, call(1))).toBe('unexpected-frame');
    const next = await member();
    const wall = cluster.world.machine('a').env.clock.wallMicros();
    expect(next.seen.at(-1)!.clockMicros).toBeLessThanOrEqual(wall);
  });

  it('is dropped when it says nothing', async () => {
    const peer = await dial();
    await cluster.world.runFor(DEFAULT_LIMITS.handshakeTimeoutMs + 100);
    expect(peer.goodbye?.code).toBe('handshake-timeout');
    expect(peer.closed).toBe(true);
  });

  it('is one of at most so many', async () => {
    await setUp({ pendingHandshakes: 3 });
    const peers = [await dial(), await dial(), await dial()];
    const extra = await dial();
    await cluster.world.runFor(5);
    expect(extra.closed).toBe(true);
    expect(endpoint.status().pendingHandshakes).toBe(3);
    for (const peer of peers) peer.socket.destroy();
    await cluster.world.runFor(5);
    expect(endpoint.status().pendingHandshakes).toBe(0);
  });
});

describe('a member that breaks the rules', () => {
  it.each([
    ['an unknown frame type', () => makeFrame(77), 'unknown-frame'],
    [
      'unknown flags',
      () => makeFrame(FRAME.ping, Buffer.alloc(16), { flags: 0x90 }),
      'unknown-frame',
    ],
    ['a second HELLO', () => makeFrame(FRAME.hello, Buffer.alloc(99)), 'unexpected-frame'],
    ['a PING of the wrong length', () => makeFrame(FRAME.ping, Buffer.alloc(3)), 'malformed-frame'],
    ['a PONG without a PING', () => makeFrame(FRAME.pong, Buffer.alloc(16, 9)), 'unexpected-frame'],
    [
      'a CALL that is not msgpack',
      () => makeFrame(FRAME.call, Buffer.of(0xc1), { stream: 1 }),
      'malformed-frame',
    ],
    [
      'a CALL of another shape',
      () => makeFrame(FRAME.call, packed({ a: 1 }), { stream: 1 }),
      'malformed-frame',
    ],
    ['a CALL with an even stream', () => call(2), 'unexpected-frame'],
    ['a CALL on stream 0', () => call(0), 'unexpected-frame'],
    ['a stream used twice', () => Buffer.concat([call(1), call(1)]), 'unexpected-frame'],
    [
      'a REPLY to no call',
      () => makeFrame(FRAME.reply, packed(1), { stream: 2 }),
      'unexpected-frame',
    ],
    [
      'a REPLY to its own call',
      () => Buffer.concat([call(1, 'hang'), makeFrame(FRAME.reply, packed(1), { stream: 1 })]),
      'unexpected-frame',
    ],
    [
      'DATA before its CALL',
      () => makeFrame(FRAME.data, Buffer.alloc(9), { stream: 1 }),
      'unexpected-frame',
    ],
    [
      'DATA that was not announced',
      () => Buffer.concat([call(1, 'hang'), makeFrame(FRAME.data, Buffer.alloc(9), { stream: 1 })]),
      'unexpected-frame',
    ],
    [
      'empty DATA that ends nothing',
      () =>
        Buffer.concat([
          call(1, 'hang', null, FLAG_BODY),
          makeFrame(FRAME.data, Buffer.alloc(0), { stream: 1 }),
        ]),
      'malformed-frame',
    ],
    [
      'DATA after its end',
      () => Buffer.concat([call(1, 'hang', null, FLAG_BODY), data(1, 9, FLAG_END), data(1, 9)]),
      'unexpected-frame',
    ],
    [
      'DATA longer than agreed',
      () => makeFrame(FRAME.data, Buffer.alloc(262_145), { stream: 1 }),
      'oversized-frame',
    ],
    [
      'a CALL longer than agreed',
      () => makeFrame(FRAME.call, Buffer.alloc(8_388_609), { stream: 1 }),
      'oversized-frame',
    ],
    [
      'CREDIT for DATA never sent',
      () => makeFrame(FRAME.credit, Buffer.of(0, 0, 0, 9)),
      'credit-exceeded',
    ],
    [
      'a payload with a wrong checksum',
      () => makeFrame(FRAME.ping, Buffer.alloc(16), { payloadSum: 5 }),
      'payload-checksum',
    ],
    [
      'a payload without checksum',
      () => makeFrame(FRAME.ping, Buffer.alloc(16), { flags: 0 }),
      'malformed-frame',
    ],
    [
      'a CALL after its GOODBYE',
      () => Buffer.concat([makeFrame(FRAME.goodbye, Buffer.from('\x07closing')), call(1)]),
      'unexpected-frame',
    ],
    ['a GOODBYE cut short', () => makeFrame(FRAME.goodbye, Buffer.of(200, 1)), 'malformed-frame'],
  ])('is told %s by name', async (_what, bytes, code) => {
    const peer = await member();
    const other = await member({ node: 'other' });
    await verdict(peer, bytes());
    const codes = peer
      .frames(FRAME.goodbye)
      .map(({ payload }) => payload.toString('utf8', 1, 1 + payload[0]!));
    expect(codes.at(-1)).toBe(code);
    expect(peer.closed).toBe(true);
    expect(endpoint.status().errors).toMatchObject({ [code]: 1 });
    expect(await verdict(other, call(1))).toBeUndefined();
    expect(other.frames(FRAME.reply)).toHaveLength(1);
  });

  it('gets no more than its credit, however slowly the handler reads', async () => {
    const peer = await member();
    peer.send(call(1, 'hang', null, FLAG_BODY));
    const code = await verdict(
      peer,
      Buffer.concat(Array.from({ length: 5 }, () => data(1, 262_144))),
    );
    expect(code).toBe('credit-exceeded');
  });

  it("can't make the process decode what is longer than its bytes", async () => {
    const bombs = [
      'dd ff ff ff ff',
      'df 7f ff ff ff',
      'c6 ff ff ff ff',
      'db ff ff ff ff',
      'dd 01 ff ff ff',
    ];
    for (const bomb of bombs) {
      const peer = await member();
      const payload = Buffer.from(`94 a4 6563686f a1 78 01 ${bomb}`.replaceAll(' ', ''), 'hex');
      expect(await verdict(peer, makeFrame(FRAME.call, payload, { stream: 1 }))).toBe(
        'malformed-frame',
      );
    }
    const deep = await member();
    const nested = Buffer.alloc(100_000, 0x91);
    expect(await verdict(deep, makeFrame(FRAME.call, nested, { stream: 1 }))).toBe(
      'malformed-frame',
    );
  });

  it('is answered `overloaded` beyond the number of calls, also when it cancels them', async () => {
    await setUp({ callsPerConnection: 4 });
    const peer = await member();
    const stubborn = [1, 3, 5, 7].map((stream) => call(stream, 'hang'));
    const cancels = [1, 3, 5, 7].map((stream) =>
      makeFrame(FRAME.cancel, Buffer.alloc(0), { stream }),
    );
    expect(await verdict(peer, Buffer.concat([...stubborn, ...cancels, call(9)]))).toBeUndefined();
    const [refusal] = peer.frames(FRAME.failure);
    expect(refusal?.stream).toBe(9);
    expect(refusal?.payload.toString('latin1')).toContain('overloaded');
  });

  it('is answered `overloaded` while it does not read its replies, then cut off', async () => {
    await setUp({ outputSoftBytes: 1_000_000, outputHardBytes: 1_500_000 });
    endpoint.handle('big', () => ({ result: Buffer.alloc(400_000) }));
    const peer = await member();
    peer.socket.pause();
    const ask = async (from: number, to: number): Promise<void> => {
      for (let stream = from; stream < to; stream += 2) peer.send(call(stream, 'big'));
      await cluster.world.runFor(50);
    };
    // The path itself holds a megabyte.
    await ask(1, 21);
    await ask(21, 41);
    const { connections } = endpoint.status();
    expect(connections[0]!.waitingBytes).toBeGreaterThan(1_000_000);
    expect(connections[0]!.waitingBytes).toBeLessThan(1_500_000);
    await ask(41, 20_001);
    expect(endpoint.status()).toMatchObject({ connections: [], errors: { 'output-overflow': 1 } });
    const other = await member({ node: 'other' });
    expect(await verdict(other, call(1))).toBeUndefined();
    expect(other.frames(FRAME.reply)).toHaveLength(1);
  });

  it('is refused with a clock beyond the drift limit, which is not adopted', async () => {
    const peer = await member();
    const wall = cluster.world.machine('a').env.clock.wallMicros();
    const ahead = wall + 7 * 3600 * 1_000_000;
    const ping = makeFrame(FRAME.ping, Buffer.alloc(16), { clockMicros: ahead });
    expect(await verdict(peer, ping)).toBe('clock-drift');
    const near = await member();
    near.send(makeFrame(FRAME.ping, Buffer.alloc(16), { clockMicros: wall + 3_600_000_000 }));
    await cluster.world.runFor(5);
    expect(near.goodbye).toBeUndefined();
    expect(near.frames(FRAME.pong)[0]!.clockMicros).toBeGreaterThanOrEqual(wall + 3_600_000_000);
  });

  it('is left in the end when it never says goodbye', async () => {
    await setUp();
    const peer = await member();
    const closing = endpoint.close(1_000_000);
    await cluster.world.runFor(5);
    expect(peer.goodbye?.code).toBe('closing');
    for (let second = 0; second < 58; second++) {
      await cluster.world.runFor(1000);
      expect(peer.closed).toBe(false);
      peer.send(makeFrame(FRAME.ping, Buffer.alloc(16)));
    }
    await cluster.world.runFor(5000);
    expect(peer.closed).toBe(true);
    await cluster.world.run(closing);
  });

  it('may cancel, confirm and grant for calls that are over: such frames cross replies', async () => {
    const peer = await member();
    await verdict(peer, call(1));
    const late = [
      makeFrame(FRAME.cancel, Buffer.from('late'), { stream: 1 }),
      makeFrame(FRAME.credit, Buffer.of(0, 0, 1, 0), { stream: 1 }),
      data(1, 100),
    ];
    expect(await verdict(peer, Buffer.concat(late))).toBeUndefined();
  });
});

function data(stream: number, length: number, flags = 0): Buffer {
  return makeFrame(FRAME.data, Buffer.alloc(length, 1), { stream, flags: FLAG_SUMMED | flags });
}

describe('whatever bytes come', () => {
  const transcript = Buffer.concat([
    call(1, 'echo', { name: 'x', data: Buffer.alloc(100, 1) }),
    call(3, 'ignore', null, FLAG_BODY),
    data(3, 5000),
    makeFrame(FRAME.ping, Buffer.alloc(16)),
    data(3, 10, FLAG_END),
    makeFrame(FRAME.cancel, Buffer.from('why'), { stream: 3 }),
    call(5),
  ]);

  async function survives(bytes: Buffer, proven: boolean): Promise<void> {
    const peer = proven ? await member() : await dial();
    peer.socket.write(bytes);
    await cluster.world.runFor(30);
    const { goodbye } = peer;
    if (goodbye !== undefined) expect(endpoint.status().errors).toHaveProperty(goodbye.code);
    peer.socket.destroy();
    const witness = await member({ node: 'witness' });
    witness.send(call(1));
    await cluster.world.runFor(10);
    expect(witness.frames(FRAME.reply)).toHaveLength(1);
    witness.socket.destroy();
  }

  it('a random stream harms nothing', () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, proven) =>
        survives(Buffer.from(bytes), proven),
      ),
      { numRuns: 60 },
    ));

  it('random frames with sound checksums harm nothing', () => {
    const frame = fc
      .tuple(fc.nat(12), fc.uint8Array({ maxLength: 60 }), fc.nat(9), fc.nat(7))
      .map(([type, payload, stream, flags]) =>
        makeFrame(type, Buffer.from(payload), { stream, flags: FLAG_SUMMED | flags }),
      );
    return fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 12 }), fc.boolean(), (frames, proven) =>
        survives(Buffer.concat(frames), proven),
      ),
      { numRuns: 100 },
    );
  });

  it('a valid transcript with one byte changed is refused by name', () =>
    fc.assert(
      fc.asyncProperty(
        fc.nat(transcript.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, mask) => {
          const mutated = Buffer.from(transcript);
          mutated[at] = mutated[at]! ^ mask;
          const peer = await member();
          const code = await verdict(peer, mutated);
          expect(['header-checksum', 'payload-checksum']).toContain(code);
        },
      ),
      { numRuns: 100 },
    ));

  it('a valid transcript in any order, cut anywhere, harms nothing', () => {
    const frames: Buffer[] = [];
    for (let at = 0; at < transcript.length; ) {
      const end = at + HEADER_BYTES + transcript.readUIntBE(at, 3);
      frames.push(transcript.subarray(at, end));
      at = end;
    }
    return fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray(frames),
        fc.nat(transcript.length),
        async (shuffled, length) => survives(Buffer.concat(shuffled).subarray(0, length), true),
      ),
      { numRuns: 60 },
    );
  });
});
