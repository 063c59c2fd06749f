/**
 * The row of a container in its account: what is known of the container here, with this replica's
 * totals in this replica's slot.
 */
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import { accountPath, CONTAINER_RING, userAccount } from '#base/names.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { ContainerFacts } from '#rows/answers.ts';
import type { Holding } from '#rows/holders.ts';
import { containerRowOf } from '#rows/row-state.ts';
import type { OwnListing, RowItem, RowsArgs, RowTarget } from '#rows/service/calls.ts';
import type { RowDevice, RowServiceOptions } from '#rows/service/context.ts';
import { parseOutcomes } from '#rows/service/replies.ts';

const CALL_DEADLINE_MS = 2000;
const NOTHING: EntryState = { groups: {} };

/** `/account/container`, taken apart; undefined for what is no container's path. */
export function splitContainerPath(
  path: string,
): { account: string; container: string } | undefined {
  const slash = path.indexOf('/', 1);
  if (slash < 2 || slash === path.length - 1) return undefined;
  return { account: path.slice(0, slash), container: path.slice(slash + 1) };
}

export function accountRow(
  { device, rows }: RowDevice,
  facts: ContainerFacts,
  account: { readonly hash: Buffer; readonly path: string },
  name: string,
  clock: HybridClock,
): RowItem {
  const own = rows.read(CONTAINER_RING, facts.hash, '') ?? NOTHING;
  const { totals, newest } = facts;
  const slot = { device: device.id, objects: totals.rows, bytes: totals.bytes, newest };
  // Above the creation (or deletion): a slot older than the data part would not count.
  const timestamp = clock.above(own.data?.timestamp ?? ZERO_TIMESTAMP);
  const state = encodeState(containerRowOf(own, slot, timestamp));
  return { hash: account.hash, path: account.path, name, state };
}

/**
 * The same for what a user holds of the container, in the user's own account. The row says that the
 * container is deleted, whatever it is: so it is listed, and counts, just while the shown slot holds something.
 */
export function userRow(
  { device, rows }: RowDevice,
  facts: ContainerFacts,
  { owner, ...held }: Holding,
  { hashPrefix, hashSuffix }: Pick<ClusterView, 'hashPrefix' | 'hashSuffix'>,
  clock: HybridClock,
): RowItem | undefined {
  const data = rows.read(CONTAINER_RING, facts.hash, '')?.data;
  if (data === undefined) return undefined;
  const path = accountPath(userAccount(owner));
  const slot = { device: device.id, objects: held.rows, bytes: held.bytes, newest: held.newest };
  const own: EntryState = { data: { ...data, kind: 'deleted' }, groups: {} };
  const state = encodeState(containerRowOf(own, slot, clock.above(data.timestamp)));
  return { hash: hashPath(hashPrefix, path, hashSuffix), path, name: facts.path.slice(1), state };
}

/**
 * Lists a container after its state was committed here, as an object is listed: at the account
 * replica of this site first, then at the others in turn until one has it. What fails stays
 * unreported, and the reporter sends it again.
 */
export class AccountLister {
  readonly #options: RowServiceOptions;

  constructor(options: RowServiceOptions) {
    this.#options = options;
  }

  /** The complete account device that has it, if any. Never throws. */
  async list(
    target: RowDevice,
    hash: Buffer,
    listing: OwnListing | undefined,
    txn: string,
  ): Promise<number[]> {
    const facts = target.rows.facts(CONTAINER_RING, hash);
    const name = facts && splitContainerPath(facts.path);
    if (listing === undefined || facts === undefined || name === undefined) return [];
    if (name.account !== listing.accountPath) return [];
    const account = { hash: listing.accountHash, path: listing.accountPath };
    const row = accountRow(target, facts, account, name.container, this.#options.clock);
    for (const replica of this.#nearestFirst(listing.targets)) {
      const complete = await this.#send(replica, row, listing.ringVersion, txn);
      if (complete !== undefined) return complete ? [replica.device] : [];
    }
    return [];
  }

  /** Whether the replica that has it now is complete; undefined: it has it not. */
  async #send(
    replica: RowTarget,
    row: RowItem,
    ringVersion: number,
    txn: string,
  ): Promise<boolean | undefined> {
    const { device, node } = replica;
    const args: RowsArgs = { device, ringVersion, rows: [row], intent: 'write' };
    const options = { txn, deadlineMs: CALL_DEADLINE_MS };
    try {
      const { result } = await this.#options.wire.call(node, 'account.rows', args, options);
      const { outcomes, complete } = parseOutcomes(result, 1);
      return outcomes[0] === 'stored' || outcomes[0] === 'superseded' ? complete : undefined;
    } catch (error) {
      this.#options.env.log.debug('container.unlisted', { txn, path: row.path, node, error });
      return undefined;
    }
  }

  #nearestFirst(targets: readonly RowTarget[]): RowTarget[] {
    const { cluster, self } = this.#options;
    const { nodes } = cluster.current();
    const isNear = ({ node }: RowTarget): boolean => nodes.get(node)?.site === self.site;
    return [...targets.filter(isNear), ...targets.filter((target) => !isNear(target))];
  }
}
