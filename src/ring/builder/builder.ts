/**
 * A ring's builder: its devices, its placement, and the way back. Changes come as plans: a plan is
 * made from a state, shows what it would do, and applies to that state only.
 */
import { OperatingError } from '#base/errors.ts';
import { describedDevices, parseDescription } from '../description.ts';
import type { RingDevice } from '../fields.ts';
import { Ring } from '../ring.ts';
import { decodeBuilderFile, encodeBuilderFile } from './builder-file.ts';
import { type Change, changed } from './change.ts';
import { formerMap, formerTable } from './former.ts';
import { type Quality, qualityOf } from './quality.ts';
import { rebalanced, sameRow } from './rebalance.ts';
import { settingsOf } from './ring-names.ts';
import { type Acceptance, type Risk, refusal, risksOf } from './risk.ts';
import { type BuilderState, emptyState, idsOf, type RingSettings, withRetired } from './state.ts';

/** How many changes can be undone. */
export const MAX_HISTORY = 8;

export interface PlanOptions {
  /** The same state, change, seed and hour give the same ring. */
  readonly seed: number;
  /** Hours since 1970. */
  readonly nowHours: number;
}

export interface Plan {
  readonly change: Change;
  readonly options: PlanOptions;
  readonly before: BuilderState;
  readonly after: BuilderState;
  readonly quality: { readonly before: Quality; readonly after: Quality };
  /** Reasons not to do it; empty: safe. */
  readonly risks: readonly Risk[];
}

export class RingBuilder {
  #state: BuilderState;
  /** Oldest first. */
  readonly #history: BuilderState[];

  constructor(state: BuilderState, history: readonly BuilderState[] = []) {
    this.#state = state;
    this.#history = history.slice(-MAX_HISTORY);
  }

  static create(settings: RingSettings): RingBuilder {
    return new RingBuilder(emptyState(settings));
  }

  /** A builder with the devices of a description (a parsed YAML object), not yet balanced. */
  static fromDescription(value: unknown, ring?: string): RingBuilder {
    const description = parseDescription(value);
    const settings = settingsOf(description, ring);
    return new RingBuilder(changed(emptyState(settings), { add: describedDevices(description) }));
  }

  /**
   * A builder that goes on from a published ring, where its own file is older or lost. What a ring does
   * not say comes from `settings`; every partition counts as moved in this hour, so that none moves soon.
   * `removed`: devices that only former sets still name.
   */
  static fromRing(
    ring: Ring,
    { overload, minPartHours }: Pick<RingSettings, 'overload' | 'minPartHours'>,
    { nowHours, removed }: { readonly nowHours: number; readonly removed: ReadonlySet<number> },
  ): RingBuilder {
    const { policy, version, partPower, copies, devices, columns, former } = ring.fields();
    const gone = devices.filter((device) => device !== undefined && removed.has(device.id));
    return new RingBuilder({
      settings: { policy, partPower, replicas: ring.replicas, copies, overload, minPartHours },
      version,
      nextDevice: devices.length,
      devices: devices.map((device) => (device && removed.has(device.id) ? undefined : device)),
      columns,
      movedAt: new Uint32Array(ring.partitions).fill(nowHours),
      former: formerMap(former),
      retired: new Map((gone as RingDevice[]).map((device) => [device.id, device])),
    });
  }

  /** @throws OperatingError `malformed`, `newer-format`, `checksum` */
  static decode(bytes: Uint8Array): RingBuilder {
    const [state, ...history] = decodeBuilderFile(bytes);
    return new RingBuilder(state!, history.reverse());
  }

  /** The current state and those that `undo` goes back to. */
  encode(): Buffer {
    return encodeBuilderFile([this.#state, ...this.#history.toReversed()]);
  }

  get state(): BuilderState {
    return this.#state;
  }

  get undoable(): number {
    return this.#history.length;
  }

  quality(): Quality {
    return qualityOf(this.#state);
  }

  plan(change: Change, options: PlanOptions): Plan {
    const before = this.#state;
    const start = changed(before, change);
    // A raised part power alone must change no set: it is published without a rebalance.
    const after = isOnlyPartPower(change)
      ? { ...start, version: start.version + 1 }
      : rebalanced(start, options);
    return {
      change,
      options,
      before,
      after: withRetired(after, before),
      quality: { before: qualityOf(before), after: qualityOf(after) },
      risks: risksOf(changed(before, partPowerOf(change)), after, options.nowHours),
    };
  }

  /** @throws OperatingError `stale-plan`, and `ring-at-risk` unless accepted */
  apply(plan: Plan, accepted: Acceptance = {}): void {
    if (plan.before !== this.#state) {
      throw new OperatingError('stale-plan', 'the ring has changed since the plan was made');
    }
    const why = refusal([plan], accepted);
    if (why !== undefined) throw new OperatingError('ring-at-risk', why, { risks: plan.risks });
    this.#remember(plan.after);
  }

  /** A plan without a change: goes on where min_part_hours stopped the last one. */
  rebalance(options: PlanOptions & { readonly force?: boolean }): Plan {
    const plan = this.plan({}, options);
    this.apply(plan, options);
    return plan;
  }

  #remember(next: BuilderState): void {
    if (this.#state.columns.length > 0) this.#history.push(this.#state);
    if (this.#history.length > MAX_HISTORY) this.#history.shift();
    this.#state = next;
  }

  /** Ends the joint phase of these partitions (all when absent): the new sets alone count. */
  settle(partitions?: Iterable<number>): void {
    const former = new Map(this.#state.former);
    if (partitions === undefined) former.clear();
    else for (const partition of partitions) former.delete(partition);
    const version = this.#state.version + 1;
    this.#state = withRetired({ ...this.#state, former, version }, this.#state);
  }

  /**
   * Goes back to before the last change. Joint partitions get their old set alone, safe at once; a
   * partition that has settled since moves back as a new joint change.
   * @throws OperatingError `nothing-to-undo`, `cannot-undo`
   */
  undo({ nowHours }: { readonly nowHours: number }): void {
    const target = this.#history.at(-1);
    if (target === undefined)
      throw new OperatingError('nothing-to-undo', 'there is no change to undo');
    const now = this.#state;
    if (target.settings.partPower !== now.settings.partPower) {
      throw new OperatingError('cannot-undo', 'the part power was raised; it cannot be lowered');
    }
    this.#history.pop();
    this.#state = undone(now, target, nowHours);
  }

  toRing(): Ring {
    const { settings, version, devices, columns, former, retired } = this.#state;
    if (columns.length === 0)
      throw new OperatingError('not-balanced', 'the ring was never balanced');
    const { policy, partPower } = settings;
    const copies = Math.min(settings.copies, columns.length);
    const known: (RingDevice | undefined)[] = devices.slice();
    for (const [id, device] of retired) {
      while (known.length <= id) known.push(undefined);
      known[id] = device;
    }
    const table = formerTable(former);
    return new Ring({ policy, version, partPower, copies, devices: known, columns, former: table });
  }
}

function isOnlyPartPower({ add, update, remove, settings = {} }: Change): boolean {
  const untouched = [add, update, remove].every((list) => list === undefined || list.length === 0);
  const names = Object.entries(settings).filter(([, value]) => value !== undefined);
  return untouched && names.length === 1 && names[0]![0] === 'partPower';
}

/** A raised part power renumbers partitions: compare with the renumbered state. */
function partPowerOf({ settings }: Change): Change {
  return settings?.partPower === undefined ? {} : { settings: { partPower: settings.partPower } };
}

/**
 * What knows everything now is the former set of a joint partition, the only set of a settled one. If
 * that is where undo goes, it counts alone at once; anything else is a joint change from there.
 */
function undone(now: BuilderState, target: BuilderState, nowHours: number): BuilderState {
  const former = new Map(now.former);
  const movedAt = now.movedAt.slice();
  const version = now.version + 1;
  for (let partition = 0; partition < movedAt.length; partition++) {
    if (sameRow(now.columns, target.columns, partition)) continue;
    const joint = now.former.get(partition);
    const ids = joint?.ids ?? idsOf(now.columns, partition);
    if (sameIds(ids, idsOf(target.columns, partition))) former.delete(partition);
    else former.set(partition, { ids, since: version });
    movedAt[partition] = joint === undefined ? nowHours : target.movedAt[partition]!;
  }
  const { nextDevice } = now;
  return withRetired({ ...target, version, nextDevice, former, movedAt }, now);
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
