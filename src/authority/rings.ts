/**
 * Changes of the rings: planned, applied as a joint version, settled as their new members become
 * complete, taken back, or done step by step.
 *
 * One change at a time: the next waits until the last is settled and in force everywhere, unless forced
 * (the rules of joint sets hold then too; consistency.md, "Ring change").
 */
import { OperatingError } from '#base/errors.ts';
import type { Clock } from '#env/env.ts';
import type { DeviceUpdate, NewDevice } from '#ring/builder/change.ts';
import { type ChangeRequest, readRequest } from '#ring/builder/change-request.ts';
import { type PlanContent, planContent, remakePlan } from '#ring/builder/plan-format.ts';
import { type LinkRate, namedBytes, type PlanView, viewPlan } from '#ring/builder/plan-view.ts';
import type { RingSet, SetChange, SetPlan } from '#ring/builder/ring-set.ts';
import type { Acceptance } from '#ring/builder/risk.ts';
import type { ClusterDescription } from '#ring/description.ts';
import type { Document } from './document.ts';
import { checkCreated } from './document-fit.ts';
import type { HeadRecord } from './records.ts';
import type { Reports } from './reports.ts';
import type { AuthorityStore, Changes, Snapshot } from './store.ts';

export type Wish =
  | { readonly kind: 'request'; readonly request: ChangeRequest }
  | { readonly kind: 'description'; readonly description: ClusterDescription }
  | { readonly kind: 'change'; readonly change: SetChange };

export interface PlanOptions {
  readonly seed?: number | undefined;
  /** Bytes stored in all, or by `site/node/device`; what devices report when absent. */
  readonly bytesUsed?: number | Readonly<Record<string, number>> | undefined;
  /** Per second between each two sites; what the document's links say when absent. */
  readonly bandwidth?: number | undefined;
}

export interface ApplyOptions extends Acceptance {
  readonly who: string;
}

type Gradual = NonNullable<HeadRecord['gradual']>;

const MICROS_PER_HOUR = 3_600_000_000;

export class AuthorityRings {
  readonly #store: AuthorityStore;
  readonly #reports: Reports;
  readonly #clock: Clock;

  constructor(store: AuthorityStore, reports: Reports, clock: Clock) {
    this.#store = store;
    this.#reports = reports;
    this.#clock = clock;
  }

  /** What a change would do. Nothing is kept: the plan itself is handed back to `apply`. */
  async plan(
    wish: Wish,
    options: PlanOptions = {},
  ): Promise<{ plan: PlanContent; view: PlanView }> {
    const now = await this.#store.snapshot();
    const change = changeOf(now, wish);
    checkCreated(now.document, change);
    const made = this.#plan(now.set, change, options.seed);
    const { used, total } = await this.#devices();
    const { bytesUsed = (id: number) => used.get(id) ?? 0, bandwidth } = options;
    const known =
      typeof bytesUsed === 'object' ? namedBytes(now.set.devices(), bytesUsed) : bytesUsed;
    const rate = bandwidth === undefined ? rates(now.document) : () => bandwidth;
    const view = viewPlan(made, known, rate, (id) => total.get(id));
    return { plan: planContent(now.set, made), view };
  }

  /** @throws OperatingError `stale-plan`, `ring-at-risk`, `change-under-way` */
  async apply(content: PlanContent, { who, ...accepted }: ApplyOptions): Promise<number> {
    const force = accepted.force === true || accepted.acceptLoss === true;
    if (!force) await this.#refuseUnlessQuiet();
    const { version } = await this.#store.change({ what: describe(content), who }, (now) => {
      if (!force && now.set.joint > 0) throw underWay(`${now.set.joint} partitions are joint`);
      checkCreated(now.document, content.change);
      checkMembers(now, content.change);
      now.set.apply(remakePlan(now.set, content), accepted);
      return { set: now.set, ...policiesOf(now, content), result: undefined };
    });
    return version;
  }

  /** @throws OperatingError `nothing-to-undo`, `cannot-undo` */
  async undo(who: string): Promise<number> {
    const { version } = await this.#store.change({ what: 'undo', who }, (now) => {
      now.set.undo({ nowHours: this.#nowHours() });
      return { set: now.set, head: { gradual: undefined }, result: undefined };
    });
    return version;
  }

  /** Ends the joint phase of these partitions, by number of policy. Undefined: there was none to end. */
  async settle(
    expectedVersion: number,
    partitions: ReadonlyMap<number, readonly number[]>,
  ): Promise<number | undefined> {
    try {
      const { version } = await this.#store.change({ what: 'settle', who: 'authority' }, (now) => {
        // Progress was told for the rings of that version; another one's partitions are others.
        if (now.head.version !== expectedVersion || !now.set.settle(partitions)) throw NOTHING;
        return { set: now.set, result: undefined };
      });
      return version;
    } catch (error) {
      if (error === NOTHING) return undefined;
      throw error;
    }
  }

  /** Weights approach their targets in steps, each when the moves of the last are done. */
  async startGradual(target: Record<string, number>, stepPercent: number, who: string) {
    const { version } = await this.#store.change({ what: 'gradual change', who }, (now) => {
      const ids = new Set(now.set.devices().map(({ id }) => String(id)));
      const unknown = Object.keys(target).find((id) => !ids.has(id));
      if (unknown !== undefined)
        throw new OperatingError('unknown-device', `no device with id ${unknown}`);
      const devices = now.set.devices().map(({ id, weight }) => [String(id), weight]);
      const from = Object.fromEntries(devices.filter(([id]) => target[id!] !== undefined));
      return { head: { gradual: { from, target, stepPercent } }, result: undefined };
    });
    return version;
  }

  /** The next step of a gradual change, when it is time. Undefined: none is due. */
  async gradualStep(): Promise<number | undefined> {
    const now = await this.#store.snapshot();
    const { gradual, paused } = now.head;
    if (gradual === undefined || paused || now.set.joint > 0) return undefined;
    if ((await this.#laggards(now.head.version)).length > 0) return undefined;
    const update = nextWeights(now.set, gradual);
    if (update.length === 0) {
      const reason = { what: 'gradual change done', who: 'authority' };
      await this.#store.change(reason, () => ({ head: { gradual: undefined }, result: undefined }));
      return undefined;
    }
    const made = this.#plan(now.set, { update }, undefined);
    // Where min_part_hours lets nothing move yet, a step would only be a version more.
    const moves = made.rings.some((ring) => ring.after.former.size > 0);
    const isDone = update.every(({ id, weight }) => gradual.target[String(id)] === weight);
    if (!moves && !isDone) return undefined;
    return this.apply(planContent(now.set, made), { who: 'authority (gradual)' });
  }

  async pause(paused: boolean, who: string): Promise<number> {
    const reason = { what: paused ? 'pause' : 'resume', who };
    const { version } = await this.#store.change(reason, () => ({
      head: { paused },
      result: undefined,
    }));
    return version;
  }

  /** Processes that are alive and run an older bundle than this. */
  async #laggards(version: number): Promise<string[]> {
    const reports = await this.#reports.all();
    return reports
      .filter((record) => !this.#reports.isAway(record) && record.report.bundleVersion < version)
      .map(({ report }) => report.process);
  }

  async #refuseUnlessQuiet(): Promise<void> {
    const { head } = await this.#store.snapshot();
    const behind = await this.#laggards(head.version);
    if (behind.length > 0) throw underWay(`${behind.join(', ')} still run an older version`);
  }

  #plan(set: RingSet, change: SetChange, seed: number | undefined): SetPlan {
    const versions = [...set.builders.values()].reduce((sum, b) => sum + b.state.version, 1);
    return set.plan(change, { seed: seed ?? versions, nowHours: this.#nowHours() });
  }

  /** Bytes by id, as the nodes last told: what is on a device, and what it has room for. */
  async #devices(): Promise<Record<'used' | 'total', ReadonlyMap<number, number>>> {
    const [used, total] = [new Map<number, number>(), new Map<number, number>()];
    for (const { report } of await this.#reports.all())
      for (const { id, usedBytes, totalBytes } of report.devices) {
        used.set(id, usedBytes);
        total.set(id, totalBytes);
      }
    return { used, total };
  }

  #nowHours(): number {
    return Math.floor(this.#clock.wallMicros() / MICROS_PER_HOUR);
  }
}

const NOTHING = new OperatingError('nothing-to-settle', 'no partition is joint');

function underWay(why: string): OperatingError {
  return new OperatingError('change-under-way', `the last change is not done yet: ${why}`);
}

function changeOf(now: Snapshot, wish: Wish): SetChange {
  if (wish.kind === 'description') return withMemberIds(now, now.set.changeTo(wish.description));
  if (wish.kind === 'change') return wish.change;
  return withMemberIds(now, readRequest(now.set, wish.request) ?? {});
}

/**
 * A device came into the cluster with the id that its node's join gave it, which is on its disk.
 * @throws OperatingError `unknown-device` for one that no member has
 */
function withMemberIds(now: Snapshot, change: SetChange): SetChange {
  const add = (change.add ?? []).map((device) => ({ ...device, id: memberIdOf(now, device) }));
  return { ...change, add: add.sort((a, b) => a.id - b.id) };
}

/** A plan may come from anywhere: one with other ids would place data on disks that nobody has. */
function checkMembers(now: Snapshot, { add = [] }: SetChange): void {
  for (const device of add) {
    const id = memberIdOf(now, device);
    if (device.id === id) continue;
    const message = `the plan gives ${device.node}/${device.name} the id ${device.id}; it has ${id}`;
    throw new OperatingError('stale-plan', message);
  }
}

/** @throws OperatingError `unknown-device` */
function memberIdOf({ nodes }: Snapshot, { site, node: name, name: disk }: NewDevice): number {
  const node = nodes.get(name);
  const known = node?.devices.find((device) => device.name === disk);
  if (known !== undefined && node?.site === site && !node.expelled) return known.id;
  const where = `${site}/${name}/${disk}`;
  throw new OperatingError('unknown-device', `${where} has not joined this cluster`, { where });
}

/** Bytes per second of each pair of sites, as the document says. Undefined: it says nothing. */
function rates({ links }: Document): LinkRate | undefined {
  const pairOf = (a: string, b: string): string => [a, b].sort().join();
  const limited = links.filter(({ bandwidth }) => bandwidth !== undefined);
  if (limited.length === 0) return undefined;
  const known = new Map(limited.map(({ between, bandwidth }) => [pairOf(...between), bandwidth]));
  return (from, to) => known.get(pairOf(from, to));
}

/** The policies' replica counts are told to clients and quorums: they follow the rings. */
function policiesOf({ document }: Snapshot, { change }: PlanContent): Pick<Changes, 'document'> {
  const policies = document.policies.map((policy) => {
    const created = change.create?.find(({ name }) => name === `object/${policy.name}`);
    const settings = created?.settings ?? change.settings?.[`object/${policy.name}`];
    const { copies = policy.copies, replicas = policy.states } = settings ?? {};
    return { ...policy, copies, states: Math.floor(replicas) };
  });
  return { document: { ...document, policies } };
}

/** The same step each time: a percentage of the whole way. */
function nextWeights(set: RingSet, { from, target, stepPercent }: Gradual): DeviceUpdate[] {
  return set.devices().flatMap(({ id, weight }) => {
    const wanted = target[String(id)];
    if (wanted === undefined || wanted === weight) return [];
    const step = (Math.abs(wanted - (from[String(id)] ?? weight)) * stepPercent) / 100;
    const left = wanted - weight;
    const next = Math.abs(left) <= step * (1 + ROUNDING) ? wanted : weight + Math.sign(left) * step;
    return [{ id, weight: next }];
  });
}

function describe({ change }: PlanContent): string {
  const { add = [], update = [], remove = [], settings = {}, create = [] } = change;
  const parts = [
    add.length > 0 && `add ${add.map(({ node, name }) => `${node}/${name}`).join(' ')}`,
    update.length > 0 && `change ${update.map(({ id }) => id).join(' ')}`,
    remove.length > 0 && `remove ${remove.join(' ')}`,
    Object.keys(settings).length > 0 && `settings of ${Object.keys(settings).join(' ')}`,
    create.length > 0 && `create ${create.map(({ name }) => name).join(' ')}`,
  ];
  const text = parts.filter((part) => part !== false).join('; ');
  return (text === '' ? 'rebalance' : text).slice(0, MAX_REASON_CHARS);
}

const MAX_REASON_CHARS = 500;
/** Steps that add up to the whole must not leave a crumb. */
const ROUNDING = 1e-9;
