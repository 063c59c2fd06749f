/**
 * The interleavings that the rules of a ring change close (consistency.md, "Ring change"), one by one:
 * whole nodes as everywhere in the simulator, rings of one partition, cuts placed by hand. Random seeds
 * meet most of them too seldom. Each is run on the product, and on the mutants that it must catch.
 *
 * Nodes a, b, c, d with one device each (0 to 3). OLD is {a, b, c}, NEW is {a, b, d}. The rings that do
 * not change are on nodes e, f, g, which everybody reaches.
 */
import assert from 'node:assert/strict';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING, objectPath } from '#base/names.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { StatReply } from '#object/calls.ts';
import type { Operation } from '#proxy/contract.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { NO_FORMER, type RingDevice } from '#ring/fields.ts';
import { progressOf } from '#ring/move-progress.ts';
import { Ring } from '#ring/ring.ts';
import { SimCluster, type SimNode } from './cluster.ts';
import { MIN_CLOCK_ERROR_MS } from './plan.ts';
import { CLUSTER_ID, type Shape, WIRE_PORT } from './shape.ts';
import { Tap } from './tap.ts';

const ALL = ['a', 'b', 'c', 'd'] as const;
const NAMES = [...ALL, 'e', 'f', 'g'] as const;
export type Name = (typeof NAMES)[number];
export const BOX = { account: 'AUTH_sim', container: 'box' };
export const OLD: readonly Name[] = ['a', 'b', 'c'];
export const NEW: readonly Name[] = ['a', 'b', 'd'];
const STANDING: readonly Name[] = ['e', 'f', 'g'];
const FIVE: readonly Name[] = ['a', 'b', 'c', 'd', 'e'];
const LIMIT_MS = 120_000;
const ATTEMPTS = 6;
const PAUSE_MS = 1_500;

/** Which of the rings changes; the others stay as they are. */
type Moved = 'objects' | 'rows';

export interface RingScenario {
  readonly name: string;
  /** Below `mutants.ts`: what breaks it. */
  readonly mutants: readonly string[];
  readonly run: (stage: Stage) => Promise<void>;
}

/** A cluster of four, and what a scenario does with it. */
export class Stage {
  readonly world = new SimWorld({ seed: 1, maxEvents: 2_000_000 });
  readonly cluster: SimCluster;
  readonly #moved: Moved;
  #version = 1;
  #txn = 0;
  #ring: Ring;

  constructor(moved: Moved = 'objects') {
    this.#moved = moved;
    this.#ring = ringOf(this.#policy, 1, OLD);
    const shape: Shape = {
      sites: NAMES,
      nodes: NAMES.map((name, id) => ({ name, site: name, devices: [id], skewMs: 0 })),
      wanMs: 1,
      hasSkew: false,
      rings: new RingSet(),
      view: this.#view(),
    };
    this.cluster = new SimCluster(this.world, shape, new Tap(), MIN_CLOCK_ERROR_MS);
  }

  get #policy(): number {
    return this.#moved === 'objects' ? 0 : CONTAINER_RING;
  }

  async create(): Promise<void> {
    await this.cluster.create();
    await this.until('the container is there', async () => {
      const { proxy } = this.node('a').process!;
      return (await proxy.createContainer(this.#operation(), BOX, { changes: {} })) !== undefined;
    });
  }

  node(name: Name): SimNode {
    return this.cluster.nodes[NAMES.indexOf(name)]!;
  }

  /** A version with these sets, to these nodes. */
  publish(
    to: readonly Name[],
    primaries: readonly Name[],
    former?: readonly Name[],
    copies = Math.min(primaries.length, former?.length ?? primaries.length),
  ): void {
    this.#version++;
    this.#ring = ringOf(this.#policy, this.#version, primaries, former, copies);
    this.deliver(to);
  }

  /** The newest version, to nodes that have not got it. */
  deliver(to: readonly Name[]): void {
    for (const name of to) this.node(name).source.publish(this.#view());
  }

  cut(one: Name, ...others: readonly Name[]): void {
    this.world.network.partition([one], [...others]);
  }

  heal(): void {
    this.world.network.heal();
  }

  isSettleable(): boolean {
    const reports = this.cluster.nodes.flatMap((node) => node.process?.storage.moves() ?? []);
    return progressOf(this.#ring, reports).settleable.length > 0;
  }

  /** Connections take a while to come back after a restart. */
  async connected(from: Name, to: Name): Promise<void> {
    const options = { txn: 'scenario', deadlineMs: 1_000 };
    await this.until(`${from} reaches ${to}`, async () => {
      await this.node(from).process!.wire.call(to, 'device.status', {}, options);
      return true;
    });
  }

  /** True: acknowledged. */
  async put(via: Name, key: string, content: string): Promise<boolean> {
    const body = Buffer.from(content);
    const request = {
      body: (async function* () {
        yield body;
      })(),
      length: body.length,
      maxLength: body.length,
      contentType: 'text/plain',
      user: {},
      system: {},
    };
    const { proxy } = this.node(via).process!;
    const written = proxy.putObject(this.#operation(), { ...BOX, object: key }, request);
    return written.then(
      ({ kind }) => kind === 'stored',
      (error: unknown) => {
        assert.equal(codeOf(error), 'unavailable');
        return false;
      },
    );
  }

  /** Undefined: it is not there. Whoever can't tell is asked again. */
  async get(
    via: Name,
    key: string,
    read: Operation['read'] = 'quorum',
  ): Promise<string | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#getOnce(via, key, read);
      } catch (error) {
        if (codeOf(error) !== 'unavailable' || attempt === ATTEMPTS) throw error;
        await this.sleep(PAUSE_MS);
      }
    }
  }

  async #getOnce(via: Name, key: string, read: Operation['read']): Promise<string | undefined> {
    const { proxy } = this.node(via).process!;
    const reader = await proxy.openObject({ ...this.#operation(), read }, { ...BOX, object: key });
    if (reader === undefined) return undefined;
    const chunks: Buffer[] = [];
    for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  async list(via: Name): Promise<string[]> {
    const { proxy } = this.node(via).process!;
    const page = await proxy.listObjects(this.#operation(), BOX, { limit: 100 });
    return (page?.items ?? []).map((item) => ('name' in item ? item.name : item.prefix));
  }

  /** What one device says of a key to whoever places it by this ring version. */
  async stat(device: Name, key: string, ringVersion: number): Promise<StatReply> {
    return (await this.call(device, 'object.stat', key, ringVersion)) as StatReply;
  }

  /** One call to a device about a key, as a proxy would make it by this ring version. */
  async call(
    device: Name,
    method: string,
    key: string,
    ringVersion: number,
    more: object = {},
  ): Promise<unknown> {
    const { hashPrefix, hashSuffix } = this.cluster.shape.view;
    const path = objectPath({ ...BOX, object: key });
    const hash = hashPath(hashPrefix, path, hashSuffix);
    const args = { device: NAMES.indexOf(device), policy: 0, hash, ringVersion, path, ...more };
    const { wire } = this.node(device).process!;
    const options = { txn: 'scenario', deadlineMs: 5_000 };
    return (await wire.call(device, method, args, options)).result;
  }

  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const endMs = this.world.nowMs + LIMIT_MS;
    while (!(await Promise.resolve(condition()).catch(() => false))) {
      assert.ok(this.world.nowMs < endMs, `not within ${LIMIT_MS} ms: ${what}`);
      await this.sleep(100);
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.world.schedule(ms, 'scenario', resolve);
    });
  }

  #operation(): Operation {
    return {
      txn: `scenario-${this.#txn++}`,
      signal: new AbortController().signal,
      read: 'quorum',
    };
  }

  #view(): ClusterView {
    const standing = [0, CONTAINER_RING, ACCOUNT_RING].map((policy) => ringOf(policy, 1, STANDING));
    const rings = new Map(standing.map((ring) => [ring.policy, ring]));
    rings.set(this.#policy, this.#ring);
    return {
      clusterId: CLUSTER_ID,
      version: this.#version,
      hashPrefix: 'ring',
      hashSuffix: 'scenario',
      policies: [
        { index: 0, name: 'standard', copies: 3, states: 3, mode: 'strict', isDefault: true },
      ],
      nodes: new Map(
        NAMES.map((name) => {
          return [name, { name, site: name, zone: '1', wire: { host: name, port: WIRE_PORT } }];
        }),
      ),
      rings,
    };
  }
}

const DEVICES = NAMES.map((node, id): RingDevice => {
  return { id, site: node, zone: '1', node, name: 'd1', weight: 100, meta: {} };
});

function ringOf(
  policy: number,
  version: number,
  primaries: readonly Name[],
  former?: readonly Name[],
  copies = 3,
): Ring {
  const ids = (names: readonly Name[]): number[] => names.map((name) => NAMES.indexOf(name));
  return new Ring({
    policy,
    version,
    partPower: 0,
    copies,
    devices: DEVICES,
    columns: ids(primaries).map((id) => Uint16Array.of(id)),
    former:
      former === undefined
        ? NO_FORMER
        : {
            partitions: Uint32Array.of(0),
            since: Float64Array.of(version),
            width: former.length,
            devices: Uint16Array.from(ids(former)),
          },
  });
}

/** What was acknowledged is read; what was not may be anything. */
async function expectRead(stage: Stage, via: Name, acknowledged: boolean): Promise<void> {
  if (!acknowledged) return;
  assert.equal(await stage.get(via, 'x'), 'new', 'read after write');
}

export const RING_SCENARIOS: readonly RingScenario[] = [
  {
    name: 'what an old ring writes after a joining device has learnt is not acknowledged',
    mutants: ['no-fence'],
    run: async (stage) => {
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('c', 'b');
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a fence outlives a power failure',
    mutants: ['no-fence', 'a-fence-is-forgotten-in-a-crash'],
    run: async (stage) => {
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.node('a').crash('lost');
      stage.node('a').start();
      await stage.until('a is back', () => stage.node('a').process !== undefined);
      await stage.connected('c', 'a');
      stage.cut('c', 'b');
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'a joining device learns from a majority of the old set',
    mutants: ['learn-from-one-old-member'],
    run: async (stage) => {
      stage.cut('a', 'b', 'c');
      const acknowledged = await stage.put('b', 'x', 'new');
      assert.ok(acknowledged, 'b and c are a majority');
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      stage.cut('d', 'b', 'c');
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'while joint a write needs a majority of the new set too',
    mutants: ['single-ring-quorum-during-a-move'],
    run: async (stage) => {
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('b', 'a', 'd');
      stage.cut('c', 'a', 'd');
      const acknowledged = await stage.put('b', 'x', 'new');
      stage.publish(ALL, NEW);
      await expectRead(stage, 'd', acknowledged);
    },
  },
  {
    name: 'while joint a write needs a majority of the old set too',
    mutants: ['a-joining-device-counts-alone'],
    run: async (stage) => {
      stage.cut('d', 'a', 'c');
      stage.publish(ALL, NEW, OLD);
      const acknowledged = await stage.put('d', 'x', 'new');
      stage.publish(ALL, OLD);
      stage.heal();
      stage.cut('a', 'b');
      stage.cut('c', 'b');
      await expectRead(stage, 'a', acknowledged);
    },
  },
  {
    name: 'what a device knew as a member in earlier days proves nothing when it comes back',
    mutants: ['an-earlier-membership-is-believed'],
    run: async (stage) => {
      const rest: readonly Name[] = ['a', 'b', 'd'];
      // c goes, is away, and is to come back for d.
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(rest, NEW);
      stage.cut('c', ...rest);
      stage.cut('a', 'b', 'd');
      const acknowledged = await stage.put('b', 'x', 'new');
      assert.ok(acknowledged, 'b and d are a majority');
      stage.publish(ALL, OLD, NEW);
      await stage.sleep(8_000);
      // By now it would have learnt, if it could reach anybody.
      if (!stage.isSettleable()) return;
      stage.publish(ALL, OLD);
      stage.heal();
      stage.cut('b', 'a', 'c');
      stage.cut('d', 'a', 'c');
      await expectRead(stage, 'a', acknowledged);
    },
  },
  {
    name: 'a former primary says moved, never that it knows nothing',
    mutants: ['a-former-primary-answers-404'],
    run: async (stage) => {
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      const asOfJoint = (): Promise<unknown> =>
        stage.stat('c', 'x', 2).then(
          ({ version, complete }) => (version === '' && complete ? 'not there' : 'known'),
          (error: { remoteCode?: string }) => error.remoteCode ?? codeOf(error),
        );
      assert.equal(await asOfJoint(), 'moved');
      await stage.until('c has dropped its copy', async () => {
        const { version } = await stage.stat('c', 'x', 3);
        return version === '';
      });
      assert.notEqual(await asOfJoint(), 'not there');
      assert.equal(await stage.get('c', 'x'), 'new');
    },
  },
  {
    name: 'a former primary keeps what a new one lacks',
    mutants: [],
    run: async (stage) => {
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('d', 'a', 'b', 'c');
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW);
      await stage.sleep(60_000);
      assert.ok((await stage.stat('c', 'x', 3)).hasBody, 'c has the third copy');
      stage.heal();
      await stage.until('d has it, and c has not', async () => {
        const [there, left] = [await stage.stat('d', 'x', 3), await stage.stat('c', 'x', 3)];
        return there.hasBody && there.version !== '' && left.version === '';
      });
    },
  },
  {
    name: 'an upload that began by the old ring ends by the new one',
    mutants: [],
    run: async (stage) => {
      const { proxy } = stage.node('a').process!;
      const release = Promise.withResolvers<void>();
      const chunk = Buffer.alloc(3_000, 'x');
      const body = (async function* () {
        for (let i = 0; i < 4; i++) yield chunk;
        await release.promise;
        for (let i = 0; i < 4; i++) yield chunk;
      })();
      const request = {
        body,
        length: 8 * chunk.length,
        maxLength: 8 * chunk.length,
        contentType: 'text/plain',
        user: {},
        system: {},
      };
      const operation: Operation = {
        txn: 'upload',
        signal: new AbortController().signal,
        read: 'quorum',
      };
      const stored = proxy.putObject(operation, { ...BOX, object: 'x' }, request);
      await stage.sleep(1_000);
      stage.publish(ALL, NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      release.resolve();
      assert.equal((await stored).kind, 'stored');
      assert.equal((await stage.get('d', 'x'))?.length, 8 * chunk.length);
      await stage.until('d has the body', async () => (await stage.stat('d', 'x', 3)).hasBody);
    },
  },
  {
    name: 'a policy that keeps more copies: what was written before gets them too',
    mutants: [],
    run: async (stage) => {
      // c is a witness, which has the state alone.
      stage.publish(ALL, OLD, undefined, 2);
      const large = 'large '.repeat(20_000);
      for (const [key, content] of [
        ['x', 'small'],
        ['y', large],
      ] as const)
        assert.ok(await stage.put('a', key, content));
      assert.equal((await stage.stat('c', 'y', 2)).hasBody, false);
      stage.publish(ALL, OLD, undefined, 3);
      for (const [key, content] of [
        ['x', 'small'],
        ['y', large],
      ] as const) {
        await stage.until('c has the body', async () => (await stage.stat('c', key, 3)).hasBody);
        assert.equal(await stage.get('d', key), content);
      }
    },
  },
  {
    name: 'a policy of three replicas becomes one of five, and of three again',
    mutants: [],
    run: async (stage) => {
      const has = (name: Name, key: string, version: number) => async () =>
        (await stage.stat(name, key, version)).hasBody;
      assert.ok(await stage.put('a', 'x', 'old'));
      stage.publish(NAMES, FIVE, OLD, 3);
      assert.ok(await stage.put('b', 'y', 'during'));
      await stage.until('d and e have learnt', () => stage.isSettleable());
      stage.publish(NAMES, FIVE);
      for (const name of FIVE) await stage.until(`${name} has x`, has(name, 'x', 3));
      for (const name of FIVE) await stage.until(`${name} has y`, has(name, 'y', 3));
      assert.ok(await stage.put('g', 'z', 'five'));
      stage.publish(NAMES, OLD, FIVE, 3);
      await stage.until('three are enough', () => stage.isSettleable());
      stage.publish(NAMES, OLD);
      for (const [key, content] of [
        ['x', 'old'],
        ['y', 'during'],
        ['z', 'five'],
      ] as const) {
        for (const name of OLD) await stage.until(`${name} has ${key}`, has(name, key, 5));
        assert.equal(await stage.get('c', key), content);
      }
    },
  },
];

export const ROW_SCENARIOS: readonly RingScenario[] = [
  {
    name: 'rows that an old ring lists after a joining replica has learnt are not acknowledged',
    mutants: ['no-fence-for-rows'],
    run: async (stage) => {
      stage.publish(['a', 'b', 'd'], NEW, OLD);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.cut('b', 'c', ...STANDING);
      const acknowledged = await stage.put('c', 'x', 'new');
      stage.heal();
      stage.publish(['a', 'b', 'd'], NEW);
      stage.cut('d', 'a');
      if (acknowledged) assert.deepEqual(await stage.list('d'), ['x'], 'list after write');
    },
  },
  {
    name: 'a container that moved lists what was in it, and takes more',
    mutants: [],
    run: async (stage) => {
      assert.ok(await stage.put('a', 'x', 'new'));
      stage.publish(ALL, NEW, OLD);
      assert.ok(await stage.put('c', 'y', 'new'));
      assert.deepEqual(await stage.list('d'), ['x', 'y']);
      await stage.until('d has learnt', () => stage.isSettleable());
      stage.publish(ALL, NEW);
      assert.ok(await stage.put('b', 'z', 'new'));
      for (const via of ALL) assert.deepEqual(await stage.list(via), ['x', 'y', 'z']);
    },
  },
];
