/**
 * What the parts of a row service share: the effects, the wire as far as it is used, the devices, and
 * who the replicas of a container are. `service/` is in the wire's own layer, so it names only what it
 * needs of it; the wire fits.
 */
import { deadSinceMicros, type EntryState } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import { hashPath } from '#base/hash.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { PolicyIndex } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { checkOwnRing, checkPlaced, checkSender } from '#ring/ring-check.ts';
import { isTombstone } from '../columns.ts';
import { rowTimestamp } from '../row-state.ts';
import type { RowStore } from '../row-store.ts';
import type { RowsArgs, RowTarget } from './calls.ts';

export interface RowWire {
  call(
    node: string,
    method: string,
    args: unknown,
    options: RowCallOptions,
  ): Promise<{ readonly result: unknown }>;
  handle(method: string, handler: RowHandler): void;
}

export interface RowCallOptions {
  readonly txn: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  readonly lane?: 'calls' | 'bulk';
}

export interface RowCallContext {
  readonly txn: string;
  readonly deadline: { remainingMs(): number; readonly signal: AbortSignal };
}

export type RowHandler = (
  args: unknown,
  context: RowCallContext,
) => Promise<{ readonly result: unknown }> | { readonly result: unknown };

/** A device with its rows. */
export interface RowDevice {
  readonly device: Device;
  readonly rows: RowStore;
}

export interface RowServiceOptions {
  readonly env: Pick<Env, 'clock' | 'log' | 'random'>;
  readonly wire: RowWire;
  readonly cluster: ClusterSource;
  readonly self: { readonly node: string; readonly site: string };
  readonly devices: () => ReadonlyMap<number, RowDevice>;
  readonly clock: HybridClock;
  /** Whether two devices are not known to agree on what they share of a ring. Absent: not known of any. */
  readonly differs?: (ring: PolicyIndex, own: number, peer: number) => boolean;
  /** All that the peer had of a ring at `atMs`, monotonic, was taken in. */
  readonly tookIn?: (ring: PolicyIndex, own: number, peer: number, atMs: number) => void;
  /** What has been dead since then, in microseconds, is reclaimed by now: of what is not known here, it has nothing to hide. */
  readonly isReclaimed?: (deadSince: number) => boolean;
}

/** N of one key, in one or two sets (OLD and NEW while a ring change is under way). */
export interface Replicas {
  readonly ringVersion: number;
  /** The union, nearest first. */
  readonly members: readonly RowTarget[];
  readonly sets: readonly (readonly number[])[];
  /** In NEW and not in OLD. */
  readonly joining: ReadonlySet<number>;
}

/** R of N: any R replicas share one with any W = floor(N/2)+1. */
export function readQuorum(replicas: number): number {
  return replicas - Math.floor(replicas / 2);
}

/** How many more answers are needed, at the very least, before `counted` holds R of every set. */
export function shortfall(replicas: Replicas, counted: ReadonlySet<number>): number {
  const missing = replicas.sets.map((set) => {
    return readQuorum(set.length) - set.filter((device) => counted.has(device)).length;
  });
  return Math.max(0, ...missing);
}

export class RowContext {
  readonly options: RowServiceOptions;
  readonly ring: PolicyIndex;
  /** `container` or `account`: the first part of the methods' names. */
  readonly prefix: string;

  constructor(options: RowServiceOptions, ring: PolicyIndex, prefix: string) {
    this.options = options;
    this.ring = ring;
    this.prefix = prefix;
  }

  /**
   * `hash`: of the container or account, where the call is about one.
   * @throws OperatingError `no-device`, `ring-old`, `ring-unknown`, `moved`
   */
  open(id: number, ringVersion: number, hash?: Buffer): RowDevice {
    const target = this.device(id);
    this.checkPlaced(target, ringVersion, hash);
    return target;
  }

  /** @throws OperatingError `no-device` */
  device(id: number): RowDevice {
    const device = this.options.devices().get(id);
    if (device !== undefined) return device;
    throw new OperatingError('no-device', 'this node does not serve the device', { device: id });
  }

  /**
   * Again in the turn of a write that waited since its call came: a fence that was raised meanwhile
   * promises that nothing older comes behind it.
   * @throws OperatingError `ring-old`, `ring-unknown`, `moved`
   */
  checkPlaced({ device }: RowDevice, ringVersion: number, hash?: Buffer): void {
    const policy = this.ring;
    checkPlaced(device, this.options.cluster, { policy, ringVersion, ...(hash && { hash }) });
  }

  /** @throws OperatingError `removed` */
  checkSender(from: RowsArgs['from']): void {
    checkSender(this.options.cluster.current(), from);
  }

  /** What is filed under another name's hash would be lost to everybody. @throws OperatingError `malformed` */
  checkPath(path: string, hash: Buffer): void {
    const { hashPrefix, hashSuffix } = this.options.cluster.current();
    if (!hashPath(hashPrefix, path, hashSuffix).equals(hash)) {
      throw new OperatingError('malformed', 'the hash is not that of the name', { path });
    }
  }

  /**
   * A deletion or an expiry that was reclaimed everywhere, as somebody has it still: there is nothing here that
   * it would hide, and taken in it would be young again, and go back and forth for ever. A container's own is not
   * reclaimed before its rows are: it says in which policy the object of a late one is.
   */
  isReclaimed({ rows }: RowDevice, hash: Buffer, name: string, state: EntryState): boolean {
    const { isReclaimed } = this.options;
    if (isReclaimed === undefined || !isTombstone(this.ring, name, state)) return false;
    const deadSince = deadSinceMicros(state, rowTimestamp(state));
    if (!isReclaimed(deadSince) || rows.read(this.ring, hash, name) !== undefined) return false;
    return name !== '' || (rows.facts(this.ring, hash)?.total ?? 0) === 0;
  }

  isComplete({ device }: RowDevice, hash: Buffer): boolean {
    return device.completeness.isComplete(this.ring, hash);
  }

  currentRing(): Ring | undefined {
    return this.options.cluster.current().rings.get(this.ring);
  }

  /**
   * As this replica asks them itself. One that was fenced, and has not the new ring yet, must not.
   * @throws OperatingError `no-ring`, `ring-old`
   */
  replicasFor({ device }: RowDevice, hash: Buffer): Replicas {
    const replicas = this.replicas(hash);
    checkOwnRing(device, this.currentRing()!, hash);
    return replicas;
  }

  /** @throws OperatingError `no-ring` */
  replicas(hash: Buffer): Replicas {
    const view = this.options.cluster.current();
    const ring = view.rings.get(this.ring);
    if (ring === undefined)
      throw new OperatingError('no-ring', 'the ring is not known yet', { ring: this.ring });
    const { primaries, former } = ring.placement(ring.partitionOf(hash));
    const sets = former === undefined ? [primaries] : [former, primaries];
    const union = new Map(sets.flat().map((device) => [device.id, device]));
    const { self } = this.options;
    const distance = (node: string, site: string): number =>
      node === self.node ? 0 : site === self.site ? 1 : 2;
    const members = [...union.values()]
      .sort((a, b) => distance(a.node, a.site) - distance(b.node, b.site))
      .map(({ id, node }) => ({ device: id, node }));
    const old = new Set(former?.map((device) => device.id));
    const joining = former === undefined ? [] : primaries.filter((device) => !old.has(device.id));
    return {
      ringVersion: ring.version,
      members,
      joining: new Set(joining.map((device) => device.id)),
      sets: sets.map((set) => set.map((device) => device.id)),
    };
  }

  /** One call of this service on another replica. Calls to this node's own devices go the same way. */
  async call(
    target: RowTarget,
    method: string,
    args: object,
    options: RowCallOptions,
  ): Promise<unknown> {
    const full = { device: target.device, ...args };
    const { result } = await this.options.wire.call(
      target.node,
      `${this.prefix}.${method}`,
      full,
      options,
    );
    return result;
  }
}
