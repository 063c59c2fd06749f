/**
 * The clients: a few at a time, each asking any proxy that is up, on few names, so that they collide.
 * Every answer is checked at once by the key's model.
 */

import { objectPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { ContainerModel } from './container-model.ts';
import { TAG, writeOf } from './content.ts';
import { Listings } from './listings.ts';
import { KeyModel, type WriteRecord } from './model.ts';
import { Reads } from './reads.ts';
import { ACCOUNT, type Box, containerOf, Session } from './session.ts';
import type { Attempt } from './tap.ts';
import { Writes } from './writes.ts';

export interface WorkloadOptions {
  readonly cluster: SimCluster;
  readonly random: Prng;
  readonly boxes: number;
  readonly keysPerBox: number;
  readonly largeBytes: number;
  /** Whether the last box is one that is deleted and made again. */
  readonly churns: boolean;
  /** Whether some versions expire. */
  readonly expires: boolean;
  /** Of the boxes in turn. */
  readonly modes: readonly Box['mode'][];
}

export class Workload {
  readonly boxes: Box[] = [];
  readonly session: Session;
  readonly reads: Reads;
  readonly listings: Listings;
  readonly writes: Writes;
  readonly #cluster: SimCluster;
  readonly #random: Prng;

  constructor(options: WorkloadOptions) {
    this.#cluster = options.cluster;
    this.#random = options.random;
    this.session = new Session(options.cluster, options.random);
    this.reads = new Reads(this.session);
    this.listings = new Listings(this.session);
    this.writes = new Writes(this.session, this.reads, options);
    for (let b = 0; b < options.boxes; b++) this.boxes.push(this.#makeBox(b, options));
    options.cluster.tap.onAttempt = (attempt) => this.#attempted(attempt);
  }

  #makeBox(index: number, { boxes, keysPerBox, churns, modes }: WorkloadOptions): Box {
    const { policies } = this.#cluster.shape.view;
    const name = `box${index}`;
    const expiry = (deleteAt: number) => this.#cluster.expiry(deleteAt);
    const keys = Array.from({ length: keysPerBox }, (_, k) => {
      const object = `key${k}`;
      return new KeyModel(
        objectPath({ account: ACCOUNT, container: name, object }),
        object,
        expiry,
      );
    });
    const policy = policies[index % policies.length]!.index;
    const churn = churns && index === boxes - 1 ? new ContainerModel(name) : undefined;
    const mode = churn === undefined ? (modes[index % modes.length] ?? 'strict') : 'strict';
    return { name, policy, mode, keys, churn };
  }

  model(key: string): KeyModel | undefined {
    for (const box of this.boxes) for (const model of box.keys) if (model.key === key) return model;
    return undefined;
  }

  writeAt(key: string, contentType: string): WriteRecord | undefined {
    const id = writeOf(contentType);
    return this.model(key)?.writes.find((write) => write.id === id);
  }

  /** The post that set these metadata, whether first or anew. */
  postAt(key: string, timestamp: Timestamp): WriteRecord | undefined {
    return this.model(key)?.writes.find(({ kind, timestamps, renewed }) => {
      return kind === 'post' && (timestamps.includes(timestamp) || renewed.has(timestamp));
    });
  }

  #attempted({ path, kind, timestamp, writeId, contentType, user }: Attempt): void {
    const write = contentType === undefined ? undefined : writeOf(contentType);
    const tag = user?.[TAG] === undefined ? undefined : Number(user[TAG]);
    const deletion = kind === 'deleted' ? writeId : undefined;
    this.model(path)?.attempted(timestamp, {
      ...(write !== undefined && { write }),
      ...(tag !== undefined && { tag }),
      ...(deletion !== undefined && { deletion }),
    });
  }

  /** The containers, made before anything goes wrong. */
  async create(): Promise<void> {
    const { proxy } = this.#cluster.nodes[0]!.process!;
    for (const box of this.boxes) {
      if (box.churn !== undefined) continue; // made by clients
      const { policy, mode } = box;
      for (let made: string | undefined; made === undefined; await this.session.sleep(200)) {
        made = await proxy
          .createContainer(this.session.operation(), containerOf(box), {
            policy,
            mode,
            changes: {},
          })
          .catch(() => undefined); // nodes that are still starting
      }
    }
  }

  /** One client for the length of the run. */
  async client(isOver: () => boolean, thinkMs: number): Promise<void> {
    while (!isOver()) {
      await this.session.sleep(this.#random.delay(thinkMs));
      if (isOver()) return;
      const node = this.#anyNode();
      if (node !== undefined) await this.#anything(node);
    }
  }

  #anyNode(): SimNode | undefined {
    const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
    return up.length === 0 ? undefined : up[this.#random.integer(up.length)];
  }

  async #anything(node: SimNode): Promise<void> {
    const box = this.boxes[this.#random.integer(this.boxes.length)]!;
    const model = box.keys[this.#random.integer(box.keys.length)]!;
    if (box.churn !== undefined && this.#random.chance(0.25)) {
      await this.#churn(node, box, box.churn);
      return;
    }
    const dice = this.#random.float();
    if (dice < 0.3) await this.writes.put(node, box, model);
    else if (dice < 0.42) await this.writes.delete(node, box, model);
    else if (dice < 0.5) await this.writes.post(node, box, model);
    else if (dice < 0.55) await this.writes.copy(node, box, model);
    else if (dice < 0.8) await this.reads.get(node, box, model);
    else if (dice < 0.86) await this.reads.head(node, box, model);
    else await this.listings.list(node, box);
  }

  async #churn(node: SimNode, box: Box, model: ContainerModel): Promise<void> {
    const { session } = this;
    const dice = this.#random.float();
    const name = containerOf(box);
    const began = model.begin(
      dice < 0.4 ? 'create' : dice < 0.8 ? 'delete' : 'look',
      session.nowMs,
    );
    const settled = await session.settle<string>(node, async ({ proxy }, operation) => {
      if (began.kind === 'create') {
        return proxy.createContainer(operation, name, { policy: box.policy, changes: {} });
      }
      if (began.kind === 'delete') return proxy.deleteContainer(operation, name);
      const found = await proxy.containerInfo(operation, name, true);
      return found === undefined ? 'absent' : 'present';
    });
    session.count(`container-${began.kind}`, settled);
    model.end(began, settled.kind === 'done' ? settled.result : undefined, session.nowMs);
  }

  /** Makes it (again), whatever became of it. */
  async ensure(node: SimNode, box: Box): Promise<boolean> {
    const settled = await this.session.settle(node, ({ proxy }, operation) =>
      proxy.createContainer(operation, containerOf(box), { policy: box.policy, changes: {} }),
    );
    return settled.kind === 'done';
  }
}
