/**
 * All rings of a cluster, changed together: they share devices, and a device has the same id in every
 * one of them. Pure: where the builders are kept is the caller's business.
 */
import { OperatingError } from '#base/errors.ts';
import type { PolicyIndex } from '#base/names.ts';
import { type ClusterDescription, describedDevices } from '../description.ts';
import type { RingDevice } from '../fields.ts';
import type { Ring } from '../ring.ts';
import { type Plan, type PlanOptions, RingBuilder } from './builder.ts';
import type { Change, DeviceUpdate, NewDevice } from './change.ts';
import { type RingSpecification, ringsOf } from './ring-names.ts';
import { type Acceptance, refusal } from './risk.ts';
import type { RingSettings } from './state.ts';

/** A change of the devices, for every ring, and of settings, ring by ring. */
export interface SetChange {
  readonly add?: readonly NewDevice[];
  readonly update?: readonly DeviceUpdate[];
  readonly remove?: readonly number[];
  readonly settings?: Readonly<Record<string, Partial<Omit<RingSettings, 'policy'>>>>;
  /** Rings that do not exist yet. */
  readonly create?: readonly RingSpecification[];
}

export interface RingPlan extends Plan {
  readonly name: string;
  /** The builder that the plan is for; a new ring's is not in the set yet. */
  readonly builder: RingBuilder;
}

export interface SetPlan {
  readonly change: SetChange;
  readonly options: PlanOptions;
  readonly rings: readonly RingPlan[];
}

export class RingSet {
  /** By name, such as `object/standard`. */
  readonly builders: Map<string, RingBuilder>;

  constructor(builders: Iterable<readonly [string, RingBuilder]> = []) {
    this.builders = new Map(builders);
  }

  /**
   * Goes on from published rings (of all policies, of one version), where the builders' own files are
   * older or lost: `RingBuilder.fromRing`. `settings` of a ring that has no builder: any other's.
   */
  adopt(rings: ReadonlyMap<string, Ring>, nowHours: number): RingSet {
    const ids = (ring: Ring) => ring.devices.flatMap((device) => (device ? [device.id] : []));
    const all = [...rings.values()];
    // The rings agree on their devices, but for removed ones that some ring's former sets still name.
    const named = all.map((ring) => new Set(ids(ring)));
    const removed = new Set(all.flatMap(ids).filter((id) => named.some((own) => !own.has(id))));
    const [any] = this.builders.values();
    return new RingSet(
      [...rings].map(([name, ring]) => {
        const known = (this.builders.get(name) ?? any)?.state.settings;
        const settings = known ?? { overload: 0, minPartHours: 1 };
        return [name, RingBuilder.fromRing(ring, settings, { nowHours, removed })];
      }),
    );
  }

  /** Every device, by id: the rings agree on them. */
  devices(): RingDevice[] {
    const [first] = this.builders.values();
    return (first?.state.devices ?? []).filter((device) => device !== undefined);
  }

  /** What turns this set into the described one. */
  changeTo(description: ClusterDescription): SetChange {
    const wanted = ringsOf(description);
    const names = new Set(wanted.map((ring) => ring.name));
    for (const name of this.builders.keys()) {
      if (names.has(name)) continue;
      const hint = 'a ring holds data: it cannot be dropped by leaving it out';
      throw new OperatingError('ring-in-use', `${name} is not in the description; ${hint}`, {
        name,
      });
    }
    const settings: Record<string, Partial<Omit<RingSettings, 'policy'>>> = {};
    for (const { name, settings: next } of wanted) {
      const { policy, ...rest } = next;
      const now = this.builders.get(name)?.state.settings;
      if (now === undefined) continue;
      if (now.policy !== policy) {
        const message = `${name} has index ${now.policy}; an index is for ever`;
        throw new OperatingError('ring-in-use', message, { name });
      }
      const differing = Object.entries(rest).filter(
        ([key, value]) => now[key as keyof RingSettings] !== value,
      );
      if (differing.length > 0) settings[name] = Object.fromEntries(differing);
    }
    const create = wanted.filter((ring) => !this.builders.has(ring.name));
    return { ...this.#deviceChange(description), settings, create };
  }

  #deviceChange(description: ClusterDescription): Pick<SetChange, 'add' | 'update' | 'remove'> {
    const now = new Map(this.devices().map((device) => [deviceKey(device), device]));
    const add: NewDevice[] = [];
    const update: DeviceUpdate[] = [];
    for (const device of describedDevices(description)) {
      const known = now.get(deviceKey(device));
      now.delete(deviceKey(device));
      if (known === undefined) add.push(device);
      else if (differs(known, device)) {
        const { zone, weight, meta } = device;
        update.push({ id: known.id, zone, weight, meta });
      }
    }
    return { add, update, remove: [...now.values()].map((device) => device.id) };
  }

  plan(change: SetChange, options: PlanOptions): SetPlan {
    const shared = this.#withIds(change);
    const rings: RingPlan[] = [];
    for (const [name, builder] of this.builders) {
      const { add, update, remove } = shared;
      const settings = change.settings?.[name];
      rings.push(planRing(name, builder, { add, update, remove, settings }, options));
    }
    for (const { name, settings } of change.create ?? []) {
      const add = this.#devicesAfter(shared);
      rings.push(planRing(name, RingBuilder.create(settings), { add }, options));
    }
    return { change, options, rings };
  }

  /** All or nothing. @throws OperatingError `ring-at-risk` (unless accepted), `stale-plan` */
  apply(plan: SetPlan, accepted: Acceptance = {}): void {
    const why = refusal(plan.rings, accepted);
    if (why !== undefined) throw new OperatingError('ring-at-risk', why);
    if (plan.rings.some((ring) => ring.before !== ring.builder.state)) {
      throw new OperatingError('stale-plan', 'the rings have changed since the plan was made');
    }
    for (const ring of plan.rings) {
      ring.builder.apply(ring, { acceptLoss: true });
      this.builders.set(ring.name, ring.builder);
    }
  }

  /**
   * Takes the last change back, in every ring that it changed.
   * @throws OperatingError `nothing-to-undo`, `cannot-undo`
   */
  undo(options: { readonly nowHours: number }): void {
    const undoable = [...this.builders].filter(([, builder]) => builder.undoable > 0);
    if (undoable.length === 0)
      throw new OperatingError('nothing-to-undo', 'there is no change to undo');
    for (const [, builder] of undoable) builder.undo(options);
    const different = this.disagreement();
    if (different === undefined) return;
    const message = `${different} was created by this change and has nothing to go back to`;
    throw new OperatingError('cannot-undo', message, { ring: different });
  }

  /** Partitions that are still joint, in all rings. */
  get joint(): number {
    return [...this.builders.values()].reduce((sum, { state }) => sum + state.former.size, 0);
  }

  /**
   * Ends the joint phase: of every partition, or of these, by number of policy. Whoever calls it has
   * made sure that all new members are complete (`move-progress.ts`). False: there was none to end.
   */
  settle(partitions?: ReadonlyMap<PolicyIndex, readonly number[]>): boolean {
    let settled = false;
    for (const builder of this.builders.values()) {
      const { former, settings } = builder.state;
      const chosen =
        partitions === undefined ? [...former.keys()] : partitions.get(settings.policy);
      const joint = (chosen ?? []).filter((partition) => former.has(partition));
      if (joint.length === 0) continue;
      builder.settle(joint);
      settled = true;
    }
    return settled;
  }

  /** A ring whose devices are not those of the first one, if there is any. */
  disagreement(): string | undefined {
    const devicesOf = (builder: RingBuilder): string =>
      JSON.stringify(builder.state.devices.filter((device) => device !== undefined));
    const [first, ...others] = this.builders;
    if (first === undefined) return undefined;
    const expected = devicesOf(first[1]);
    return others.find(([, builder]) => devicesOf(builder) !== expected)?.[0];
  }

  /** By number of policy. */
  rings(): Map<PolicyIndex, Ring> {
    return new Map([...this.builders.values()].map((b) => [b.state.settings.policy, b.toRing()]));
  }

  /** New devices get the same id in every ring: above any that any ring has ever given. */
  #withIds(change: SetChange): SetChange {
    let id = Math.max(0, ...[...this.builders.values()].map((builder) => builder.state.nextDevice));
    const add = (change.add ?? []).map((device) => ({ ...device, id: device.id ?? id++ }));
    return { ...change, add };
  }

  /** What a ring that is created with this change starts with, ids ascending. */
  #devicesAfter({ add = [], update = [], remove = [] }: SetChange): NewDevice[] {
    const kept = this.devices().filter((device) => !remove.includes(device.id));
    const updated = kept.map((device) => {
      const { id: _, ...fields } = update.find((item) => item.id === device.id) ?? {
        id: device.id,
      };
      return { ...device, ...fields };
    });
    return [...updated, ...add];
  }
}

function planRing(
  name: string,
  builder: RingBuilder,
  change: Change,
  options: PlanOptions,
): RingPlan {
  // Rings of one cluster get different seeds, so that a device pair does not share partitions in all.
  const seed = (options.seed + Math.imul(builder.state.settings.policy + 1, 0x9e3779b1)) | 0;
  return { ...builder.plan(change, { ...options, seed }), name, builder };
}

/** Site, node and name say which device it is; zone, weight and metadata may change. */
export function deviceKey({
  site,
  node,
  name,
}: {
  site: string;
  node: string;
  name: string;
}): string {
  return `${site}/${node}/${name}`;
}

function differs(
  known: RingDevice,
  wanted: { zone: string; weight: number; meta: object },
): boolean {
  const sorted = (meta: object): string => JSON.stringify(Object.entries(meta).sort());
  if (known.zone !== wanted.zone || known.weight !== wanted.weight) return true;
  return sorted(known.meta) !== sorted(wanted.meta);
}
