/**
 * Lists one committed entry: the container replica of this node's own site first, then the others in
 * turn until one has the row. With replicas at three sites the three object replicas so reach three
 * container replicas without a second round trip over the WAN; what is left over the proxy sends.
 */

import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import type { RowItem, RowOutcome } from '#container/calls.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { rowStateOf } from '#rows/row-state.ts';
import type { Listing, Target } from './calls.ts';
import { splitPath } from './object-path.ts';
import type { RowSender } from './row-sender.ts';

export interface Listed {
  /** Complete replicas that hold the row now. */
  readonly listedOn: readonly number[];
  /** Some replica holds the row durably (it need not be complete): the entry is not unlisted. */
  readonly held: boolean;
  readonly refused?: RowOutcome;
}

const NOT_LISTED: Listed = { listedOn: [], held: false };

export class Lister {
  readonly #sender: RowSender;
  readonly #cluster: ClusterSource;
  readonly #site: string;

  constructor(sender: RowSender, cluster: ClusterSource, site: string) {
    this.#sender = sender;
    this.#cluster = cluster;
    this.#site = site;
  }

  /** Never throws: a row that could not be delivered stays unlisted. */
  async list(path: string, state: EntryState, listing: Listing, txn: string): Promise<Listed> {
    const row = rowItem(path, state, listing);
    if (row === undefined) return NOT_LISTED;
    let refused: RowOutcome | undefined;
    for (const target of this.#order(listing.targets)) {
      const options = { txn, ringVersion: listing.ringVersion, intent: 'write' as const };
      const delivery = await this.#sender.send(target, row, options).catch(() => undefined);
      if (delivery === undefined) continue;
      if (isHeld(delivery.outcome)) {
        const listedOn = delivery.complete ? [target.device] : [];
        return { listedOn, held: true, ...(refused && { refused }) };
      }
      if (isRefusal(delivery.outcome)) refused = delivery.outcome;
    }
    return refused === undefined ? NOT_LISTED : { ...NOT_LISTED, refused };
  }

  /** Own site first; else in the order given, which the proxy turns for each replica. */
  #order(targets: readonly Target[]): Target[] {
    const { nodes } = this.#cluster.current();
    const near = (target: Target): boolean => nodes.get(target.node)?.site === this.#site;
    return [...targets.filter(near), ...targets.filter((target) => !near(target))];
  }
}

/** The container says no; anything else that is not held may be tried again. */
export function isRefusal(outcome: RowOutcome): boolean {
  return outcome === 'no-container' || outcome === 'sealed' || outcome === 'container-mismatch';
}

/** `superseded`: a newer row of a concurrent write is there, which listings show. */
export function isHeld(outcome: RowOutcome): boolean {
  return outcome === 'stored' || outcome === 'superseded';
}

export function rowItem(
  path: string,
  state: EntryState,
  listing: Pick<Listing, 'containerHash'> & Omit<RowItem, 'hash' | 'path' | 'name' | 'state'>,
): RowItem | undefined {
  const name = splitPath(path);
  if (name === undefined) return undefined;
  return {
    hash: listing.containerHash,
    path: `/${name.account}/${name.container}`,
    name: name.object,
    state: encodeState(rowStateOf(state)),
    ...(listing.policy !== undefined && { policy: listing.policy }),
    ...(listing.mode !== undefined && { mode: listing.mode }),
    ...(listing.from != null && { from: listing.from }),
    ...(listing.since != null && { since: listing.since }),
    ...(listing.keptIn !== undefined && { keptIn: listing.keptIn }),
  };
}
