/**
 * Brings the row of an entry to its container replicas without a client waiting: for entries that
 * stayed unlisted, and for expired ones. Unlike the write path it asks for a majority before it
 * clears the mark: there is time, and one replica's word would be lost with that replica.
 * A removed device lists nothing any more: its rows might be of what was deleted since.
 */
import { newestTimestamp } from '#base/entry.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { isMember } from '#ring/ring-check.ts';
import { isHeld, rowItem } from './lister.ts';
import { splitPath } from './object-path.ts';
import type { RowSender } from './row-sender.ts';
import { containerPlace } from './targets.ts';

export type Relisted = 'listed' | 'elsewhere' | 'failed';

export class Relister {
  readonly #sender: RowSender;
  readonly #cluster: ClusterSource;

  constructor(sender: RowSender, cluster: ClusterSource) {
    this.#sender = sender;
    this.#cluster = cluster;
  }

  /**
   * `listed`: a majority holds the row, and the entry is not unlisted any more. `elsewhere`: a majority
   * says that the container's objects are in another policy than this entry.
   */
  async relist(device: Device, entry: Entry, txn: string): Promise<Relisted> {
    const view = this.#cluster.current();
    if (!isMember(view, device.id)) return 'failed';
    const name = splitPath(entry.path);
    const path = name && `/${name.account}/${name.container}`;
    const place = path === undefined ? undefined : containerPlace(view, path);
    const row =
      place &&
      rowItem(entry.path, entry.state, { containerHash: place.hash, keptIn: entry.key.policy });
    if (place === undefined || row === undefined) return 'failed';
    const { ringVersion } = place;
    const options = { txn, ringVersion, intent: 'repair' as const, from: device.id };
    const held = new Set<number>();
    const refused = new Set<number>();
    await Promise.all(
      place.targets.map(async (target) => {
        const delivery = await this.#sender.send(target, row, options).catch(() => undefined);
        if (delivery === undefined) return;
        if (isHeld(delivery.outcome)) held.add(target.device);
        // Settings of long ago, where the replica has not learnt the newest: the object would be retired for them.
        if (delivery.complete && delivery.outcome === 'container-mismatch')
          refused.add(target.device);
      }),
    );
    if (place.sets.every((set) => isMajority(set, refused))) return 'elsewhere';
    if (!place.sets.every((set) => isMajority(set, held))) return 'failed';
    device.markListed(entry.key, newestTimestamp(entry.state));
    return 'listed';
  }
}

function isMajority(set: readonly number[], held: ReadonlySet<number>): boolean {
  return set.filter((device) => held.has(device)).length > set.length / 2;
}
