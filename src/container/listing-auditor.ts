/**
 * Rows against their objects: a listing that shows an object which is gone is mended by setting the row to
 * `gone` at the row's own timestamps, so that a later write of the name wins, whoever learns of it when.
 *
 * Safe by default: the row is older than any write that may still be under way, and _every_ device of the
 * object's ring has answered that it knows no live version, R of the primaries as complete replicas.
 * That is more than the rule asks (consistency.md, Repair): an undecided write may be on one primary or
 * on a stand-in only, and come back from there; its row must not have been hidden for good.
 */
import { codeOf } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import { microsOf } from '#base/timestamp.ts';
import type { RowPlace, RowRecord } from '#device/contract.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import { settingsOf } from '#rows/row-state.ts';
import { type RowDevice, type RowServiceOptions, readQuorum } from '#rows/service/context.ts';
import { isUsable } from '#rows/service/keeper.ts';
import type { Job, StepResult } from '#worker/job.ts';
import { Pacer } from '#worker/pacer.ts';

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
}

/** `object.versions`: in the order of the hashes; '': nothing is known. */
interface VersionsReply {
  readonly versions: readonly string[];
  readonly complete: readonly boolean[];
}

export class RowListingAuditor implements Job {
  readonly name = 'container.listings';
  readonly pacer: Pacer;
  readonly #options: RowServiceOptions;
  #checked = 0;
  #gone = 0;
  /** Rows of which no object was found, and not every device could be asked. */
  #doubtful = 0;

  constructor(options: RowServiceOptions) {
    this.#options = options;
    this.pacer = new Pacer(options.env.clock, { itemsPerStep: PAGE });
  }

  facts(): Record<string, number> {
    return { checked: this.#checked, gone: this.#gone, doubtful: this.#doubtful };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    const targets = this.#options.devices();
    for (const target of targets.values()) {
      const { id } = target.device;
      if (signal.aborted || !isUsable(target) || !this.pacer.isDue(id)) continue;
      const isDone = await this.#step(target);
      this.pacer.stepped(id, target.rows.rowCount, isDone);
    }
    return this.pacer.result([...targets.keys()]);
  }

  /** True: the cycle is over. */
  async #step(target: RowDevice): Promise<boolean> {
    const { audit } = target.device;
    const { rows, next } = target.rows.rowsAfter(placeOf(audit.note(NOTE)), PAGE);
    const checked = rows.flatMap((row) => this.#wanted(target, row));
    this.#checked += checked.length;
    for (const one of await this.#suspicious(checked)) await this.#judge(target, one);
    audit.setNote(NOTE, next === undefined ? '' : JSON.stringify(next));
    return next === undefined;
  }

  /** Live rows of containers that this device knows all of, old enough to be decided. */
  #wanted(target: RowDevice, row: RowRecord): Checked[] {
    const { data } = row.state;
    const { policy: ringNumber, hash: containerHash } = row.key;
    if (ringNumber !== CONTAINER_RING || row.name === '' || data?.kind !== 'live') return [];
    if (!target.device.completeness.isComplete(CONTAINER_RING, containerHash)) return [];
    if (this.#options.env.clock.wallMicros() - microsOf(data.timestamp) < SETTLED_MICROS) return [];
    const own = target.rows.read(CONTAINER_RING, containerHash, '');
    const settings = settingsOf(own);
    // On its way to another policy an object is in both, or in either.
    if (settings?.from !== undefined) return [];
    const policy = settings?.policy;
    const view = this.#options.cluster.current();
    const ring = policy === undefined ? undefined : view.rings.get(policy);
    if (ring === undefined) return [];
    const hash = hashPath(view.hashPrefix, `${row.path}/${row.name}`, view.hashSuffix);
    return [{ row, ring, hash }];
  }

  /** Those whose first primary does not confirm that it has the object. */
  async #suspicious(checked: readonly Checked[]): Promise<Checked[]> {
    const byDevice = new Map<RingDevice, Checked[]>();
    for (const one of checked) {
      const [first] = one.ring.placement(one.ring.partitionOf(one.hash)).primaries;
      if (first === undefined) continue;
      const list = byDevice.get(first);
      if (list === undefined) byDevice.set(first, [one]);
      else list.push(one);
    }
    const found: Checked[] = [];
    for (const [device, theirs] of byDevice) {
      for (const [policy, list] of byPolicy(theirs)) {
        const reply = await this.#versions(device, policy, list);
        const isLost = (_: Checked, i: number): boolean => !isLive(reply?.versions[i]);
        found.push(...list.filter(isLost));
      }
    }
    return found;
  }

  async #judge(target: RowDevice, { row, ring, hash }: Checked): Promise<void> {
    const devices = ring.devices.filter((device) => device !== undefined);
    const replies = await Promise.all(
      devices.map((device) => this.#versions(device, ring.policy, [{ row, ring, hash }])),
    );
    if (replies.some((reply) => isAlive(reply?.versions[0]))) return;
    const { primaries, former = [] } = ring.placement(ring.partitionOf(hash));
    const completeOf = (set: readonly RingDevice[]): number =>
      set.filter(({ id }) => replies[devices.findIndex((one) => one.id === id)]?.complete[0])
        .length;
    const isCertain =
      replies.every((reply) => reply !== undefined) &&
      [primaries, former].every((set) => completeOf(set) >= (set.length && readQuorum(set.length)));
    if (!isCertain) {
      this.#doubtful++;
      return;
    }
    await this.#setGone(target, row);
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
    list: readonly Checked[],
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

function byPolicy(list: readonly Checked[]): Map<PolicyIndex, Checked[]> {
  const found = new Map<PolicyIndex, Checked[]>();
  for (const one of list) {
    const { policy } = one.ring;
    found.set(policy, [...(found.get(policy) ?? []), one]);
  }
  return found;
}

/** As src/object/version.ts writes it: a timestamp of 20 digits, then the kind. */
function isLive(version: string | undefined): boolean {
  return version?.startsWith('live', 20) === true;
}

/** One that expired may live again by a POST; its row says itself until when it is listed. */
function isAlive(version: string | undefined): boolean {
  return isLive(version) || version?.startsWith('expired', 20) === true;
}

function placeOf(note: string): RowPlace | undefined {
  return note === '' ? undefined : (JSON.parse(note) as RowPlace);
}
