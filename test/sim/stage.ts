/**
 * Where interleavings are placed by hand: whole nodes as everywhere in the simulator, rings of one
 * partition, and whoever plays a scenario cuts links, kills nodes and makes calls at their moment.
 *
 * Nodes a, b, c, d with one device each (0 to 3). OLD is {a, b, c}, NEW is {a, b, d}. The rings that do
 * not change are on nodes e, f, g, which everybody reaches.
 */
import assert from 'node:assert/strict';
import type { EntryState } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING, objectPath } from '#base/names.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { StatReply } from '#object/calls.ts';
import type { Condition } from '#proxy/condition.ts';
import type { ObjectReader, Operation } from '#proxy/contract.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { NO_FORMER, type RingDevice } from '#ring/fields.ts';
import { progressOf } from '#ring/move-progress.ts';
import { Ring } from '#ring/ring.ts';
import { DEVICE_LIMITS, SimCluster, type SimNode } from './cluster.ts';
import { MIN_CLOCK_ERROR_MS } from './plan.ts';
import { CLUSTER_ID, type Shape, WIRE_PORT } from './shape.ts';
import { Tap } from './tap.ts';

export const ALL = ['a', 'b', 'c', 'd'] as const;
export const NAMES = [...ALL, 'e', 'f', 'g'] as const;
export type Name = (typeof NAMES)[number];
export const BOX = { account: 'AUTH_sim', container: 'box' };
export const OLD: readonly Name[] = ['a', 'b', 'c'];
export const NEW: readonly Name[] = ['a', 'b', 'd'];
export const STANDING: readonly Name[] = ['e', 'f', 'g'];
/**
 * Within this what is sent over a cut link is given up, storage nodes have tried the replicas of a container three
 * times, and whoever reaches the account has told it what changed.
 */
export const GIVEN_UP_MS = 12_000;
const LIMIT_MS = 120_000;
const ATTEMPTS = 6;
const PAUSE_MS = 1_500;

/** Which of the rings changes; the others stay as they are. */
type Moved = 'objects' | 'rows';

export interface StagedScenario {
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
    // Nobody was opened just now.
    await this.sleep(DEVICE_LIMITS.learnMs);
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

  /** Just before the first call of this kind is sent to another node. */
  onceSent(method: string, act: () => void): void {
    this.cluster.tap.onCall = (sent) => {
      if (sent !== method) return;
      this.cluster.tap.onCall = () => undefined;
      act();
    };
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
    return this.write(via, key, content).then(
      (kind) => kind === 'stored',
      (error: unknown) => {
        assert.equal(codeOf(error), 'unavailable');
        return false;
      },
    );
  }

  /** What the client is told. */
  async write(via: Name, key: string, content: string, condition?: Condition): Promise<string> {
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
      ...(condition && { condition }),
    };
    const { proxy } = this.node(via).process!;
    const written = await proxy.putObject(this.#operation(), { ...BOX, object: key }, request);
    return written.kind;
  }

  /** What a proxy tells of it, without its body. */
  state(via: Name, key: string, read: Operation['read']): Promise<EntryState | undefined> {
    const { proxy } = this.node(via).process!;
    return proxy.statObject({ ...this.#operation(), read }, { ...BOX, object: key });
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
    const reader = await this.open(via, key, read);
    return reader && textOf(reader);
  }

  /** A download that has not begun. Undefined: it is not there. */
  open(
    via: Name,
    key: string,
    read: Operation['read'] = 'quorum',
  ): Promise<ObjectReader | undefined> {
    const { proxy } = this.node(via).process!;
    return proxy.openObject({ ...this.#operation(), read }, { ...BOX, object: key });
  }

  async remove(via: Name, key: string): Promise<string> {
    const { proxy } = this.node(via).process!;
    return proxy.deleteObject(this.#operation(), { ...BOX, object: key });
  }

  removeBox(via: Name): Promise<unknown> {
    const { proxy } = this.node(via).process!;
    return proxy.deleteContainer(this.#operation(), BOX);
  }

  /** Whether the container is there. */
  async hasBox(via: Name): Promise<boolean> {
    const { proxy } = this.node(via).process!;
    return (await proxy.containerInfo(this.#operation(), BOX, true)) !== undefined;
  }

  async list(via: Name): Promise<string[]> {
    const { proxy } = this.node(via).process!;
    const page = await proxy.listObjects(this.#operation(), BOX, { limit: 100 });
    return (page?.items ?? []).map((item) => ('name' in item ? item.name : item.prefix));
  }

  /** How many objects the account says are in the container. */
  async objectsTold(via: Name): Promise<number | undefined> {
    const { proxy } = this.node(via).process!;
    const page = await proxy.listContainers(this.#operation(), BOX.account, { limit: 100 });
    const found = page?.items.find((item) => 'name' in item && item.name === BOX.container);
    return found !== undefined && 'objects' in found ? found.objects : undefined;
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

export async function textOf(reader: ObjectReader): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
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
