/**
 * Asks the devices of the cluster what they hold, for the durability meter. A device that does not answer
 * is silent for the rest of the measurement, so that one picture does not mix before and after.
 */

import { codeOf } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { BucketRange } from '#ring/own-partitions.ts';
import type { Caller } from '#wire/contract.ts';
import type { DeviceReport, DevicesReply } from './calls.ts';
import { bucketHash } from './exchange.ts';
import type { HoldingDigest, HoldingState, HoldingStatesReply } from './holdings.ts';

const RANGES_PER_CALL = 2048;
const PAGE = 2000;
const STATUS_DEADLINE_MS = 3_000;
const DEADLINE_MS = 10_000;

export class HoldingsReader {
  readonly #env: Env;
  readonly #caller: Caller;
  /** Devices that answer, by id. */
  readonly reports = new Map<number, DeviceReport>();
  readonly #nodes = new Map<number, string>();

  constructor(env: Env, caller: Caller) {
    this.#env = env;
    this.#caller = caller;
  }

  /** Whom to ask; nobody answers before this. */
  async begin(view: ClusterView): Promise<void> {
    const nodes = new Set<string>();
    for (const ring of view.rings.values()) {
      for (const device of ring.devices) if (device !== undefined) nodes.add(device.node);
    }
    await Promise.all([...nodes].map((node) => this.#ask(node)));
  }

  answers(device: number): boolean {
    return this.reports.has(device);
  }

  /** It knows all that it should of its partitions of a ring. */
  isComplete(device: number, policy: PolicyIndex): boolean {
    return (this.reports.get(device)?.complete[String(policy)] ?? 1) >= 1;
  }

  /** Undefined: it is silent (from now on). In the order of the ranges. */
  async digests(
    device: number,
    policy: PolicyIndex,
    ranges: readonly BucketRange[],
  ): Promise<readonly HoldingDigest[] | undefined> {
    const found: HoldingDigest[] = [];
    for (let i = 0; i < ranges.length; i += RANGES_PER_CALL) {
      const batch = ranges.slice(i, i + RANGES_PER_CALL).map(({ from, to }) => [from, to] as const);
      const args = { device, policy, ranges: batch };
      const reply = await this.#call<HoldingDigest[]>(device, 'device.digests', args);
      if (reply?.length !== batch.length) return undefined;
      found.push(...reply);
    }
    return found;
  }

  /** Undefined: it is silent (from now on). At most about `limit`. */
  async states(
    device: number,
    policy: PolicyIndex,
    range: BucketRange,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<readonly HoldingState[] | undefined> {
    const to = bucketHash(range.to);
    const found: HoldingState[] = [];
    let from = bucketHash(range.from);
    while (from !== null && found.length < limit) {
      const args = { device, policy, from, to, limit: PAGE };
      const page = await this.#call<HoldingStatesReply>(device, 'device.states', args);
      if (page === undefined) return undefined;
      found.push(...page.entries);
      from = page.next === null ? null : Buffer.from(page.next);
    }
    return found;
  }

  async #ask(node: string): Promise<void> {
    const options = { txn: 'durability', deadlineMs: STATUS_DEADLINE_MS };
    try {
      const { result } = await this.#caller.call(node, 'device.status', {}, options);
      for (const report of (result as DevicesReply).devices) {
        if (!['ok', 'full', 'read-only'].includes(report.status)) continue;
        this.reports.set(report.id, report);
        this.#nodes.set(report.id, node);
      }
    } catch (error) {
      this.#env.log.debug('object.durability-silent', { node, error: codeOf(error) });
    }
  }

  async #call<Result>(device: number, method: string, args: unknown): Promise<Result | undefined> {
    const node = this.#nodes.get(device);
    if (node === undefined || !this.reports.has(device)) return undefined;
    const options = { txn: 'durability', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    try {
      return (await this.#caller.call(node, method, args, options)).result as Result;
    } catch (error) {
      this.reports.delete(device);
      this.#env.log.debug('object.durability-silent', { device, error: codeOf(error) });
      return undefined;
    }
  }
}
