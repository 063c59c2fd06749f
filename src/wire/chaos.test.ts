/** Calls of all kinds at once, cancelled, late, cut off: every one ends, and nothing is left behind. */
import { describe, expect, it } from 'vitest';
import type { Prng } from '#env/sim/prng.ts';
import { type BodyReader, type BodySource, type CallOptions, WireError } from './contract.ts';
import type { Endpoint } from './endpoint.ts';
import { bodyOf, patternAt, SimCluster } from './testing/sim-cluster.ts';

const NODES: [name: string, site: string][] = [
  ['a', 'lngs'],
  ['b', 'bari'],
  ['c', 'bari'],
];
const CALLS = 150;

class Chaos {
  readonly cluster: SimCluster;
  readonly random: Prng;
  readonly endpoints = new Map<string, Endpoint>();
  readonly outcomes: Record<string, number> = {};
  readonly damage: string[] = [];

  constructor(seed: number) {
    this.cluster = new SimCluster(seed);
    this.random = this.cluster.world.random('chaos');
  }

  sleep(ms: number): Promise<void> {
    return this.cluster.world.machine('clock').env.clock.sleep(ms * this.random.float());
  }

  async start(): Promise<void> {
    for (const [node, site] of NODES) {
      const endpoint = await this.cluster.start(node, site);
      this.endpoints.set(node, endpoint);
      endpoint.handle('work', async (args, { body }) => {
        const { length, sleepMs, replyBytes } = args as Record<string, number>;
        await this.sleep(sleepMs!);
        if (this.random.chance(0.1)) throw new Error('no luck');
        if (body !== undefined && this.random.chance(0.8)) await this.check(body, length!);
        await this.sleep(sleepMs!);
        return { result: length, ...(replyBytes! > 0 && { body: this.source(replyBytes!) }) };
      });
    }
  }

  /** A body that may be slow, and may fail. */
  async *source(length: number): BodySource {
    const fails = this.random.chance(0.1);
    for await (const chunk of bodyOf(length, 1 + this.random.integer(100_000))) {
      if (this.random.chance(0.2)) await this.sleep(20);
      yield chunk;
      if (fails && this.random.chance(0.5)) throw new Error('the source failed');
    }
  }

  async call(): Promise<void> {
    await this.sleep(2000);
    const { random } = this;
    const from = NODES[random.integer(3)]![0];
    const to = NODES[random.integer(3)]![0];
    const length = random.chance(0.5) ? 0 : random.integer(1_000_000);
    const replyBytes = random.chance(0.5) ? 0 : random.integer(1_000_000);
    const controller = new AbortController();
    if (random.chance(0.2)) void this.sleep(100).then(() => controller.abort());
    const options: CallOptions = {
      txn: 'tx',
      deadlineMs: 1 + random.integer(400),
      signal: controller.signal,
      ...(length > 0 && { body: this.source(length) }),
    };
    const args = { length, replyBytes, sleepMs: random.integer(100) };
    try {
      const { result, body } = await this.endpoints.get(from)!.call(to, 'work', args, options);
      expect(result).toBe(length);
      if (body !== undefined) await this.read(body, replyBytes);
      this.count('done');
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.count(error.code);
    }
  }

  async read(body: BodyReader, length: number): Promise<void> {
    const fate = this.random.float();
    if (fate < 0.1) body.cancel('not wanted');
    else if (fate > 0.2) await this.check(body, length);
    // Else nobody reads it.
  }

  /** A body that ends well must be whole and right. */
  async check(body: BodyReader, length: number): Promise<void> {
    let at = 0;
    for await (const piece of body) {
      if (!piece.equals(patternAt(at, piece.length))) this.damage.push(`wrong bytes at ${at}`);
      at += piece.length;
    }
    if (at !== length) this.damage.push(`${at} bytes of ${length}`);
  }

  count(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }

  async trouble(): Promise<void> {
    for (let i = 0; i < 8; i++) {
      await this.sleep(500);
      const [node] = NODES[this.random.integer(3)]!;
      if (this.random.chance(0.7)) this.cluster.world.network.dropConnections(node);
      else {
        this.cluster.world.network.partition(
          [node],
          ['a', 'b', 'c'].filter((name) => name !== node),
        );
        await this.sleep(300);
        this.cluster.world.network.heal();
      }
    }
  }
}

describe('whatever happens', () => {
  it.each([1, 2, 3, 4, 5, 6])('every call ends and nothing is left (seed %i)', async (seed) => {
    const chaos = new Chaos(seed);
    const { world } = chaos.cluster;
    await chaos.start();
    const calls = Array.from({ length: CALLS }, () => chaos.call());
    await world.run(Promise.all([...calls, chaos.trouble()]));
    expect(chaos.damage).toEqual([]);
    expect(chaos.outcomes['done']).toBeGreaterThan(20);
    // Bodies that nobody read are cut off at their deadline; handlers finish.
    await world.runFor(5000);
    for (const [node] of NODES) {
      const status = chaos.endpoints.get(node)!.status();
      expect(status).toMatchObject({ localCalls: 0, receiveWindowBytes: 0, pendingHandshakes: 0 });
      for (const connection of status.connections) {
        expect(connection).toMatchObject({
          callsOutActive: 0,
          callsInActive: 0,
          handlersActive: 0,
        });
        expect(connection.dataInFlightBytes).toBeLessThan(64 * 1024);
      }
      const lanes = status.connections.map(({ peer, lane }) => `${peer}/${lane}`);
      expect(new Set(lanes).size).toBe(lanes.length);
      const failures = Object.keys(status.errors).filter((code) => code !== 'socket-closed');
      expect(failures).toEqual([]);
    }
  });
});
