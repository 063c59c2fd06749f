import { describe, expect, it } from 'vitest';
import { OperatingError } from '#base/errors.ts';
import { type CallOptions, WireError } from './contract.ts';
import { bodyOf, patternAt, readAll, SimCluster } from './testing/sim-cluster.ts';

const CALL: CallOptions = { txn: 'tx1', deadlineMs: 1000 };

async function failure(promise: Promise<unknown>): Promise<WireError> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(WireError);
  return error as WireError;
}

describe.each([
  ['to another node', 'b'],
  ['to its own node', 'a'],
])('a call %s', (_name, target) => {
  async function setUp() {
    const cluster = new SimCluster();
    const a = await cluster.start('a');
    const b = await cluster.start('b');
    return { cluster, world: cluster.world, a, callee: target === 'a' ? a : b };
  }

  it('brings arguments and result, transaction and peer', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('echo', (args, context) => ({
      result: { args, txn: context.txn, peer: context.peer },
    }));
    const bin = new Uint8Array([1, 2, 3]);
    const { result, body } = await world.run(
      a.call(target, 'echo', { n: 1, gone: undefined, bin, list: [null, 'x'] }, CALL),
    );
    expect(body).toBeUndefined();
    expect(result).toEqual({
      args: { n: 1, gone: null, bin: Buffer.from(bin), list: [null, 'x'] },
      txn: 'tx1',
      peer: 'a',
    });
    const received = (result as { args: { bin: unknown } }).args;
    expect(Buffer.isBuffer(received.bin)).toBe(true);
  });

  it('streams bodies both ways', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('double', (_args, context) => ({
      result: null,
      body: (async function* () {
        for await (const piece of context.body!) yield piece.map((byte) => byte ^ 0xff);
      })(),
    }));
    const length = 3 * 1024 * 1024 + 17;
    const answer = await world.run(
      (async () => {
        const { body } = await a.call(target, 'double', null, { ...CALL, body: bodyOf(length) });
        return readAll(body);
      })(),
    );
    expect(answer.equals(patternAt(0, length).map((byte) => byte ^ 0xff))).toBe(true);
  });

  it('fails with the code and facts that the handler threw', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('fail', () => {
      throw new OperatingError('disk-full', 'no room', { device: 'd1' });
    });
    const error = await world.run(failure(a.call(target, 'fail', null, CALL)));
    expect(error).toMatchObject({
      code: 'remote',
      remoteCode: 'disk-full',
      message: 'no room',
      facts: { device: 'd1' },
    });
  });

  it('is refused for an unknown method', async () => {
    const { world, a } = await setUp();
    const error = await world.run(failure(a.call(target, 'nope', null, CALL)));
    expect(error).toMatchObject({ code: 'refused', facts: { method: 'nope' } });
  });

  it('fails when its result is no data, or too large, and harms no other call', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('symbol', () => ({ result: Symbol('x') }));
    const error = await world.run(failure(a.call(target, 'symbol', null, CALL)));
    expect(error).toMatchObject({ code: 'remote', remoteCode: 'bad-reply' });
    expect(a.status().errors).toEqual({});
  });

  it('is refused when its arguments are no data', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('echo', (args) => ({ result: args }));
    const circular: unknown[] = [];
    circular.push(circular);
    let deep: unknown = 1;
    for (let depth = 0; depth < 70; depth++) deep = [deep];
    for (const args of [circular, deep, Symbol('x')]) {
      const error = await world.run(failure(a.call(target, 'echo', args, CALL)));
      expect(error.code).toBe('refused');
    }
    expect(a.status().errors).toEqual({});
  });

  it('ends at its deadline, and the handler learns of it', async () => {
    const { world, a, callee } = await setUp();
    let aborted: unknown;
    callee.handle('hang', (_args, { deadline }) => {
      expect(deadline.remainingMs()).toBeGreaterThan(90);
      return new Promise((_resolve, reject) => {
        deadline.signal.addEventListener('abort', () => {
          aborted = deadline.signal.reason;
          reject(new Error('gave up'));
        });
      });
    });
    const start = world.nowMs;
    const error = await world.run(
      failure(a.call(target, 'hang', null, { ...CALL, deadlineMs: 100 })),
    );
    expect(error.code).toBe('timeout');
    expect(world.nowMs - start).toBeCloseTo(100, -1);
    await world.runFor(10);
    expect(aborted).toMatchObject({ code: 'timeout' });
  });

  it('is cancelled by its signal, and the handler learns of it', async () => {
    const { world, a, callee } = await setUp();
    let aborted: unknown;
    callee.handle('hang', (_args, { deadline }) => {
      return new Promise(() => {
        deadline.signal.addEventListener('abort', () => {
          aborted = deadline.signal.reason;
        });
      });
    });
    const controller = new AbortController();
    const outcome = failure(a.call(target, 'hang', null, { ...CALL, signal: controller.signal }));
    await world.runFor(5);
    controller.abort();
    expect(await world.run(outcome)).toMatchObject({ code: 'cancelled' });
    await world.runFor(5);
    expect(aborted).toMatchObject({ code: 'cancelled' });
    const late = failure(a.call(target, 'hang', null, { ...CALL, signal: controller.signal }));
    expect(await world.run(late)).toMatchObject({ code: 'cancelled' });
  });

  it('stops the source of its body when the handler wants no more', async () => {
    const { world, a, callee } = await setUp();
    let produced = 0;
    let closed = false;
    async function* endless() {
      try {
        for (;;) {
          produced += 65536;
          yield Buffer.alloc(65536);
        }
      } finally {
        closed = true;
      }
    }
    callee.handle('some', async (_args, { body }) => {
      let read = 0;
      for await (const piece of body!) {
        read += piece.length;
        if (read > 1_000_000) break;
      }
      return { result: read };
    });
    const { result } = await world.run(a.call(target, 'some', null, { ...CALL, body: endless() }));
    await world.runFor(10);
    expect(result).toBeGreaterThan(1_000_000);
    expect(closed).toBe(true);
    expect(produced).toBeLessThan(8 * 1024 * 1024);
  });

  it('stops the source of its reply body when the caller leaves off reading', async () => {
    const { world, a, callee } = await setUp();
    let closed = false;
    callee.handle('endless', () => ({
      result: null,
      body: (async function* () {
        try {
          for (;;) yield Buffer.alloc(65536);
        } finally {
          closed = true;
        }
      })(),
    }));
    const read = async (): Promise<number> => {
      const { body } = await a.call(target, 'endless', null, CALL);
      let bytes = 0;
      for await (const piece of body!) {
        bytes += piece.length;
        if (bytes >= 500_000) break;
      }
      return bytes;
    };
    expect(await world.run(read())).toBeGreaterThanOrEqual(500_000);
    await world.runFor(10);
    expect(closed).toBe(true);
    expect(a.status().receiveWindowBytes).toBe(0);
    const active = a.status().connections.map(({ callsOutActive }) => callsOutActive);
    expect(active.every((count) => count === 0)).toBe(true);
    expect(a.status().localCalls).toBe(0);
  });

  it('may have a body that is read on after the reply has begun, by both sides', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('lengths', (_args, { body }) => ({
      result: 'started',
      body: (async function* () {
        for await (const piece of body!) yield Buffer.from(`${piece.length} `);
      })(),
    }));
    const { clock } = world.machine('a').env;
    async function* slow() {
      for (const length of [10, 20, 30]) {
        yield Buffer.alloc(length);
        await clock.sleep(20);
      }
    }
    const exchange = async (): Promise<string> => {
      const { result, body } = await a.call(target, 'lengths', null, { ...CALL, body: slow() });
      return `${result}: ${await readAll(body)}`;
    };
    expect(await world.run(exchange())).toBe('started: 10 20 30 ');
  });

  it('fails when the source of its body fails, and the handler learns of it', async () => {
    const { world, a, callee } = await setUp();
    let seen: unknown;
    callee.handle('read', async (_args, { body }) => {
      try {
        await readAll(body);
      } catch (error) {
        seen = error;
      }
      return { result: null };
    });
    async function* broken() {
      yield Buffer.alloc(10);
      throw new OperatingError('client-gone', 'the client has left');
    }
    const error = await world.run(
      failure(a.call(target, 'read', null, { ...CALL, body: broken() })),
    );
    expect(error).toMatchObject({ code: 'cancelled', facts: { reason: 'client-gone' } });
    await world.runFor(5);
    expect(seen).toMatchObject({ code: 'cancelled' });
  });

  it('has its reply body break off with the code that its source threw', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('half', () => ({
      result: 'started',
      body: (async function* () {
        yield Buffer.alloc(10);
        throw new OperatingError('bad-block', 'checksum');
      })(),
    }));
    const { result, body } = await world.run(a.call(target, 'half', null, CALL));
    expect(result).toBe('started');
    const error = await world.run(failure(readAll(body)));
    expect(error).toMatchObject({ code: 'remote', remoteCode: 'bad-block' });
  });

  it('may take longer than its deadline while bytes of a body move', async () => {
    const { world, a, callee } = await setUp();
    callee.handle('read', async (_args, { body }) => ({ result: (await readAll(body)).length }));
    const { clock } = world.machine('a').env;
    async function* slow() {
      for (let i = 0; i < 20; i++) {
        await clock.sleep(50);
        yield Buffer.alloc(100);
      }
    }
    const { result } = await world.run(
      a.call(target, 'read', null, { ...CALL, deadlineMs: 200, body: slow() }),
    );
    expect(result).toBe(2000);
  });

  it('has a reply body cut off that nobody reads, and the source is closed', async () => {
    const { world, a, callee } = await setUp();
    let closed = false;
    callee.handle('endless', () => ({
      result: null,
      body: (async function* () {
        try {
          for (;;) yield Buffer.alloc(65536);
        } finally {
          closed = true;
        }
      })(),
    }));
    const { body } = await world.run(a.call(target, 'endless', null, { ...CALL, deadlineMs: 300 }));
    await world.runFor(700);
    expect(closed).toBe(true);
    expect(await world.run(failure(readAll(body)))).toMatchObject({ code: 'timeout' });
    expect(a.status().receiveWindowBytes).toBe(0);
  });
});
