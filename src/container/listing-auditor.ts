/**
 * Rows against their objects. Two things can be wrong with a row that is older than any write that may
 * still be under way:
 *
 * - it lists an object that is gone. It is set to `gone` at its own timestamps, so that a later write of the
 *   name wins, whoever learns of it when. _Every_ device of the object's ring must have answered that it knows no live
 *   version, R of the primaries as complete replicas. That is more than the rule asks (consistency.md, Repair): an
 *   undecided write may be on one primary or on a stand-in only, and come back from there; its row must not
 *   have been hidden for good.
 * - it tells of a write that nobody knows (its device was lost before another one had it), and so hides what
 *   is there, or shows what is not. What the object is, is written anew above the row (`reassert`, a
 *   proxy's rounds). README.md has the interleavings.
 */
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import { microsOf, type Timestamp } from '#base/timestamp.ts';
import type { RowPage, RowPlace, RowRecord } from '#device/contract.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import { rowTimestamp, settingsOf } from '#rows/row-state.ts';
import { type RowDevice, type RowServiceOptions, readQuorum } from '#rows/service/context.ts';
import { isUsable } from '#rows/service/keeper.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { Pacer } from '#worker/pacer.ts';
import { claimOf, isAlive, isKnown, isLive } from './row-claim.ts';
import { SlotAuditor } from './slot-auditor.ts';

const NOTE = 'container.listings';
const PAGE = 100;
/** Far above any write deadline. */
const SETTLED_MICROS = 600_000_000;
const DEADLINE_MS = 5_000;

/** A row and where its object should be. */
interface Checked {
  readonly row: RowRecord;
  readonly ring: Ring;
  readonly hash: Buffer;
  /** Stand-ins acknowledge nothing that the primaries must not forget. */
  readonly isStrict: boolean;
}

/** `object.versions`: in the order of the hashes; '': nothing is known. */
interface VersionsReply {
  readonly versions: readonly string[];
  readonly complete: readonly boolean[];
}

export interface ListingAuditorOptions extends RowServiceOptions {
  /**
   * Has an object written anew as it is, above this timestamp. False: its container is gone. Absent: there is
   * no proxy to do it.
   */
  readonly reassert?: (path: string, above: Timestamp) => Promise<boolean>;
}

export class RowListingAuditor implements Job {
  readonly name = 'container.listings';
  readonly pacer: Pacer;
  readonly #options: ListingAuditorOptions;
  readonly #slots: SlotAuditor;
  #checked = 0;
  #gone = 0;
  /** Objects that were written anew above a row of which nobody knows the write. */
  #reasserted = 0;
  /** Rows that may be wrong, and not every device could be asked, or nothing be done. */
  #doubtful = 0;
  /** Devices that have come to such a row in their round. */
  readonly #doubts = new Set<number>();

  constructor(options: ListingAuditorOptions) {
    this.#options = options;
    this.#slots = new SlotAuditor(options);
    this.pacer = new Pacer(options.env.clock, { itemsPerStep: PAGE });
  }

  facts(): Record<string, number> {
    const counts = { checked: this.#checked, gone: this.#gone, reasserted: this.#reasserted };
    return { ...counts, doubtful: this.#doubtful, slots: this.#slots.corrected };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const targets = [...this.#options.devices().values()].filter(isUsable);
    for (const target of targets) {
      const { id } = target.device;
      if (signal.aborted || !isUsable(target) || !this.pacer.isDue(id)) continue;
      const before = this.#doubtful;
      const isDone = await this.#step(target);
      if (this.#doubtful > before) this.#doubts.add(id);
      this.pacer.stepped(id, target.rows.rowCount, isDone, this.#doubts.has(id));
      if (isDone) this.#doubts.delete(id);
    }
    return this.pacer.result(targets.map(({ device }) => device.id));
  }

  /** True: the cycle is over. */
  async #step(target: RowDevice): Promise<boolean> {
    const { audit } = target.device;
    const note = this.pacer.restarts(target.device.id) ? '' : audit.note(NOTE);
    const { rows, next } = pageOf(target, placeOf(note));
    const checked = rows.flatMap((row) => this.#wanted(target, row));
    this.#checked += checked.length;
    for (const one of await this.#suspicious(checked)) await this.#judge(target, one);
    this.#doubtful += await this.#slots.audit(target, rows);
    audit.setNote(NOTE, next === undefined ? '' : JSON.stringify(next));
    return next === undefined;
  }

  /** Rows of containers that this device knows all of, old enough to be decided. */
  #wanted(target: RowDevice, row: RowRecord): Checked[] {
    const { policy: ringNumber, hash: containerHash } = row.key;
    if (ringNumber !== CONTAINER_RING || row.name === '' || row.state.data === undefined) return [];
    if (!target.device.completeness.isComplete(CONTAINER_RING, containerHash)) return [];
    const ageMicros = this.#options.env.clock.wallMicros() - microsOf(rowTimestamp(row.state));
    if (ageMicros < SETTLED_MICROS) return [];
    const own = target.rows.read(CONTAINER_RING, containerHash, '');
    const settings = settingsOf(own);
    // On its way to another policy an object is in both, or in either.
    if (settings?.from !== undefined) return [];
    const policy = settings?.policy;
    const view = this.#options.cluster.current();
    const ring = policy === undefined ? undefined : view.rings.get(policy);
    if (ring === undefined) return [];
    const hash = hashPath(view.hashPrefix, `${row.path}/${row.name}`, view.hashSuffix);
    return [{ row, ring, hash, isStrict: settings?.mode === 'strict' }];
  }

  /** Those of which the first primary that answers does not confirm what they say. */
  async #suspicious(checked: readonly Checked[]): Promise<Checked[]> {
    const found: Checked[] = [];
    let open: readonly Checked[] = checked;
    for (let turn = 0; open.length > 0; turn++) {
      const silent: Checked[] = [];
      for (const [device, list] of byDevice(open, turn)) {
        const reply = device && (await this.#versions(device, list[0]!.ring.policy, list));
        if (device === undefined) this.#doubtful += list.length;
        else if (reply === undefined) silent.push(...list);
        else found.push(...list.filter(({ row }, i) => isSuspicious(row, reply.versions[i]!)));
      }
      open = silent;
    }
    return found;
  }

  async #judge(target: RowDevice, checked: Checked): Promise<void> {
    const { row, ring, isStrict } = checked;
    const devices = ring.devices.filter((device) => device !== undefined);
    const replies = await Promise.all(
      devices.map((device) => this.#versions(device, ring.policy, [checked])),
    );
    const versions = replies.map((reply) => reply?.versions[0] ?? '');
    const isThere = versions.some(isAlive);
    const claim = claimOf(row.state);
    // Where nothing is alive, a row that lists nothing is right.
    const isRight = isThere ? versions.some((one) => isKnown(claim, one)) : !isListed(row);
    if (isRight) return;
    const completeIds = devices.filter((_, i) => replies[i]?.complete[0]).map(({ id }) => id);
    // What a strict container has acknowledged its primaries know, and the rounds ask them once more. Else
    // stand-ins may have acknowledged what no primary has: all must have come home.
    const isAll = replies.every((reply) => reply !== undefined);
    const isHeard = isThere ? isStrict || (isAll && isHome(checked, devices, versions)) : isAll;
    if (!isHeard || !isQuorum(checked, new Set(completeIds))) this.#doubtful++;
    else if (isThere) await this.#reassert(row);
    else await this.#setGone(target, row);
  }

  async #reassert({ path, name, state }: RowRecord): Promise<void> {
    const { reassert, env } = this.#options;
    const facts = { path, name, row: rowTimestamp(state) };
    try {
      if (!(await reassert?.(`${path}/${name}`, rowTimestamp(state)))) {
        this.#doubtful++;
        return;
      }
      this.#reasserted++;
      env.log.warn('container.row-overwritten', facts);
    } catch (error) {
      this.#doubtful++;
      env.log.info('container.row-stays', { ...facts, error: codeOf(error) });
    }
  }

  async #setGone(target: RowDevice, row: RowRecord): Promise<void> {
    const { data } = row.state;
    const state = { data: { ...data!, kind: 'gone' as const }, groups: {} };
    await target.rows.write({ ...row, state });
    this.#gone++;
    const facts = { path: row.path, name: row.name, device: target.device.id };
    this.#options.env.log.warn('container.row-gone', facts);
  }

  async #versions(
    { id, node }: RingDevice,
    policy: PolicyIndex,
    list: readonly Pick<Checked, 'hash'>[],
  ): Promise<VersionsReply | undefined> {
    const args = { device: id, policy, hashes: list.map(({ hash }) => hash) };
    const options = { txn: NOTE, deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    try {
      const { result } = await this.#options.wire.call(node, 'object.versions', args, options);
      const reply = result as VersionsReply;
      const isWhole =
        reply.versions?.length === list.length && reply.complete?.length === list.length;
      return isWhole ? reply : undefined;
    } catch (error) {
      this.#options.env.log.debug('container.listings-silent', { node, error: codeOf(error) });
      return undefined;
    }
  }
}

/** Of as many containers as it takes: the pace is reckoned in rows, and most containers have few. */
function pageOf({ rows: store }: RowDevice, place: RowPlace | undefined): RowPage {
  const rows: RowRecord[] = [];
  let next = place;
  for (let looks = 0; looks < PAGE && rows.length < PAGE; looks++) {
    const page = store.rowsAfter(next, PAGE - rows.length);
    rows.push(...page.rows);
    next = page.next;
    if (next === undefined) break;
  }
  return { rows, next };
}

/** By policy and by primary of their objects, the first at turn 0; undefined: they have no more. */
function byDevice(
  checked: readonly Checked[],
  turn: number,
): (readonly [RingDevice | undefined, Checked[]])[] {
  const found = new Map<string, readonly [RingDevice | undefined, Checked[]]>();
  for (const one of checked) {
    const { ring, hash } = one;
    const device = ring.placement(ring.partitionOf(hash)).primaries[turn];
    const key = `${ring.policy}/${device?.id}`;
    const list = found.get(key)?.[1] ?? [];
    found.set(key, [device, [...list, one]]);
  }
  return [...found.values()];
}

/** It lists something, as far as its kind says. */
function isListed({ state }: RowRecord): boolean {
  return state.data?.kind === 'live';
}

/** `version`: as one of the object's primaries has it. */
function isSuspicious(row: RowRecord, version: string): boolean {
  const isConfirmed = isKnown(claimOf(row.state), version);
  return isListed(row) ? !isConfirmed || !isLive(version) : !isConfirmed && isLive(version);
}

/** All primaries know the same, and nobody else anything. */
function isHome(
  { ring, hash }: Checked,
  devices: readonly RingDevice[],
  versions: readonly string[],
): boolean {
  const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
  const ids = new Set([...primaries, ...former].map(({ id }) => id));
  const told = (isPrimary: boolean): Set<string> =>
    new Set(versions.filter((_, i) => ids.has(devices[i]!.id) === isPrimary));
  return told(true).size === 1 && [...told(false)].every((version) => version === '');
}

/** R primaries, of both sets while the ring changes. */
function isQuorum({ ring, hash }: Checked, complete: ReadonlySet<number>): boolean {
  const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
  return [primaries, former].every((set) => {
    const count = set.filter(({ id }) => complete.has(id)).length;
    return count >= (set.length && readQuorum(set.length));
  });
}

function placeOf(note: string): RowPlace | undefined {
  return note === '' ? undefined : (JSON.parse(note) as RowPlace);
}
