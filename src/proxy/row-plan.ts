/**
 * Where the row of a write goes, and what the proxy does about replicas that the storage nodes did
 * not reach: it sends them the row itself.
 */
import type { RowItem } from '#container/calls.ts';
import type { Listing, Target } from '#object/calls.ts';
import type { RowDelivery, RowSender } from '#object/row-sender.ts';
import type { ContainerInfo } from './contract.ts';
import type { Place } from './placement.ts';
import type { Quorum } from './quorum.ts';

export interface RowPlan {
  readonly quorum: Quorum;
  readonly targets: readonly Target[];
  /** @throws WireError, OperatingError */
  deliver(target: Target): Promise<RowDelivery>;
}

export interface RowPlanOptions {
  readonly sender: RowSender;
  /** The container's (or account's) place. */
  readonly place: Place;
  readonly txn: string;
  /** Made only when the proxy must send a row itself. */
  readonly item: () => RowItem;
}

export function rowPlan({ sender, place, txn, item }: RowPlanOptions): RowPlan {
  let row: RowItem | undefined;
  return {
    quorum: place.quorum,
    targets: place.primaries,
    deliver: (target) => {
      row ??= item();
      const { ringVersion } = place;
      return sender.send(target, row, { txn, ringVersion, intent: 'write' });
    },
  };
}

/** What a write takes its container for: the row is refused where that was before (container/rules.ts). */
export type Assumed = Pick<Listing, 'mode' | 'policy' | 'from' | 'since'>;

export function assumedOf({ mode, policy, former, since }: ContainerInfo): Assumed {
  return { mode, policy: policy.index, ...(former && { from: former.index }), since };
}

/**
 * What a storage node is told of the listing. The targets are turned by one for each replica, so that
 * nodes without a container replica at their own site try different ones first.
 */
export function listingFor(place: Place, assumed: Assumed, turn: number): Listing {
  const targets = place.primaries.map(({ device, node }) => ({ device, node }));
  const shift = turn % Math.max(1, targets.length);
  return {
    containerHash: place.hash,
    ringVersion: place.ringVersion,
    targets: [...targets.slice(shift), ...targets.slice(0, shift)],
    ...assumed,
  };
}
