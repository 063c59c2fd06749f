/**
 * Asks every other node, once per cycle and with one message, whether what the two share is the same,
 * and keeps the answers on the board. Nothing else of repair talks to a peer that is in sync.
 *
 * While all agree and nothing changes here, it asks ever more seldom, down to a third of the cycles; a
 * change, a peer that is silent or differs, or a peer's question that shows a difference ends that.
 *
 * Both sides of a pair ask: what only one of them can reach is still found, and each learns from its own
 * question when the other's rounds began (reclaim rests on that: rounds.ts).
 */
import { codeOf } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import { Semaphore } from '#base/semaphore.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { DebtBySite } from '#object/debt.ts';
import type { PeerBoard } from '#object/peer-board.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { type Coverage, coverageOf } from '#ring/coverage.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller, Handler, Reply } from '#wire/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import {
  type CompareArgs,
  type DeviceState,
  MAX_DEVICES,
  MAX_PAIRS,
  parseCompareArgs,
  parseCompareReply,
  type RingAnswer,
  type RingSum,
  type SiteDebt,
} from './messages.ts';
import { BoundsReader, packBounds } from './packed-bounds.ts';
import type { PairSums } from './pair-sums.ts';

export interface PeerExchangeOptions {
  readonly env: Env;
  readonly wire: Caller & { handle(method: string, handler: Handler): void };
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string };
  readonly devices: () => ReadonlyMap<number, Device>;
  readonly board: PeerBoard;
  readonly sums: PairSums;
  /** What one device tells of its rounds. */
  readonly rounds: (device: Device) => Pick<DeviceState, 'run' | 'roundsBegun' | 'roundsDone'>;
  /** What a peer answered about its devices; it was asked at `askedMs` of the wall clock. */
  readonly heard: (devices: readonly DeviceState[], askedMs: number) => void;
  /** What this node's stand-ins hold for other sites. */
  readonly debt: () => DebtBySite;
  readonly cycleMs?: number;
  /** Another list of values whenever a sum of this node may be another. */
  readonly changes: () => readonly unknown[];
}

/** What both sides tell of themselves. */
type Ranges = readonly { readonly from: number; readonly to: number }[];
type Told = Pick<CompareArgs, 'devices' | 'debts'>;

const DEFAULT_CYCLE_MS = 10_000;
/** Large clusters take longer for a cycle, rather than ask more often. */
const MIN_PER_PEER_MS = 200;
const AT_ONCE = 16;
const DEADLINE_MS = 5_000;
/** Cycles that are left out at most while nothing happens: peers take who is silent for a minute for away. */
const MAX_REST = 2;
/** Ranges of completeness that are told; a device with more is in so many pieces that it is not good. */
const MAX_TOLD_BOUNDS = 512;

export class PeerExchange implements Job {
  readonly name = 'repair.exchange';
  readonly #options: PeerExchangeOptions;
  #cycles = 0;
  /** How many cycles are left out after the next one, and are still to be left out now. */
  #calm = 0;
  #rest = 0;
  #seen: readonly unknown[] = [];
  #silent = 0;
  #differing = 0;
  readonly #bounds = new BoundsReader();
  /** By the lists that they are of: completeness seldom changes, and is told in every cycle. */
  readonly #packed = new WeakMap<Ranges, Buffer>();
  readonly #ranges = new WeakMap<readonly number[], Ranges>();

  constructor(options: PeerExchangeOptions) {
    this.#options = options;
    options.wire.handle('repair.compare', (args, { peer }) => this.#answer(args, peer));
  }

  facts(): Record<string, number> {
    return { cycles: this.#cycles, silentPeers: this.#silent, differingPairs: this.#differing };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const { cluster, env, cycleMs = DEFAULT_CYCLE_MS } = this.#options;
    const view = cluster.current();
    const peers = peersOf(view);
    this.#options.board.onlyOf(peers);
    const changed = this.#hasChanged(view);
    if (changed || this.#rest === 0) {
      await this.#askAll(view, peers, signal);
      const isCalm = !changed && this.#silent === 0 && this.#differing === 0;
      this.#calm = isCalm ? Math.min(MAX_REST, this.#calm + 1) : 0;
      this.#rest = this.#calm;
    } else this.#rest--;
    const waitMs = Math.max(cycleMs, MIN_PER_PEER_MS * peers.length);
    return { kind: 'idle', waitMs: waitMs * (0.9 + 0.2 * env.random.float()) };
  }

  /** Since the last call. */
  #hasChanged(view: ClusterView): boolean {
    const now = [view, ...this.#options.changes()];
    const before = this.#seen;
    this.#seen = now;
    return now.length !== before.length || now.some((value, i) => value !== before[i]);
  }

  async #askAll(view: ClusterView, peers: readonly string[], signal: AbortSignal): Promise<void> {
    const gate = new Semaphore(AT_ONCE);
    this.#differing = 0;
    const answers = await Promise.all(
      peers.map((peer) => gate.use(() => (signal.aborted ? false : this.#ask(view, peer)))),
    );
    this.#cycles++;
    this.#silent = answers.filter((answered) => !answered).length;
  }

  async #ask(view: ClusterView, peer: string): Promise<boolean> {
    const { env, wire, self, sums, heard } = this.#options;
    const rings = [...view.rings.values()];
    const askedAtMs = env.clock.monotonicMs();
    const askedWallMs = env.clock.wallMicros() / 1000;
    const asked = rings.map((ring): RingSum => {
      const pairs = sums.pairs(ring, self.node, peer);
      const sum = sums.ofNodes(ring, pairs, 'asker') ?? null;
      return { policy: ring.policy, version: ring.version, sum };
    });
    try {
      const args = { rings: asked, ...this.#own() };
      const options = { txn: 'repair', deadlineMs: DEADLINE_MS };
      const { result } = await wire.call(peer, 'repair.compare', args, options);
      const reply = parseCompareReply(result, this.#bounds);
      this.#hear(peer, reply);
      heard(reply.devices, askedWallMs);
      for (const [i, ring] of rings.entries()) this.#note(ring, peer, reply.rings[i], askedAtMs);
      return true;
    } catch (error) {
      env.log.debug('repair.peer-silent', { peer, error: codeOf(error) });
      return false;
    }
  }

  #note(ring: Ring, peer: string, answer: RingAnswer | undefined, askedAtMs: number): void {
    const { self, sums, board } = this.#options;
    const pairs = sums.pairs(ring, self.node, peer);
    for (const [i, pair] of pairs.entries()) {
      const theirs = answer?.pairs?.[i];
      const equal =
        answer?.equal === true ||
        (theirs !== undefined &&
          theirs !== null &&
          sums.ofPair(ring, pair, pair.asker)?.equals(theirs) === true);
      if (!equal) this.#differing++;
      board.compared(ring.policy, pair.asker, pair.asked, equal, askedAtMs);
    }
  }

  #answer(args: unknown, peer: string): Reply {
    const { cluster, self, sums } = this.#options;
    const told = parseCompareArgs(args, this.#bounds);
    const { rings } = told;
    this.#hear(peer, told);
    const view = cluster.current();
    const answers = rings.map(({ policy, version, sum }): RingAnswer => {
      const ring = view.rings.get(policy);
      if (ring?.version !== version) return { equal: false, pairs: null };
      const pairs = sums.pairs(ring, peer, self.node);
      const own = sums.ofNodes(ring, pairs, 'asked');
      if (sum !== null && own?.equals(sum) === true) return { equal: true, pairs: null };
      if (pairs.length > MAX_PAIRS) return { equal: false, pairs: null };
      const each = pairs.map((pair) => sums.ofPair(ring, pair, pair.asked) ?? null);
      return { equal: false, pairs: each };
    });
    if (answers.some(({ equal }) => !equal)) this.#rest = 0;
    return { result: { rings: answers, ...this.#own() } };
  }

  #hear(node: string, { devices, debts }: Told): void {
    const { board, env } = this.#options;
    board.owes(node, new Map(debts.map((debt) => [debt.site, debt])));
    const heardAtMs = env.clock.monotonicMs();
    for (const { id, incarnation, status, complete } of devices) {
      const byRing = new Map<PolicyIndex, Coverage>();
      for (const { ring, bounds } of complete) byRing.set(ring, this.#coverageOf(bounds));
      board.heard({ id, node, incarnation, status, complete: byRing, heardAtMs });
    }
  }

  /** As it travels. */
  #own(): { readonly devices: readonly unknown[]; readonly debts: readonly SiteDebt[] } {
    const { devices, rounds } = this.#options;
    const debts = [...this.#options.debt()].map(([site, debt]) => ({ site, ...debt }));
    const told = [...devices().values()].slice(0, MAX_DEVICES).map((device) => ({
      id: device.id,
      incarnation: device.incarnation,
      status: device.status,
      complete: this.#completeOf(device),
      ...rounds(device),
    }));
    return { devices: told, debts };
  }

  #completeOf({ completeness }: Device): { readonly ring: PolicyIndex; readonly bounds: Buffer }[] {
    return [...this.#options.cluster.current().rings.keys()]
      .map((ring) => ({ ring, ranges: completeness.ranges(ring) }))
      .filter(({ ranges }) => 2 * ranges.length <= MAX_TOLD_BOUNDS)
      .map(({ ring, ranges }) => ({ ring, bounds: this.#packedOf(ranges) }));
  }

  #packedOf(ranges: Ranges): Buffer {
    let packed = this.#packed.get(ranges);
    if (packed === undefined) {
      packed = packBounds(ranges.flatMap(({ from, to }) => [from, to]));
      this.#packed.set(ranges, packed);
    }
    return packed;
  }

  #coverageOf(bounds: readonly number[]): Coverage {
    let ranges = this.#ranges.get(bounds);
    if (ranges === undefined) {
      ranges = rangesOf(bounds);
      this.#ranges.set(bounds, ranges);
    }
    return coverageOf(ranges);
  }
}

/** Every node that has a device in a ring, this one too: two devices of one node may share partitions. */
export function peersOf(view: ClusterView): string[] {
  const nodes = new Set<string>();
  for (const ring of view.rings.values()) {
    for (const device of ring.devices) if (device !== undefined) nodes.add(device.node);
  }
  return [...nodes];
}

function rangesOf(bounds: readonly number[]): Ranges {
  const ranges: { from: number; to: number }[] = [];
  for (let i = 0; i + 1 < bounds.length; i += 2) {
    ranges.push({ from: bounds[i]!, to: bounds[i + 1]! });
  }
  return ranges;
}
