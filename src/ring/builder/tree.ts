/**
 * The places where replicas can be, as a tree in typed arrays: root, sites, zones, nodes, devices.
 * Tiers are numbered breadth first, so the children of a tier are neighbours and every parent comes
 * before its children. All devices are in it, those of weight 0 too (they may still hold replicas).
 */
import type { RingDevice } from '../fields.ts';

/** Depth of the tiers. */
export const DEPTH = { root: 0, site: 1, zone: 2, node: 3, device: 4 } as const;

export interface TierTree {
  readonly size: number;
  readonly parent: Int32Array;
  readonly depth: Uint8Array;
  /** Children of t: firstChild[t] .. firstChild[t] + children[t] - 1. */
  readonly firstChild: Int32Array;
  readonly children: Int32Array;
  /** Tiers from here on are devices. */
  readonly firstDevice: number;
  /** By tier; undefined above the devices. */
  readonly device: readonly (RingDevice | undefined)[];
  /** The tier of a device id, -1 for an id that is no device of this tree. */
  readonly tierOf: Int32Array;
  /** Such as `lngs/z1`; empty for the root. */
  readonly names: readonly string[];
}

interface Draft {
  readonly name: string;
  readonly parent: number;
  readonly devices: readonly RingDevice[];
}

export function buildTree(devices: readonly (RingDevice | undefined)[]): TierTree {
  const present = devices.filter((device) => device !== undefined);
  let level: Draft[] = [{ name: '', parent: -1, devices: present }];
  const all: (Draft & { depth: number; first: number; count: number })[] = [];
  for (let depth = 0; depth <= DEPTH.device; depth++) {
    const next: Draft[] = [];
    const base = all.length;
    for (const [i, draft] of level.entries()) {
      const parts = depth === DEPTH.device ? [] : split(draft, depth, base + i);
      all.push({ ...draft, depth, first: base + level.length + next.length, count: parts.length });
      for (const part of parts) next.push(part);
    }
    level = next;
  }
  return freeze(all, devices.length, present.length);
}

/** Groups in order of name, devices in order of id: the order must not depend on how they came. */
function split(draft: Draft, depth: number, parent: number): Draft[] {
  const groups = new Map<string, RingDevice[]>();
  for (const device of draft.devices) {
    const key = [device.site, device.zone, device.node, device.id][depth]!;
    const group = groups.get(String(key));
    if (group === undefined) groups.set(String(key), [device]);
    else group.push(device);
  }
  const keys = [...groups.keys()];
  if (depth < DEPTH.node) keys.sort();
  return keys.map((key) => {
    const members = groups.get(key)!;
    const label = depth === DEPTH.node ? members[0]!.name : key;
    return { name: draft.name === '' ? label : `${draft.name}/${label}`, parent, devices: members };
  });
}

function freeze(
  all: readonly (Draft & { depth: number; first: number; count: number })[],
  ids: number,
  deviceCount: number,
): TierTree {
  const firstDevice = all.length - deviceCount;
  const tierOf = new Int32Array(ids).fill(-1);
  for (let tier = firstDevice; tier < all.length; tier++) tierOf[all[tier]!.devices[0]!.id] = tier;
  return {
    size: all.length,
    parent: Int32Array.from(all, (tier) => tier.parent),
    depth: Uint8Array.from(all, (tier) => tier.depth),
    firstChild: Int32Array.from(all, (tier) => tier.first),
    children: Int32Array.from(all, (tier) => tier.count),
    firstDevice,
    device: all.map((tier, i) => (i < firstDevice ? undefined : tier.devices[0])),
    tierOf,
    names: all.map((tier) => tier.name),
  };
}

/** Sums a value of the devices up the tree. */
export function sumUp(tree: TierTree, values: Float64Array): void {
  for (let tier = tree.size - 1; tier > 0; tier--) {
    const parent = tree.parent[tier]!;
    values[parent] = values[parent]! + values[tier]!;
  }
}
