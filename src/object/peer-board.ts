/**
 * What this node knows of its peers' devices since it last asked them (src/repair asks, node by node):
 * whether the sums over what two devices share differ, and how healthy the other one is.
 *
 * The jobs that mend differences look only where the board says `differs`, and work on the most
 * degraded partitions first. A pair that was never asked about counts as different: nothing is taken
 * for equal on no evidence.
 */
import { deadSinceMicros, type EntryState, isDead } from '#base/entry.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Coverage } from '#ring/coverage.ts';
import type { OwnPartition } from '#ring/own-partitions.ts';
import { addDebt, type Debt, type DebtBySite } from './debt.ts';

export interface PeerDevice {
  readonly id: number;
  readonly node: string;
  readonly incarnation: string;
  readonly status: string;
  /** What it is complete for, by ring; a ring that is absent here: nothing is known. */
  readonly complete: ReadonlyMap<PolicyIndex, Coverage>;
  readonly heardAtMs: number;
}

interface PairState {
  differs: boolean;
  /** Local monotonic time since when the two are known to agree on all that was there then. */
  agreedAtMs: number;
}

/** A device that was not heard from for so long counts as away. */
const SILENT_MS = 60_000;
const SERVING: ReadonlySet<string> = new Set(['ok', 'full']);

export class PeerBoard {
  readonly #nowMs: () => number;
  readonly #devices = new Map<number, PeerDevice>();
  readonly #pairs = new Map<string, PairState>();
  readonly #listeners = new Set<() => void>();
  #reclaimedBeforeMs = 0;
  readonly #debts = new Map<string, DebtBySite>();
  #debt: DebtBySite = new Map();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  heard(device: PeerDevice): void {
    this.#devices.set(device.id, device);
  }

  device(id: number): PeerDevice | undefined {
    return this.#devices.get(id);
  }

  /** It answered once, and does not now, or is out of service. */
  isAway(id: number): boolean {
    const peer = this.#devices.get(id);
    if (peer === undefined) return false;
    return peer.heardAtMs < this.#nowMs() - SILENT_MS || !SERVING.has(peer.status);
  }

  /** What a node's stand-ins hold for other sites. */
  owes(node: string, debt: DebtBySite): void {
    if (debt.size === 0) this.#debts.delete(node);
    else this.#debts.set(node, debt);
    const sum = new Map<string, Debt>();
    for (const bySite of this.#debts.values())
      for (const [site, one] of bySite) addDebt(sum, site, one);
    this.#debt = sum;
  }

  /** Others are in no ring any more: nothing of what they hold comes from them. */
  onlyOf(nodes: readonly string[]): void {
    for (const node of this.#debts.keys()) if (!nodes.includes(node)) this.owes(node, new Map());
  }

  /** What all nodes together hold for each site, as far as they told. */
  debt(): DebtBySite {
    return this.#debt;
  }

  differs(policy: PolicyIndex, own: number, peer: number): boolean {
    return this.#pairs.get(pairKey(policy, own, peer))?.differs ?? true;
  }

  /** Local time since when the pair is known to agree; undefined: it never did since this process started. */
  agreedAtMs(policy: PolicyIndex, own: number, peer: number): number | undefined {
    const agreed = this.#pairs.get(pairKey(policy, own, peer))?.agreedAtMs;
    return agreed === undefined || agreed < 0 ? undefined : agreed;
  }

  /** The sums were compared: both sides' were taken at `atMs` or later. */
  compared(policy: PolicyIndex, own: number, peer: number, equal: boolean, atMs: number): void {
    const key = pairKey(policy, own, peer);
    const known = this.#pairs.get(key);
    const agreedAtMs = equal ? atMs : (known?.agreedAtMs ?? -1);
    const isNews = !equal && known?.differs !== true;
    this.#pairs.set(key, { differs: !equal, agreedAtMs });
    if (isNews) for (const listener of this.#listeners) listener();
  }

  /** Everything that the peer had at `atMs` was taken in here, though the sums may differ by now. */
  tookIn(policy: PolicyIndex, own: number, peer: number, atMs: number): void {
    const key = pairKey(policy, own, peer);
    const known = this.#pairs.get(key) ?? { differs: true, agreedAtMs: -1 };
    this.#pairs.set(key, { ...known, agreedAtMs: Math.max(known.agreedAtMs, atMs) });
  }

  /** What was dead before then has been reclaimed here, or was never needed. */
  reclaimed(beforeMs: number): void {
    this.#reclaimedBeforeMs = beforeMs;
  }

  /**
   * A tombstone, or an expired version, that another replica has not reclaimed yet. Where nothing is known
   * of the key, there is nothing for it to hide; taking it in would make it younger, and replicas would
   * hand it to each other for ever.
   */
  isReclaimed(state: EntryState): boolean {
    return isDead(state) && this.isReclaimedAt(deadSinceMicros(state));
  }

  /** What has been dead since then, in microseconds, is. */
  isReclaimedAt(deadSince: number): boolean {
    return deadSince / 1000 < this.#reclaimedBeforeMs;
  }

  /** Called when a pair is found to differ that did not before. */
  onDifference(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** How many of a partition's other replicas answer and know everything: the fewer, the more urgent. */
  goodPeers(policy: PolicyIndex, { others, buckets }: OwnPartition): number {
    const silent = this.#nowMs() - SILENT_MS;
    return others.filter(({ id }) => {
      const peer = this.#devices.get(id);
      if (peer === undefined || peer.heardAtMs < silent || peer.status !== 'ok') return false;
      return peer.complete.get(policy)?.has(buckets.from, buckets.to) === true;
    }).length;
  }

  /** The most degraded first; in the order given where equal. */
  mostDegradedFirst(policy: PolicyIndex, partitions: readonly OwnPartition[]): OwnPartition[] {
    const ranked = partitions.map((partition) => ({
      partition,
      good: this.goodPeers(policy, partition),
    }));
    ranked.sort((a, b) => a.good - b.good);
    return ranked.map(({ partition }) => partition);
  }
}

function pairKey(policy: PolicyIndex, own: number, peer: number): string {
  return `${policy}/${own}/${peer}`;
}
