/**
 * Changes the rings while clients work: weights, drains, numbers of replicas, undo; and does what the
 * authority does: publishes each version to the nodes one after another, asks the devices how far they
 * are, settles what may be settled, all at once or in part.
 *
 * A node that is down, or that is made to lag, gets the newest rings later. Nothing is ever taken back:
 * the view that a node has is on its disk.
 */
import { OperatingError } from '#base/errors.ts';
import type { Prng } from '#env/sim/prng.ts';
import type { RingSet, SetChange } from '#ring/builder/ring-set.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { progressOf } from '#ring/move-progress.ts';
import type { SimCluster, SimNode } from './cluster.ts';

const HOURS_2026 = 490_896;
/** Rings reach the nodes within this, as long as nothing is in the way. */
const ROLL_OUT_MS = 2_000;
const RETRY_MS = 500;
const DRIVE_MS = 1_500;
const PLENTY = 100;

export class RingChanges {
  readonly #cluster: SimCluster;
  readonly #random: Prng;
  readonly #set: RingSet;
  /** Nodes that learn nothing new for now. */
  readonly #lagging = new Set<SimNode>();
  #hours = HOURS_2026;
  #isDriving = false;

  constructor(cluster: SimCluster, random: Prng) {
    this.#cluster = cluster;
    this.#random = random;
    this.#set = cluster.shape.rings;
  }

  /** One change, or the way back from one; false: there is nothing that could be changed. */
  strike(): boolean {
    if (this.#set.joint > 0) return this.#random.chance(0.15) && this.#undo();
    const before = this.#versions();
    try {
      this.#hours += PLENTY;
      const options = { seed: this.#random.next(), nowHours: this.#hours };
      const plan = this.#set.plan(this.#draw(), options);
      this.#set.apply(plan);
    } catch (error) {
      // Fewer devices than replicas, or too much at once: an operator would be told, and leave it.
      if (error instanceof OperatingError && error.code === 'ring-at-risk') return false;
      throw error;
    }
    if (this.#versions() === before) return false;
    this.#publish('changed');
    return this.#set.joint > 0;
  }

  /** One node runs an older ring for a while; gives the end of it. */
  lag(): () => void {
    const { nodes } = this.#cluster;
    const node = nodes[this.#random.integer(nodes.length)]!;
    this.#lagging.add(node);
    return () => this.#lagging.delete(node);
  }

  /** Everybody learns what is new. */
  stop(): void {
    this.#lagging.clear();
  }

  /** What of the last change is not done yet. */
  differences(): string[] {
    const { joint } = this.#set;
    const late = this.#cluster.nodes.filter(
      ({ source }) => source.current().version < this.#cluster.view.version,
    );
    return [
      ...(joint > 0 ? [`${joint} partitions are joint: ${this.#describe()}`] : []),
      ...late.map(({ name }) => `${name} has not learnt of the newest rings`),
    ];
  }

  #draw(): SetChange {
    const devices = this.#set.devices();
    const device = devices[this.#random.integer(devices.length)]!;
    const live = devices.filter(({ weight }) => weight > 0).length;
    if (this.#random.chance(0.2)) return { settings: this.#drawReplicas(live) };
    if (device.weight === 0) return { update: [{ id: device.id, weight: 100 }] };
    const weight = this.#random.chance(0.6) && live > 3 ? 0 : 20 + this.#random.integer(300);
    return { update: [{ id: device.id, weight }] };
  }

  /** Of one ring: 3, 4 (by halves, so that some partitions have one more) or 5. */
  #drawReplicas(live: number): NonNullable<SetChange['settings']> {
    const names = [...this.#set.builders.keys()];
    const name = names[this.#random.integer(names.length)]!;
    const { copies } = this.#set.builders.get(name)!.state.settings;
    const replicas = Math.min(live, [3, 3, 3.5, 4, 5][this.#random.integer(5)]!);
    return { [name]: { replicas, copies: Math.min(copies, Math.floor(replicas)) } };
  }

  #undo(): boolean {
    if ([...this.#set.builders.values()].every(({ undoable }) => undoable === 0)) return false;
    this.#set.undo({ nowHours: this.#hours });
    this.#publish('undone');
    return true;
  }

  #versions(): string {
    return [...this.#set.builders.values()].map(({ state }) => state.version).join();
  }

  #publish(what: string): void {
    const { view } = this.#cluster;
    const next: ClusterView = { ...view, version: view.version + 1, rings: this.#set.rings() };
    this.#cluster.view = next;
    this.#log(`rings ${what}`, { version: next.version, joint: this.#set.joint });
    for (const node of this.#cluster.nodes) {
      this.#deliverLater(node, next, this.#random.float() * ROLL_OUT_MS);
    }
    if (this.#set.joint > 0 && !this.#isDriving) {
      this.#isDriving = true;
      this.#driveLater();
    }
  }

  #deliverLater(node: SimNode, view: ClusterView, waitMs: number): void {
    this.#cluster.world.schedule(waitMs, `rings to ${node.name}`, () => {
      if (node.source.current().version >= view.version) return;
      const isReachable = node.process !== undefined && !this.#lagging.has(node);
      if (isReachable) node.source.publish(view);
      else this.#deliverLater(node, view, RETRY_MS);
    });
  }

  #driveLater(): void {
    this.#cluster.world.schedule(DRIVE_MS, 'rings settle', () => {
      this.#drive();
      this.#isDriving = this.#set.joint > 0;
      if (this.#isDriving) this.#driveLater();
    });
  }

  /** As the authority does it: asks who answers, settles what is complete. */
  #drive(): void {
    if (this.#set.joint === 0) return;
    const partitions = new Map<number, readonly number[]>();
    for (const [policy, ring] of this.#set.rings()) {
      const { settleable } = progressOf(ring, this.#reports());
      const isPart = this.#random.chance(0.3);
      partitions.set(policy, isPart ? settleable.slice(0, 1) : settleable);
    }
    if (this.#set.settle(partitions)) this.#publish('settled');
  }

  #reports() {
    return this.#cluster.nodes.flatMap((node) => node.process?.storage.moves() ?? []);
  }

  #describe(): string {
    const reports = this.#reports();
    const rings = [...this.#set.rings().values()].filter((ring) => ring.jointPartitions > 0);
    return rings
      .map((ring) => {
        const { statesDone, moves, settleable, silent } = progressOf(ring, reports);
        return `ring ${ring.policy} v${ring.version}: ${statesDone} of ${moves} moves, ${settleable.length} settleable, silent ${silent}`;
      })
      .join('; ');
  }

  #log(event: string, facts: Record<string, unknown>): void {
    const { world } = this.#cluster;
    world.log.add({ timeMs: world.nowMs, machine: 'authority', level: 'info', event, facts });
  }
}
