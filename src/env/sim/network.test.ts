import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { rejectedCode } from '#base/testing/thrown.ts';
import type { Listener, Socket } from '../env.ts';
import type { Machine } from './machine.ts';
import { SimWorld } from './world.ts';

interface Pair {
  readonly world: SimWorld;
  readonly a: Machine;
  readonly b: Machine;
  readonly listener: Listener;
  readonly client: Socket;
  readonly server: Socket;
}

const ADDRESS = { host: 'b', port: 7400 };

/** Two machines, 10 ms apart, with one connection. */
async function withPair(body: (pair: Pair) => Promise<void>, seed = 1): Promise<void> {
  const world = new SimWorld({ seed });
  const [a, b] = [world.machine('a'), world.machine('b')];
  world.network.setLinkBothWays('a', 'b', { delayMs: 10, jitterMs: 0 });
  const whole = async (): Promise<void> => {
    const accepted = Promise.withResolvers<Socket>();
    const listener = await b.env.network.listen(ADDRESS, accepted.resolve);
    const client = await a.env.network.connect(ADDRESS);
    await body({ world, a, b, listener, client, server: await accepted.promise });
  };
  await world.run(whole());
}

/** Everything that arrives, and whether the socket was closed. */
function watch(socket: Socket) {
  const seen = { text: '', closed: undefined as string | undefined };
  socket.onData = (bytes) => {
    seen.text += bytes.toString('latin1');
  };
  socket.onClose = (error) => {
    seen.closed = error === undefined ? 'ended' : codeOf(error);
  };
  return seen;
}

describe('simulated network', () => {
  it("takes the link's delay each way, and its bandwidth", () =>
    withPair(async ({ world, a, client, server }) => {
      server.onData = (bytes) => server.write(bytes);
      const start = a.env.clock.monotonicMs();
      const reply = new Promise((resolve) => {
        client.onData = resolve;
      });
      client.write(Buffer.from('x'));
      await reply;
      expect(a.env.clock.monotonicMs() - start).toBeCloseTo(20, 0);
      world.network.setLink('a', 'b', { bytesPerMs: 1000 });
      const before = a.env.clock.monotonicMs();
      let echoed = 0;
      await new Promise<void>((resolve) => {
        client.onData = (bytes) => {
          echoed += bytes.length;
          if (echoed === 100_000) resolve();
        };
        client.write(Buffer.alloc(100_000));
      });
      const tookMs = a.env.clock.monotonicMs() - before;
      expect(tookMs).toBeGreaterThan(110);
      expect(tookMs).toBeLessThan(140);
    }));

  it('joins and splits writes: they are no messages', () =>
    withPair(async ({ a, client, server }) => {
      const lengths: number[] = [];
      server.onData = (bytes) => lengths.push(bytes.length);
      for (let turn = 0; turn < 100; turn++) {
        client.write(Buffer.alloc(30));
        client.write(Buffer.alloc(20));
        await a.env.clock.sleep(1);
      }
      await a.env.clock.sleep(50);
      expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(5000);
      expect(lengths.filter((length) => length === 50).length).toBeGreaterThan(50);
      expect(lengths.some((length) => length < 50 && length !== 30 && length !== 20)).toBe(true);
    }));

  it('a cut holds back what is sent until it heals; in order, nothing lost', () =>
    withPair(async ({ world, a, client, server }) => {
      const seen = watch(server);
      world.network.partition(['a'], ['b']);
      for (const part of ['one ', 'two ', 'three ']) {
        client.write(Buffer.from(part));
        await a.env.clock.sleep(100);
      }
      expect(seen).toEqual({ text: '', closed: undefined });
      expect(await rejectedCode(a.env.network.connect(ADDRESS, { timeoutMs: 500 }))).toBe(
        'ETIMEDOUT',
      );
      world.network.heal();
      client.write(Buffer.from('four'));
      await a.env.clock.sleep(5000);
      expect(seen.text).toBe('one two three four');
    }));

  it('a cut of one direction lets the other pass', () =>
    withPair(async ({ world, a, client, server }) => {
      const [atServer, atClient] = [watch(server), watch(client)];
      world.network.cut('a', 'b');
      client.write(Buffer.from('to b'));
      server.write(Buffer.from('to a'));
      await a.env.clock.sleep(100);
      expect([atServer.text, atClient.text]).toEqual(['', 'to a']);
      world.network.heal('a', 'b');
      await a.env.clock.sleep(5000);
      expect(atServer.text).toBe('to b');
    }));

  it('a writer into a cut feels back-pressure', () =>
    withPair(async ({ world, a, client, server }) => {
      const seen = watch(server);
      world.network.partition(['a'], ['b']);
      let sent = 0;
      while (client.write(Buffer.alloc(64 * 1024, 'x'))) {
        sent++;
        await a.env.clock.sleep(1);
        expect(sent).toBeLessThan(100);
      }
      const drained = new Promise<void>((resolve) => {
        client.onDrain = resolve;
      });
      world.network.heal();
      await drained;
      await a.env.clock.sleep(5000);
      expect(seen.text.length).toBe((sent + 1) * 64 * 1024);
    }));

  it('a silent connection is given up after a quarter of an hour', () =>
    withPair(async ({ world, a, client }) => {
      const seen = watch(client);
      world.network.partition(['a'], ['b']);
      client.write(Buffer.from('x'));
      await a.env.clock.sleep(800_000);
      expect(seen.closed).toBeUndefined();
      await a.env.clock.sleep(110_000);
      expect(seen.closed).toBe('ETIMEDOUT');
    }));

  it('a killed process is seen by its peers, a machine without power is not', () =>
    withPair(async ({ a, b, client }) => {
      const seen = watch(client);
      b.kill();
      await a.env.clock.sleep(100);
      expect(['ended', 'ECONNRESET']).toContain(seen.closed);
      expect(await rejectedCode(a.env.network.connect(ADDRESS))).toBe('ECONNREFUSED');
      b.restart();
      await b.env.network.listen(ADDRESS, () => undefined);
      const again = watch(await a.env.network.connect(ADDRESS));
      b.crash();
      await a.env.clock.sleep(10_000);
      expect(again.closed).toBeUndefined();
      expect(await rejectedCode(a.env.network.connect(ADDRESS))).toBe('ETIMEDOUT');
    }));

  it('after a power failure, old connections break when they are used', () =>
    withPair(async ({ a, b, client }) => {
      const seen = watch(client);
      b.crash();
      client.write(Buffer.from('into the dark'));
      await a.env.clock.sleep(1000);
      expect(seen.closed).toBeUndefined();
      b.restart();
      await a.env.clock.sleep(5000);
      expect(seen.closed).toBe('ECONNRESET');
    }));

  it('dropped connections break at both ends; new ones are possible', () =>
    withPair(async ({ world, a, client, server }) => {
      const ends = [watch(client), watch(server)];
      world.network.dropConnections('a', 'b');
      await a.env.clock.sleep(100);
      expect(ends.map((end) => end.closed)).toEqual(['ECONNRESET', 'ECONNRESET']);
      expect(world.network.connectionCount).toBe(0);
      (await a.env.network.connect(ADDRESS)).destroy();
    }));

  it('connections overtake each other, each one keeps its order', async () => {
    let overtaken = false;
    for (let seed = 0; seed < 20; seed++) {
      await withPair(async ({ world, a, b, listener, client, server }) => {
        world.network.setLink('a', 'b', { jitterMs: 5 });
        await listener.close();
        const order: string[] = [];
        const accept = (socket: Socket): void => {
          socket.onData = (bytes) => order.push(bytes.toString());
        };
        accept(server);
        await b.env.network.listen({ host: 'b', port: 7401 }, accept);
        const other = await a.env.network.connect({ host: 'b', port: 7401 });
        client.write(Buffer.from('A'));
        await a.env.clock.sleep(1);
        other.write(Buffer.from('B'));
        await a.env.clock.sleep(1);
        other.write(Buffer.from('C'));
        await a.env.clock.sleep(200);
        expect(order.join('').replace('A', '')).toBe('BC');
        overtaken ||= order[0] === 'B';
      }, seed);
    }
    expect(overtaken).toBe(true);
  });

  it('bytes are the sender’s until they leave, the receiver’s afterwards', () =>
    withPair(async ({ a, client, server }) => {
      const seen: Buffer[] = [];
      server.onData = (bytes) => seen.push(bytes);
      const buffer = Buffer.from('first');
      client.write(buffer);
      await a.env.clock.sleep(1);
      buffer.fill('x');
      await a.env.clock.sleep(100);
      expect(Buffer.concat(seen).toString()).toBe('first');
    }));

  it('TLS needs both sides and one authority, and tells the names', async () => {
    const world = new SimWorld({ seed: 1 });
    const [a, b] = [world.machine('a'), world.machine('b')];
    const tls = { key: 'k', certificate: 'c', authority: 'ours' };
    const whole = async (): Promise<void> => {
      const names: (string | undefined)[] = [];
      await b.env.network.listen(
        ADDRESS,
        (socket) => names.push(socket.peerCertificate?.commonName),
        { tls },
      );
      const { network } = a.env;
      expect(await rejectedCode(network.connect(ADDRESS))).toBe('ECONNRESET');
      const other = { tls: { ...tls, authority: 'theirs' } };
      expect(await rejectedCode(network.connect(ADDRESS, other))).toBe('ECONNRESET');
      expect((await network.connect(ADDRESS, { tls })).peerCertificate?.commonName).toBe('b');
      expect(names).toEqual(['a']);
    };
    await world.run(whole());
  });

  it('unknown hosts, other names and this machine are found or not', async () => {
    const world = new SimWorld({ seed: 1 });
    const a = world.machine('a');
    const whole = async (): Promise<void> => {
      const { network } = a.env;
      expect(await rejectedCode(network.connect({ host: 'nowhere', port: 1 }))).toBe('ENOTFOUND');
      const listener = await network.listen({ host: '127.0.0.1', port: 0 }, () => undefined);
      (await network.connect(listener.address)).destroy();
      world.network.alias('192.0.2.7', 'a');
      (await network.connect({ host: '192.0.2.7', port: listener.address.port })).destroy();
    };
    await world.run(whole());
  });

  it('a corrupting link flips bits', () =>
    withPair(async ({ world, a, client, server }) => {
      const seen = watch(server);
      world.network.setLink('a', 'b', { corruptProbability: 1 });
      client.write(Buffer.alloc(100));
      await a.env.clock.sleep(100);
      expect(seen.text.length).toBe(100);
      expect(Buffer.from(seen.text, 'latin1').equals(Buffer.alloc(100))).toBe(false);
    }));
});
