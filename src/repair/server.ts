/**
 * Repair between nodes: who differs from whom (peer-exchange.ts), known to the jobs of the services by
 * the board. What mends the differences are the services' own jobs.
 */
import type { PolicyIndex } from '#base/names.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { type Device, isServing } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { DebtBySite } from '#object/debt.ts';
import { PeerBoard } from '#object/peer-board.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { type RepairLimits, repairLimits } from '#ring/repair-limits.ts';
import type { RowStore } from '#rows/row-store.ts';
import type { Caller, Handler } from '#wire/contract.ts';
import type { Job } from '#worker/job.ts';
import { PairSums, type SumSource } from './pair-sums.ts';
import { PeerExchange } from './peer-exchange.ts';
import { Reclaim } from './reclaim.ts';
import { type ClearedAt, Rounds } from './rounds.ts';
import { Sweeps } from './sweeps.ts';

/**
 * Wait before the first exchange: nodes of a cluster start together, and a call to one that does not
 * listen yet makes the wire hold back the next, which may be a client's write.
 */
export const EXCHANGE_START_MS = 2_000;

export interface RepairOptions {
  readonly env: Env;
  readonly wire: Caller & { handle(method: string, handler: Handler): void };
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  readonly devices: () => ReadonlyMap<number, { readonly device: Device; readonly rows: RowStore }>;
  /** What this node's stand-ins hold for other sites. */
  readonly debt?: () => DebtBySite;
  /** When a device was last found to hold nothing of others; absent: nobody looks, so nothing is reclaimed. */
  readonly clearedAtMs?: ClearedAt;
  readonly limits?: () => RepairLimits;
  /** How long a cycle of asking all peers takes. */
  readonly cycleMs?: number;
}

export interface Repair {
  readonly board: PeerBoard;
  /** For the row services: see RowServiceOptions. */
  readonly differs: (ring: PolicyIndex, own: number, peer: number) => boolean;
  /** For the row services: all that a peer had at this moment was taken in. */
  readonly tookIn: (ring: PolicyIndex, own: number, peer: number, atMs: number) => void;
  /** For the row services: what has been dead since then, in microseconds, is reclaimed. */
  readonly isReclaimed: (deadSince: number) => boolean;
  readonly exchange: Job;
  readonly reclaim: Job;
}

export function createRepair(options: RepairOptions): Repair {
  const { env, devices } = options;
  const board = new PeerBoard(() => env.clock.monotonicMs());
  const { cluster } = options;
  const rounds = new Rounds(env, cluster, board, options.clearedAtMs ?? (() => undefined));
  const sweeps = new Sweeps();
  const open = (): ReadonlyMap<number, Device> =>
    new Map([...devices()].map(([id, { device }]) => [id, device]));
  const sums = new PairSums((id, policy) => sumSource(devices().get(id), policy));
  const exchange = new PeerExchange({
    ...options,
    devices: open,
    board,
    sums,
    rounds: (device) => rounds.of(device),
    heard: (states, askedMs) => {
      for (const state of states) sweeps.told(state, askedMs);
    },
    debt: options.debt ?? (() => new Map()),
    changes: () =>
      [...devices().values()].flatMap(({ device, rows }) => {
        return [device, device.status, device.digests.changes, rows.summaryChanges];
      }),
  });
  return {
    board,
    // A peer that never answered can't be asked for rows either.
    differs: (ring, own, peer) =>
      board.device(peer) !== undefined && board.differs(ring, own, peer),
    tookIn: (ring, own, peer, atMs) => board.tookIn(ring, own, peer, atMs),
    isReclaimed: (deadSince) => board.isReclaimedAt(deadSince),
    exchange,
    reclaim: new Reclaim({
      env,
      cluster,
      devices,
      sweeps,
      board,
      limits: options.limits ?? (() => repairLimits(cluster.current())),
    }),
  };
}

/** Undefined: out of service, so that nothing can be said of what it holds. */
function sumSource(
  open: { readonly device: Device; readonly rows: RowStore } | undefined,
  policy: PolicyIndex,
): SumSource | undefined {
  if (open === undefined || !isServing(open.device.status)) {
    return undefined;
  }
  const { device, rows } = open;
  if (policy === CONTAINER_RING || policy === ACCOUNT_RING) {
    if (rows.damage !== undefined) return undefined;
    return {
      of: rows,
      changes: rows.summaryChanges,
      summarise: (from, to) => rows.summarise(policy, from, to, 1)[0]!,
    };
  }
  return {
    of: device,
    changes: device.digests.changes,
    summarise: (from, to) => device.digests.summarise(policy, from, to, 1)[0]!,
  };
}
