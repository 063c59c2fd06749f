/**
 * How good a placement is, in the figures that operators of Swift know:
 *
 * - balance: of all devices, the largest difference between the replicas held and the share by
 *   weight, in percent of that share;
 * - dispersion: percent of all replicas that lie closer together than an even spread would need;
 * - worst: the partition of which one site (zone, node) holds the most replicas.
 */
import type { BuilderState } from './state.ts';
import { buildTree, DEPTH, type TierTree } from './tree.ts';

/** What Swift shows for a device that should hold nothing and holds something. */
export const MAX_BALANCE = 999.99;

export interface Exposure {
  readonly partition: number;
  readonly replicas: number;
  /** The most replicas that one site, zone and node holds. */
  readonly site: number;
  readonly zone: number;
  readonly node: number;
  /** The site that holds them. */
  readonly where: string;
}

export interface Quality {
  readonly balance: number;
  readonly dispersion: number;
  readonly worst?: Exposure;
}

export function qualityOf(state: BuilderState): Quality {
  if (state.columns.length === 0) return { balance: 0, dispersion: 0 };
  const tree = buildTree(state.devices);
  return { balance: balanceOf(state), ...new Spread(state, tree).measure() };
}

export function slotsByDevice(columns: readonly Uint16Array[], devices: number): Int32Array {
  const held = new Int32Array(devices);
  for (const column of columns) for (const id of column) held[id]!++;
  return held;
}

function balanceOf({ columns, devices }: BuilderState): number {
  const held = slotsByDevice(columns, devices.length);
  const weight = devices.reduce((sum, device) => sum + (device?.weight ?? 0), 0);
  const slots = columns.reduce((sum, column) => sum + column.length, 0);
  let worst = 0;
  for (const device of devices) {
    if (device === undefined) continue;
    if (device.weight === 0) {
      if (held[device.id]! > 0) return MAX_BALANCE;
      continue;
    }
    const share = (slots * device.weight) / weight;
    worst = Math.max(worst, Math.abs((100 * held[device.id]!) / share - 100));
  }
  return worst;
}

/** One pass over all partitions with counts by tier in typed arrays. */
class Spread {
  readonly #state: BuilderState;
  readonly #tree: TierTree;
  readonly #allowed: Int32Array;
  readonly #count: Int32Array;
  readonly #excess = [0, 0, 0, 0, 0];
  readonly #most = [0, 0, 0, 0, 0];

  constructor(state: BuilderState, tree: TierTree) {
    this.#state = state;
    this.#tree = tree;
    this.#allowed = allowedByTier(tree, state.settings.replicas);
    this.#count = new Int32Array(tree.size);
  }

  measure(): { dispersion: number; worst?: Exposure } {
    const { columns } = this.#state;
    const partitions = columns[0]!.length;
    let atRisk = 0;
    let slots = 0;
    let worst: Exposure | undefined;
    for (let partition = 0; partition < partitions; partition++) {
      const replicas = this.#countPartition(partition);
      slots += replicas;
      atRisk += Math.max(...this.#excess);
      if (worst === undefined || this.#isWorse(worst)) worst = this.#exposure(partition, replicas);
      this.#clear(partition);
    }
    return { dispersion: (100 * atRisk) / slots, ...(worst && { worst }) };
  }

  #countPartition(partition: number): number {
    const { parent, depth, tierOf } = this.#tree;
    let replicas = 0;
    this.#excess.fill(0);
    this.#most.fill(0);
    for (const column of this.#state.columns) {
      if (partition >= column.length) continue;
      replicas++;
      for (let tier = tierOf[column[partition]!]!; tier > 0; tier = parent[tier]!) {
        const count = ++this.#count[tier]!;
        const level = depth[tier]!;
        if (count > this.#allowed[tier]!) this.#excess[level]!++;
        if (count > this.#most[level]!) this.#most[level] = count;
      }
    }
    return replicas;
  }

  #clear(partition: number): void {
    const { parent, tierOf } = this.#tree;
    for (const column of this.#state.columns) {
      if (partition >= column.length) continue;
      for (let tier = tierOf[column[partition]!]!; tier > 0; tier = parent[tier]!)
        this.#count[tier] = 0;
    }
  }

  #isWorse(worst: Exposure): boolean {
    const [, site, zone, node] = this.#most as [number, number, number, number];
    if (site !== worst.site) return site > worst.site;
    return zone !== worst.zone ? zone > worst.zone : node > worst.node;
  }

  #exposure(partition: number, replicas: number): Exposure {
    const [, site, zone, node] = this.#most as [number, number, number, number];
    const { depth, names } = this.#tree;
    const where = this.#count.findIndex((count, t) => depth[t] === DEPTH.site && count === site);
    return { partition, replicas, site, zone, node, where: names[where] ?? '' };
  }
}

/** An even spread: at each tier the replicas of its parent divided by the siblings, rounded up. */
function allowedByTier(tree: TierTree, replicas: number): Int32Array {
  const live = new Int32Array(tree.size);
  for (let tier = tree.size - 1; tier > 0; tier--) {
    if (tier >= tree.firstDevice) live[tier] = Math.sign(tree.device[tier]!.weight);
    if (live[tier]! > 0) live[tree.parent[tier]!] = 1;
  }
  const allowed = new Float64Array(tree.size);
  allowed[0] = replicas;
  for (let tier = 0; tier < tree.firstDevice; tier++) {
    const first = tree.firstChild[tier]!;
    const end = first + tree.children[tier]!;
    let siblings = 0;
    for (let child = first; child < end; child++) siblings += live[child]!;
    for (let child = first; child < end; child++) {
      if (live[child]! > 0) allowed[child] = Math.ceil(allowed[tier]! / siblings);
    }
  }
  return Int32Array.from(allowed);
}
