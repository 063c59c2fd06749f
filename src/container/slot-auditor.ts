/**
 * What accounts show of containers, and users' accounts of what the users hold of them, against the containers'
 * replicas. A replica tells while it knows that something changed. What was told can outlive that knowledge: it
 * has left the container's ring, or the cluster, before it had caught up with the others; or its database was made
 * anew (of a row that is somebody else's by now, nothing says whose it was). So each replica is asked for what
 * it would tell now, and that becomes its slot; the slots of who is no replica any more are taken back, once R
 * replicas have told.
 */
import { decodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING, userOfAccount } from '#base/names.ts';
import { justAbove, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { RowRecord } from '#device/contract.ts';
import { type ReportedSlot, slotState, slotsOf } from '#rows/row-state.ts';
import type { HoldingAsked, RowTarget } from '#rows/service/calls.ts';
import {
  type Replicas,
  RowContext,
  type RowDevice,
  type RowServiceOptions,
  shortfall,
} from '#rows/service/context.ts';
import { parseHoldings } from '#rows/service/replies.ts';

const TXN = 'container.holdings';
const DEADLINE_MS = 5_000;

/** A row of an account, and what replicas of the container tell of it now. */
interface Audited {
  readonly row: RowRecord;
  /** Of the container. */
  readonly path: string;
  /** Whose account it is; undefined: no user's. */
  readonly owner: string | undefined;
  readonly replicas: Replicas;
  readonly told: Map<number, ReportedSlot>;
}

export class SlotAuditor {
  readonly #options: RowServiceOptions;
  readonly #containers: RowContext;
  /** Slots that were told otherwise, or taken back. */
  corrected = 0;

  constructor(options: RowServiceOptions) {
    this.#options = options;
    this.#containers = new RowContext(options, CONTAINER_RING, 'container');
  }

  /** Of these rows those of accounts. Gives of how many too few replicas have told. */
  async audit(target: RowDevice, rows: readonly RowRecord[]): Promise<number> {
    const all = rows.flatMap((row) => this.#audited(target, row));
    await Promise.all([...byReplica(all)].map(([replica, theirs]) => this.#ask(replica, theirs)));
    for (const audited of all) await this.#correct(target, audited);
    return all.filter((audited) => !isHeard(audited)).length;
  }

  #audited(target: RowDevice, row: RowRecord): Audited[] {
    const { policy, hash } = row.key;
    if (policy !== ACCOUNT_RING || row.name === '') return [];
    if (row.state.data === undefined || row.forgets !== undefined) return [];
    if (!target.device.completeness.isComplete(ACCOUNT_RING, hash)) return [];
    const { hashPrefix, hashSuffix } = this.#options.cluster.current();
    const owner = userOfAccount(row.path.slice(1));
    const path = owner === undefined ? `${row.path}/${row.name}` : `/${row.name}`;
    const replicas = this.#containers.replicas(hashPath(hashPrefix, path, hashSuffix));
    return [{ row, path, owner, replicas, told: new Map() }];
  }

  async #ask(replica: RowTarget, all: readonly Audited[]): Promise<void> {
    const { ringVersion } = all[0]!.replicas;
    const holdings = all.map(
      ({ path, owner, row }): HoldingAsked => ({
        path,
        above: toldAt(row, replica.device),
        ...(owner !== undefined && { owner }),
      }),
    );
    try {
      const args = { ringVersion, holdings };
      const options = { txn: TXN, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
      const result = await this.#containers.call(replica, 'holdings', args, options);
      for (const [i, state] of parseHoldings(result, all.length).entries()) {
        const slots = state === null ? [] : slotsOf(decodeState(state));
        const slot = slots.find(({ device }) => device === replica.device);
        if (slot === undefined) continue;
        this.#options.clock.observe(slot.reported);
        all[i]!.told.set(replica.device, slot);
      }
    } catch (error) {
      const facts = { node: replica.node, device: replica.device, error: codeOf(error) };
      this.#options.env.log.debug('container.holdings-silent', facts);
    }
  }

  /** The row may have changed, or gone, while they were asked. */
  async #correct({ rows }: RowDevice, audited: Audited): Promise<void> {
    const { row, path, owner } = audited;
    const state = rows.read(ACCOUNT_RING, row.key.hash, row.name);
    if (state?.data === undefined) return;
    for (const slot of this.#corrections(slotsOf(state), audited)) {
      await rows.write({ ...row, state: slotState(slot, slot.reported) });
      this.corrected++;
      const { device, objects, bytes } = slot;
      const facts = { path, ...(owner !== undefined && { user: owner }), device, objects, bytes };
      this.#options.env.log.info('container.slot-corrected', facts);
    }
  }

  #corrections(slots: readonly ReportedSlot[], audited: Audited): ReportedSlot[] {
    const told = [...audited.told.values()];
    if ([...slots, ...told].every(({ objects }) => objects === 0)) return [];
    const known = new Map(slots.map((slot) => [slot.device, slot]));
    const others = told.filter((slot) => !isKnown(slot, known.get(slot.device)));
    if (!isHeard(audited)) return others;
    const isMember = (id: number): boolean =>
      audited.replicas.members.some(({ device }) => device === id);
    const former = slots.filter(
      ({ device, newest }) => !isMember(device) && newest > ZERO_TIMESTAMP,
    );
    return [...others, ...former.map((slot) => this.#takenBack(slot))];
  }

  /** Just above what it told: should it be a replica again, it tells later than that. */
  #takenBack({ device, reported }: ReportedSlot): ReportedSlot {
    const timestamp = justAbove(reported, this.#options.clock.workerId);
    return { device, objects: 0, bytes: 0, newest: ZERO_TIMESTAMP, reported: timestamp };
  }
}

function isHeard({ replicas, told }: Audited): boolean {
  return shortfall(replicas, new Set(told.keys())) === 0;
}

/** Or older. Who holds nothing any more is forgotten, with the moment when it ended. */
function isKnown(told: ReportedSlot, known: ReportedSlot | undefined): boolean {
  if (told.objects === 0 && (known?.objects ?? 0) === 0) return true;
  if (known === undefined) return false;
  if (known.reported >= told.reported) return true;
  return (['objects', 'bytes', 'newest'] as const).every((name) => told[name] === known[name]);
}

function toldAt({ state }: RowRecord, device: number): Timestamp {
  return slotsOf(state).find((slot) => slot.device === device)?.reported ?? ZERO_TIMESTAMP;
}

function byReplica(all: readonly Audited[]): Map<RowTarget, Audited[]> {
  const found = new Map<number, [RowTarget, Audited[]]>();
  for (const audited of all) {
    for (const member of audited.replicas.members) {
      const known = found.get(member.device);
      if (known === undefined) found.set(member.device, [member, [audited]]);
      else known[1].push(audited);
    }
  }
  return new Map(found.values());
}
