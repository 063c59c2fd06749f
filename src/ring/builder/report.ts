/**
 * What a plan would move, in figures for an operator: partitions, replicas and bytes, into and out of
 * each site, between each pair of sites, and each device before and after.
 */
import type { RingDevice } from '../fields.ts';
import type { Plan } from './builder.ts';
import { changed } from './change.ts';
import { sameRow } from './rebalance.ts';
import { type BuilderState, idsOf } from './state.ts';

/** Bytes on each device, by id, as far as known, and how to share them out over several rings. */
export type BytesOnDevice = (id: number) => number;

export interface Traffic {
  replicas: number;
  bytes: number;
}

export interface SiteReport {
  readonly site: string;
  readonly in: Traffic;
  readonly out: Traffic;
}

export interface PairReport extends Traffic {
  readonly from: string;
  readonly to: string;
}

export interface DeviceReport {
  readonly id: number;
  readonly device: string;
  readonly weight: number;
  /** Replicas held, and the share by weight. */
  readonly before: number;
  readonly after: number;
  readonly share: number;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface MoveReport {
  /** Partitions of which at least one replica moves. */
  readonly partitions: number;
  readonly replicas: number;
  readonly bytes: number;
  readonly sites: readonly SiteReport[];
  readonly pairs: readonly PairReport[];
  readonly devices: readonly DeviceReport[];
}

/** `bytesOn`: bytes of this ring's bodies that each device holds before the change. */
export function reportMoves(plan: Plan, bytesOn: BytesOnDevice = () => 0): MoveReport {
  const raised = plan.change.settings?.partPower;
  const before = changed(
    plan.before,
    raised === undefined ? {} : { settings: { partPower: raised } },
  );
  const tally = new Tally(before, plan.after, bytesOn);
  if (before.columns.length > 0) {
    for (let partition = 0; partition < plan.after.movedAt.length; partition++)
      tally.add(partition);
  }
  return tally.report();
}

class Tally {
  readonly #before: BuilderState;
  readonly #after: BuilderState;
  readonly #bytesOn: BytesOnDevice;
  /** By id: replicas that hold bodies, and all replicas. */
  readonly #bodies: ReadonlyMap<number, number>;
  readonly #pairs = new Map<string, PairReport>();
  readonly #arriving = new Map<number, number>();
  readonly #leaving = new Map<number, number>();
  #partitions = 0;

  constructor(before: BuilderState, after: BuilderState, bytesOn: BytesOnDevice) {
    this.#before = before;
    this.#after = after;
    this.#bytesOn = bytesOn;
    this.#bodies = countIds(before.columns.slice(0, before.settings.copies));
  }

  add(partition: number): void {
    if (sameRow(this.#before.columns, this.#after.columns, partition)) return;
    const old = idsOf(this.#before.columns, partition);
    const now = idsOf(this.#after.columns, partition);
    let moved = false;
    now.forEach((id, column) => {
      if (old.includes(id)) return;
      moved = true;
      this.#move(old, old[column], id, column < this.#after.settings.copies);
    });
    for (const id of old) {
      if (now.includes(id)) continue;
      moved = true;
      const held = old.indexOf(id) < this.#before.settings.copies;
      this.#count(this.#leaving, id, held ? this.#bytesPerReplica(id) : 0);
    }
    if (moved) this.#partitions++;
  }

  /** From the device that had the column before, or, where that is gone, from one that is left. */
  #move(old: readonly number[], previous: number | undefined, id: number, hasBody: boolean): void {
    const target = this.#device(id);
    const source = this.#source(old, previous, target);
    if (target === undefined || source === undefined) return;
    const bytes = hasBody ? this.#bytesPerReplica(source.id) : 0;
    this.#count(this.#arriving, id, bytes);
    const key = JSON.stringify([source.site, target.site]);
    const pair = this.#pairs.get(key) ?? {
      from: source.site,
      to: target.site,
      replicas: 0,
      bytes: 0,
    };
    pair.replicas++;
    pair.bytes += bytes;
    this.#pairs.set(key, pair);
  }

  #source(
    old: readonly number[],
    previous: number | undefined,
    target: RingDevice | undefined,
  ): RingDevice | undefined {
    const alive = (id: number): RingDevice | undefined => this.#after.devices[id];
    if (previous !== undefined && alive(previous) !== undefined) return alive(previous);
    const left = old.map(alive).filter((device) => device !== undefined);
    const near = left.find((device) => device.site === target?.site);
    return near ?? left[0] ?? this.#before.devices[old[0]!];
  }

  #device(id: number): RingDevice | undefined {
    return this.#after.devices[id] ?? this.#before.devices[id];
  }

  #bytesPerReplica(id: number): number {
    const replicas = this.#bodies.get(id) ?? 0;
    return replicas === 0 ? 0 : this.#bytesOn(id) / replicas;
  }

  #count(bytesById: Map<number, number>, id: number, bytes: number): void {
    bytesById.set(id, (bytesById.get(id) ?? 0) + bytes);
  }

  report(): MoveReport {
    const pairs = [...this.#pairs.values()].sort(
      (a, b) => b.replicas - a.replicas || (a.from < b.from ? -1 : 1),
    );
    const total = (traffic: readonly Traffic[]): Traffic => ({
      replicas: traffic.reduce((sum, item) => sum + item.replicas, 0),
      bytes: Math.round(traffic.reduce((sum, item) => sum + item.bytes, 0)),
    });
    const names = new Set(pairs.flatMap(({ from, to }) => [from, to]));
    const sites = [...names].sort().map((site) => ({
      site,
      in: total(pairs.filter((pair) => pair.to === site && pair.from !== site)),
      out: total(pairs.filter((pair) => pair.from === site && pair.to !== site)),
    }));
    for (const pair of pairs) pair.bytes = Math.round(pair.bytes);
    return {
      partitions: this.#partitions,
      ...total(pairs),
      sites,
      pairs,
      devices: this.#devices(),
    };
  }

  #devices(): DeviceReport[] {
    const before = countIds(this.#before.columns);
    const after = countIds(this.#after.columns);
    const slots = this.#after.columns.reduce((sum, column) => sum + column.length, 0);
    const weight = this.#after.devices.reduce((sum, device) => sum + (device?.weight ?? 0), 0);
    const count = Math.max(this.#before.devices.length, this.#after.devices.length);
    const reports: DeviceReport[] = [];
    for (let id = 0; id < count; id++) {
      const device = this.#device(id);
      if (device === undefined) continue;
      const kept = this.#after.devices[id];
      const bytesBefore = (before.get(id) ?? 0) > 0 ? this.#bytesOn(id) : 0;
      const change = (this.#arriving.get(id) ?? 0) - (this.#leaving.get(id) ?? 0);
      reports.push({
        id,
        device: `${device.site}/${device.node}/${device.name}`,
        weight: kept?.weight ?? 0,
        before: before.get(id) ?? 0,
        after: after.get(id) ?? 0,
        share: weight > 0 ? ((kept?.weight ?? 0) * slots) / weight : 0,
        bytesBefore: Math.round(bytesBefore),
        bytesAfter: Math.max(0, Math.round(bytesBefore + change)),
      });
    }
    return reports;
  }
}

function countIds(columns: readonly Uint16Array[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const column of columns) for (const id of column) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/**
 * How much of a device's bytes belongs to each ring, when only the device's total is known: by the
 * share of the name space that it holds there (a replica of a partition is 1 / 2^partPower of it).
 */
export function shareBytes(states: readonly BuilderState[], bytes: BytesOnDevice): BytesOnDevice[] {
  const portions = states.map((state) => {
    const counts = countIds(state.columns.slice(0, state.settings.copies));
    return (id: number): number => (counts.get(id) ?? 0) / 2 ** state.settings.partPower;
  });
  return portions.map((portion) => (id) => {
    const whole = portions.reduce((sum, other) => sum + other(id), 0);
    return whole === 0 ? 0 : (bytes(id) * portion(id)) / whole;
  });
}

/** Bytes in all, spread over the devices by what they hold of all rings. */
export function spreadBytes(states: readonly BuilderState[], total: number): BytesOnDevice {
  const held = new Map<number, number>();
  for (const { columns, settings } of states) {
    for (const [id, count] of countIds(columns.slice(0, settings.copies))) {
      held.set(id, (held.get(id) ?? 0) + count / 2 ** settings.partPower);
    }
  }
  const whole = [...held.values()].reduce((sum, value) => sum + value, 0);
  return (id) => (whole === 0 ? 0 : (total * (held.get(id) ?? 0)) / whole);
}
