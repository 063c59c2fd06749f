/**
 * A ring: which devices hold the replicas of a partition. Built by `builder`, read by every process;
 * immutable. A partition is the top `partPower` bits of a name's hash (`#base/hash.ts`).
 *
 * During a ring change some partitions are joint (consistency.md, "Ring change"): the ring then names
 * the former set beside the new one, and `placement` answers both.
 */
import { assert } from '#base/assert.ts';
import { type FormerTable, NO_DEVICE, type RingDevice, type RingFields } from './fields.ts';
import { decodeRing, encodeRing } from './format.ts';
import { HandoffOrder } from './handoff.ts';

export type { RingDevice } from './fields.ts';

export interface Placement {
  /** The new set, or the only one, in replica order. */
  readonly primaries: readonly RingDevice[];
  /** The old set, while the partition is joint. */
  readonly former?: readonly RingDevice[];
  /** While joint: the first ring version with this pair of sets. */
  readonly since?: number;
}

export class Ring {
  readonly policy: number;
  readonly version: number;
  readonly partPower: number;
  /** Replicas that hold bodies (see RingFields). */
  readonly copies: number;
  /** May be fractional. */
  readonly replicas: number;
  readonly partitions: number;
  readonly devices: readonly (RingDevice | undefined)[];
  /** How many partitions are joint. */
  readonly jointPartitions: number;
  readonly #columns: readonly Uint16Array[];
  readonly #former: FormerTable;
  readonly #shift: number;
  /** Made when first asked for: most processes never need it. */
  #handoffs: HandoffOrder | undefined;

  /** Takes ownership of the tables. The fields must be consistent, as `decode` and the builder see to. */
  constructor(fields: RingFields) {
    this.policy = fields.policy;
    this.version = fields.version;
    this.partPower = fields.partPower;
    this.copies = fields.copies;
    this.devices = fields.devices;
    this.partitions = 2 ** fields.partPower;
    this.#columns = fields.columns;
    this.#former = fields.former;
    this.jointPartitions = fields.former.partitions.length;
    this.#shift = 32 - fields.partPower;
    const slots = fields.columns.reduce((sum, column) => sum + column.length, 0);
    this.replicas = slots / this.partitions;
  }

  /** @throws OperatingError `malformed`, `newer-format`, `checksum` */
  static decode(bytes: Uint8Array): Ring {
    return new Ring(decodeRing(bytes));
  }

  encode(): Buffer {
    return encodeRing(this.fields());
  }

  /** Views, not copies: for the encoder and the builder. */
  fields(): RingFields {
    const { policy, version, partPower, copies, devices } = this;
    return {
      policy,
      version,
      partPower,
      copies,
      devices,
      columns: this.#columns,
      former: this.#former,
    };
  }

  /** The top bits of a hash of at least four bytes. */
  partitionOf(hash: Uint8Array): number {
    if (this.partPower === 0) return 0;
    const top = (hash[0]! << 24) | (hash[1]! << 16) | (hash[2]! << 8) | hash[3]!;
    return top >>> this.#shift;
  }

  placement(partition: number): Placement {
    assert(partition >= 0 && partition < this.partitions, 'a partition of this ring');
    const primaries: RingDevice[] = [];
    for (const column of this.#columns) {
      if (partition < column.length) primaries.push(this.devices[column[partition]!]!);
    }
    if (this.jointPartitions === 0) return { primaries };
    const row = this.#formerRow(partition);
    if (row === undefined) return { primaries };
    return { primaries, former: this.#formerSet(row), since: this.#former.since[row]! };
  }

  /** The partitions that are joint, ascending. */
  joint(): Uint32Array {
    return this.#former.partitions;
  }

  /** After the union of the primaries: the farthest first, every other device of weight > 0 once. */
  handoffs(partition: number): Iterable<RingDevice> {
    const { primaries, former = [] } = this.placement(partition);
    this.#handoffs ??= new HandoffOrder(this.devices);
    return this.#handoffs.after([...primaries, ...former], partition);
  }

  device(id: number): RingDevice | undefined {
    return this.devices[id];
  }

  #formerRow(partition: number): number | undefined {
    const { partitions } = this.#former;
    let low = 0;
    let high = partitions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (partitions[middle]! < partition) low = middle + 1;
      else high = middle;
    }
    return partitions[low] === partition ? low : undefined;
  }

  #formerSet(row: number): RingDevice[] {
    const { width, devices } = this.#former;
    const ids = devices.subarray(row * width, (row + 1) * width);
    return [...ids].filter((id) => id !== NO_DEVICE).map((id) => this.devices[id]!);
  }
}
