/**
 * What this node's repair may take, as the cluster says it now (ring/repair-limits.ts): bytes per
 * second from each other site, transfers at once, share of the time.
 *
 * Whoever receives pays: every transfer of repair is a pull, so one bucket per sending site at the
 * receiver is all there is to it. The nodes of a site share its limit equally, without asking each other.
 */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import {
  bandwidthBetween,
  type RepairChanges,
  type RepairLimits,
  repairLimits,
} from '#ring/repair-limits.ts';
import { type Line, TokenBucket } from '#worker/token-bucket.ts';

const MICROS_PER_MINUTE = 60_000_000;
const MINUTES_PER_DAY = 1_440;

export class RepairBudget {
  readonly #env: Env;
  readonly #cluster: ClusterSource;
  readonly #site: string;
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #received = new Map<string, number>();
  #changes: RepairChanges = {};
  /** As of this view. */
  #limits: RepairLimits | undefined;
  #view: ClusterView | undefined;

  constructor(env: Env, cluster: ClusterSource, self: { readonly site: string }) {
    this.#env = env;
    this.#cluster = cluster;
    this.#site = self.site;
  }

  get limits(): RepairLimits {
    const view = this.#cluster.current();
    if (this.#limits === undefined || this.#view !== view) {
      this.#view = view;
      this.#limits = repairLimits(view, this.#changes);
    }
    return this.#limits;
  }

  get changes(): RepairChanges {
    return this.#changes;
  }

  /** What this node does otherwise than the cluster says. */
  change(changes: RepairChanges): void {
    this.#changes = changes;
    this.#limits = undefined;
  }

  siteOf(node: string): string {
    return this.#cluster.current().nodes.get(node)?.site ?? '';
  }

  isNear(node: string): boolean {
    return this.siteOf(node) === this.#site;
  }

  /** False: nothing may be received from the node's site at this hour. */
  isOpen(node: string): boolean {
    return this.#rateFrom(this.siteOf(node)) > 0;
  }

  /**
   * Resolves when so many bytes of repair may be received from the node's site. Who waits in the hour in
   * which that ends is told: he would wait until tomorrow, in the place of one who needs another site.
   * @throws OperatingError `line-closed`; the signal's reason
   */
  receive(node: string, bytes: number, signal?: AbortSignal, line?: Line): Promise<void> {
    const site = this.siteOf(node);
    let bucket = this.#buckets.get(site);
    if (bucket === undefined) {
      bucket = new TokenBucket(this.#env.clock, () => this.#openRateFrom(site));
      this.#buckets.set(site, bucket);
    }
    return bucket.take(bytes, signal, line).then(() => {
      this.#received.set(site, (this.#received.get(site) ?? 0) + bytes);
    });
  }

  /** Bytes of bodies that repair has received here, by the site they came from. */
  received(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#received);
  }

  #openRateFrom(site: string): number {
    const rate = this.#rateFrom(site);
    if (rate > 0) return rate;
    throw new OperatingError('line-closed', 'nothing may move between the sites now', { site });
  }

  #rateFrom(site: string): number {
    const minute = Math.floor(this.#env.clock.wallMicros() / MICROS_PER_MINUTE) % MINUTES_PER_DAY;
    const rate = bandwidthBetween(this.limits.bandwidth, site, this.#site, minute);
    return rate === Number.POSITIVE_INFINITY ? rate : rate / this.#nodesHere();
  }

  #nodesHere(): number {
    let count = 0;
    for (const { site } of this.#cluster.current().nodes.values()) {
      if (site === this.#site) count++;
    }
    return Math.max(1, count);
  }
}
