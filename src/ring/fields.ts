/** What a ring is made of, as data: shared by the format, the look-up and the builder. */

export interface RingDevice {
  /** Durable: never given to another device. 0..65534; 65535 is "none" in tables. */
  readonly id: number;
  /** Swift's region. */
  readonly site: string;
  readonly zone: string;
  readonly node: string;
  /** The device's name on its node, such as `d1`. */
  readonly name: string;
  readonly weight: number;
  /** Such as `wire`, the node's address. */
  readonly meta: Readonly<Record<string, string>>;
}

/** No device: pads former sets that were smaller than the widest. Never in a column. */
export const NO_DEVICE = 0xffff;
export const MAX_DEVICES = NO_DEVICE;
export const MAX_PART_POWER = 24;
export const MAX_COLUMNS = 16;

/** The former sets of the joint partitions. */
export interface FormerTable {
  /** Ascending. */
  readonly partitions: Uint32Array;
  /** By row: the first ring version that named this pair of sets; older ones are fenced off. */
  readonly since: Float64Array;
  /** Devices per row; a smaller set is padded with NO_DEVICE. */
  readonly width: number;
  readonly devices: Uint16Array;
}

/** No partition is joint. */
export const NO_FORMER: FormerTable = Object.freeze({
  partitions: new Uint32Array(0),
  since: new Float64Array(0),
  width: 0,
  devices: new Uint16Array(0),
});

export interface RingFields {
  readonly policy: number;
  readonly version: number;
  readonly partPower: number;
  /** Replicas that hold bodies; the columns after them hold states only (a witness). */
  readonly copies: number;
  /** By id. */
  readonly devices: readonly (RingDevice | undefined)[];
  /**
   * Column r names the device of replica r of each partition. All are 2^partPower long, except that
   * the last may be shorter: a fractional replica count gives the first partitions one replica more.
   */
  readonly columns: readonly Uint16Array[];
  readonly former: FormerTable;
}
