/**
 * An operator who has containers change their storage policy while clients work and things go wrong, also
 * back again while they are under way. All that is checked of keys and listings goes on being checked; at
 * rest every move is over, and nothing is left in the policies that were left.
 */
import { hashPath } from '#base/hash.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { ContainerInfo } from '#proxy/contract.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { type Box, containerOf, type Session } from './session.ts';
import type { Workload } from './workload.ts';

/** Between two of the operator's commands. */
const PAUSE_MS = 1_500;
/** A move that has not ended so long after the faults waits for a person (README of policy-move). */
const PATIENCE_MS = 180_000;

export class PolicyMoves {
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #random: Prng;
  readonly #boxes: readonly Box[];
  readonly #session: Session;

  constructor(cluster: SimCluster, workload: Workload, random: Prng) {
    this.#cluster = cluster;
    this.#workload = workload;
    this.#random = random;
    this.#session = workload.session;
    this.#boxes = workload.boxes.filter(({ mode, churn }) => mode === 'strict' && !churn);
    // A streamed upload that began before a move: it has to be sent again.
    this.#session.expected.add('container-mismatch');
  }

  async operator(isOver: () => boolean): Promise<void> {
    while (!isOver() && this.#boxes.length > 0) {
      await this.#session.sleep(this.#random.delay(PAUSE_MS));
      const up = this.#cluster.nodes.filter((node) => node.process !== undefined);
      if (isOver() || up.length === 0) continue;
      await this.#begin(up[this.#random.integer(up.length)]!);
    }
  }

  async #begin(node: SimNode): Promise<void> {
    const box = this.#boxes[this.#random.integer(this.#boxes.length)]!;
    const { policies } = this.#cluster.shape.view;
    const others = policies.filter(({ index }) => index !== box.policy);
    const other = others[this.#random.integer(others.length)]!;
    // Now and then back to where it was.
    const index = this.#random.chance(0.8) ? other.index : box.policy;
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.moves.begin(operation, containerOf(box), index),
    );
    const what = settled.kind === 'done' ? `move-${settled.result.kind}` : 'move';
    this.#session.count(what, settled);
  }

  /** Moves that are not over; where all are, boxes know their policies. */
  async differences(sinceMs: number): Promise<string[]> {
    const found: string[] = [];
    for (const box of this.#boxes) {
      const info = await this.#info(box);
      if (info === undefined || info.former !== undefined || info.left !== undefined) {
        const facts = {
          to: info?.policy.index,
          from: info?.former?.index,
          left: info?.left?.index,
        };
        found.push(`${box.name} is moving: ${JSON.stringify(facts)}`);
        if (this.#session.nowMs > sinceMs + PATIENCE_MS) await this.#deleteUnreadable(box);
      } else box.policy = info.policy.index;
    }
    return found;
  }

  async #info(box: Box): Promise<ContainerInfo | undefined> {
    const node = this.#cluster.nodes[0]!;
    const settled = await this.#session.settle(node, ({ proxy }, operation) =>
      proxy.containerInfo(operation, containerOf(box), true),
    );
    return settled.kind === 'done' ? settled.result : undefined;
  }

  /** What nobody has the body of is not settled over: a person deletes it. */
  async #deleteUnreadable(box: Box): Promise<void> {
    const node = this.#cluster.nodes[0]!;
    for (const model of box.keys) {
      const found = await this.#workload.reads.open(node, box, model, 'newest');
      if (found === 'failed') await this.#workload.writes.delete(node, box, model);
    }
  }

  /** What devices know of names in policies that their containers have left; undefined: nothing. */
  async leftovers(): Promise<string | undefined> {
    const { view } = this.#cluster;
    for (const box of this.#boxes) {
      for (const { index } of view.policies.filter(({ index }) => index !== box.policy)) {
        for (const { key } of box.keys) {
          const hash = hashPath(view.hashPrefix, key, view.hashSuffix);
          for (const node of this.#cluster.nodes) {
            const devices = node.process?.storage.devices() ?? new Map();
            for (const [id, device] of devices) {
              if (device.stat({ policy: index, hash }) !== undefined)
                return `${key} is still on device ${id} in policy ${index}`;
            }
          }
        }
      }
    }
    return undefined;
  }
}
