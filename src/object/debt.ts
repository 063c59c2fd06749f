/**
 * Handoff debt: what waits on stand-ins for a site that could not be reached. Each node counts its own
 * while handing over, a pass at a time; nodes tell each other (src/repair), so that each knows the sum.
 *
 * A debt beyond the limit is reported. Where the operator says so, it also slows down the writes that
 * would add to it: a replica answers a write late while another primary of the name is away at a site to
 * which too much is owed already. So it can only grow as fast as clients wait, in every mode.
 */
import type { EntryKey } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { RepairBudget } from './budget.ts';
import type { PeerBoard } from './peer-board.ts';

export interface Debt {
  readonly entries: number;
  readonly bytes: number;
}

export type DebtBySite = ReadonlyMap<string, Debt>;

const NOTHING: Debt = { entries: 0, bytes: 0 };

/** One pass after the other over what a device holds for others. */
export class DebtCount {
  readonly #passes = new Map<string, { last: Map<string, Debt>; now: Map<string, Debt> }>();

  /** An entry stays here because this site has not taken it yet. */
  add(pass: string, site: string, bytes: number): void {
    const { now } = this.#of(pass);
    const { entries, bytes: before } = now.get(site) ?? NOTHING;
    now.set(site, { entries: entries + 1, bytes: before + bytes });
  }

  /** The pass has seen everything. */
  ended(pass: string): void {
    const { now } = this.#of(pass);
    this.#passes.set(pass, { last: now, now: new Map() });
  }

  /** Other devices and rings hold nothing of others any more, or are gone. */
  keep(passes: ReadonlySet<string>): void {
    for (const pass of this.#passes.keys()) if (!passes.has(pass)) this.#passes.delete(pass);
  }

  /** Of the last whole pass, or of the one under way where that has found more. */
  bySite(): Map<string, Debt> {
    const sum = new Map<string, Debt>();
    for (const { last, now } of this.#passes.values()) {
      for (const site of new Set([...last.keys(), ...now.keys()])) {
        const [a, b] = [last.get(site) ?? NOTHING, now.get(site) ?? NOTHING];
        addDebt(sum, site, a.entries > b.entries ? a : b);
      }
    }
    return sum;
  }

  #of(pass: string) {
    let known = this.#passes.get(pass);
    if (known === undefined) this.#passes.set(pass, (known = { last: new Map(), now: new Map() }));
    return known;
  }
}

export function addDebt(sum: Map<string, Debt>, site: string, { entries, bytes }: Debt): void {
  const known = sum.get(site) ?? NOTHING;
  sum.set(site, { entries: known.entries + entries, bytes: known.bytes + bytes });
}

export class DebtBrake {
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #board: PeerBoard;
  readonly #budget: RepairBudget;
  #slowed = 0;

  constructor(env: Env, cluster: ClusterSource, board: PeerBoard, budget: RepairBudget) {
    this.#env = env;
    this.#cluster = cluster;
    this.#board = board;
    this.#budget = budget;
  }

  get slowed(): number {
    return this.#slowed;
  }

  /** Sites to which more is owed than the limits allow. */
  tooMuch(): string[] {
    const { debtEntries, debtBytes } = this.#budget.limits;
    return [...this.#board.debt()].flatMap(([site, { entries, bytes }]) =>
      entries > debtEntries || bytes > debtBytes ? [site] : [],
    );
  }

  /** Waits where a write of this name would add to a debt that is too large. */
  async hold({ policy, hash }: EntryKey, signal: AbortSignal): Promise<void> {
    const { debtSlowMs } = this.#budget.limits;
    if (debtSlowMs === 0 || this.#board.debt().size === 0) return;
    const sites = this.tooMuch();
    const ring = this.#cluster.current().rings.get(policy);
    if (sites.length === 0 || ring === undefined) return;
    const { primaries } = ring.placement(ring.partitionOf(hash));
    const adds = primaries.some(({ id, site }) => sites.includes(site) && this.#board.isAway(id));
    if (!adds) return;
    this.#slowed++;
    // Aborted: the caller has gone, and what it wrote is committed all the same.
    await this.#env.clock.sleep(debtSlowMs, signal).catch(() => undefined);
  }
}
