/**
 * How many replicas each tier should hold: first as real numbers (replicas per partition), then as
 * whole slots. The placement that follows only has to keep to them, so all judgement is here:
 *
 * 1. By weight: a device's share of the replicas, never above 1 (it cannot hold two replicas of one
 *    partition); what does not fit goes to the others by weight.
 * 2. Far apart: from the root down no child should hold more replicas of a partition than an even
 *    spread needs (`even`). What weight gives it above that goes to its siblings by weight.
 * 3. `overload` limits 2: no device gets more than (1 + overload) times its share by weight. What
 *    then still does not fit stays where weight put it.
 */
import { sumUp, type TierTree } from './tree.ts';

/** Differences below this are rounding of floating point, not meaning. */
const EPSILON = 1e-9;

export interface Targets {
  /** Replicas per partition by weight alone (with the limit of 1 per device), by tier. */
  readonly byWeight: Float64Array;
  /** Replicas per partition aimed at, by tier. */
  readonly replicas: Float64Array;
}

/** `replicas` must not be above the number of devices with weight. */
export function computeTargets(tree: TierTree, replicas: number, overload: number): Targets {
  const live = new Float64Array(tree.size);
  const byWeight = new Float64Array(tree.size);
  const limit = new Float64Array(tree.size);
  const weights = tree.device.slice(tree.firstDevice).map((device) => device!.weight);
  const shares = share(replicas, weights, weights.map(Math.sign));
  for (const [i, amount] of shares.entries()) {
    const tier = tree.firstDevice + i;
    live[tier] = Math.sign(weights[i]!);
    byWeight[tier] = amount;
    limit[tier] = Math.min(live[tier], amount * (1 + overload));
  }
  for (const values of [live, byWeight, limit]) sumUp(tree, values);
  const target = new Float64Array(tree.size);
  target[0] = replicas;
  for (let tier = 0; tier < tree.firstDevice; tier++)
    spread(tree, tier, { live, byWeight, limit, target });
  return { byWeight, replicas: target };
}

interface Sums {
  readonly live: Float64Array;
  readonly byWeight: Float64Array;
  readonly limit: Float64Array;
  readonly target: Float64Array;
}

/** Divides the target of one tier among its children: rules 2 and 3. */
function spread(tree: TierTree, tier: number, { live, byWeight, limit, target }: Sums): void {
  const first = tree.firstChild[tier]!;
  const children = Array.from({ length: tree.children[tier]! }, (_, i) => first + i);
  const amount = target[tier]!;
  const even = evenSpread(
    amount,
    children.map((child) => live[child]!),
  );
  const weights = children.map((child) => byWeight[child]!);
  const limits = children.map((child) => limit[child]!);
  const apart = limits.map((most) => Math.min(most, even));
  const amounts = share(amount, weights, apart);
  const missing = amount - sum(amounts);
  if (missing > EPSILON) {
    const room = limits.map((most, i) => most - amounts[i]!);
    share(missing, weights, room).forEach((more, i) => {
      amounts[i]! += more;
    });
  }
  children.forEach((child, i) => {
    target[child] = amounts[i]!;
  });
}

/** The least m for which children holding at most m each (and one per device) hold it all. */
function evenSpread(amount: number, capacities: readonly number[]): number {
  const most = Math.max(0, ...capacities);
  let m = 1;
  while (m < most && sum(capacities.map((c) => Math.min(m, c))) < amount - EPSILON) m++;
  return m;
}

/** Divides `amount` in proportion to the weights, nobody above its limit; gives less if all are full. */
function share(amount: number, weights: readonly number[], limits: readonly number[]): number[] {
  const open = weights.map((_, i) => i).filter((i) => weights[i]! > 0 && limits[i]! > 0);
  open.sort((a, b) => limits[a]! / weights[a]! - limits[b]! / weights[b]! || a - b);
  const amounts = weights.map(() => 0);
  let left = amount;
  let weight = sum(open.map((i) => weights[i]!));
  for (const i of open) {
    amounts[i] = Math.min(limits[i]!, Math.max(0, (left * weights[i]!) / weight));
    left -= amounts[i];
    weight -= weights[i]!;
  }
  return amounts;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * Whole slots by tier, adding up at every tier, each the target rounded down or up. What rounding
 * leaves goes to the largest fractions, and among equal ones to those who hold more already: so a
 * rebalance without a change moves nothing.
 */
export function computeQuotas(
  tree: TierTree,
  targets: Targets,
  slots: number,
  held: Int32Array,
): Int32Array {
  const quotas = new Int32Array(tree.size);
  const scale = targets.replicas[0]! > 0 ? slots / targets.replicas[0]! : 0;
  quotas[0] = slots;
  for (let tier = 0; tier < tree.firstDevice; tier++) {
    const first = tree.firstChild[tier]!;
    const children = Array.from({ length: tree.children[tier]! }, (_, i) => first + i);
    const ideal = (child: number): number => targets.replicas[child]! * scale;
    const fraction = new Map<number, number>();
    let left = quotas[tier]!;
    for (const child of children) {
      quotas[child] = Math.floor(ideal(child) + EPSILON * slots);
      left -= quotas[child];
      fraction.set(child, Math.round((ideal(child) - quotas[child]) * 1e5));
    }
    const excess = (child: number): number => held[child]! - quotas[child]!;
    children.sort((a, b) => fraction.get(b)! - fraction.get(a)! || excess(b) - excess(a) || a - b);
    for (let i = 0; i < left; i++) quotas[children[i % children.length]!]!++;
    for (; left < 0; left++) quotas[children.at(-1)!]!--;
  }
  return quotas;
}
