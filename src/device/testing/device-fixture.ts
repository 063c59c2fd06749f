/** A device on a simulated machine, and states to write: for this folder's tests. */
import type { EntryState, Kind } from '#base/entry.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Env } from '#env/env.ts';
import type { Machine } from '#env/sim/machine.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { ByteRange, Entry, EntryKey, WriteOutcome } from '../contract.ts';
import { type DeviceLimits, formatDevice, type LogDevice, openDevice } from '../open.ts';
import { TableRows } from './table-rows.ts';

export const FOLDER = '/device';
export const IDENTITY = { clusterId: 'test', deviceId: 7, name: 'd7', genesis: true };

const SMALL_LIMITS: Partial<DeviceLimits> = {
  inlineLimit: 100_000,
  segmentBytes: 256 * 1024,
  reserveBytes: 0,
  cacheEntries: 8,
};

export class DeviceFixture {
  readonly world: SimWorld;
  readonly machine: Machine;
  readonly statuses: string[] = [];
  readonly damage: string[] = [];
  clock!: HybridClock;
  rows!: TableRows;
  #bound = 0;
  #limits: Partial<DeviceLimits>;

  constructor(seed: number | string = 1, limits: Partial<DeviceLimits> = {}) {
    this.world = new SimWorld({ seed });
    this.machine = this.world.machine('n1');
    this.#limits = { ...SMALL_LIMITS, ...limits };
  }

  get env(): Env {
    return this.machine.env;
  }

  async format(): Promise<void> {
    await formatDevice(this.env, FOLDER, IDENTITY);
  }

  async open(overrides: Partial<Parameters<typeof openDevice>[2]> = {}): Promise<LogDevice> {
    const { env } = this;
    this.clock = new HybridClock({
      workerId: 1,
      wallMicros: () => env.clock.wallMicros(),
      bound: this.#bound,
      reserve: (bound) => {
        this.#bound = bound;
      },
    });
    return openDevice(env, FOLDER, {
      clusterId: IDENTITY.clusterId,
      deviceId: IDENTITY.deviceId,
      clock: this.clock,
      openRows: (folder) => {
        this.rows = new TableRows(env, folder);
        return this.rows;
      },
      limits: this.#limits,
      onStatus: (status, reason) => this.statuses.push(`${status}: ${reason}`),
      onDamage: (key, what) => this.damage.push(`${key?.hash.toString('hex') ?? 'index'} ${what}`),
      ...overrides,
    });
  }

  /** A state that a client's write of a body would have. */
  live(
    length: number,
    options: { at?: Timestamp; deleteAt?: number; base?: Timestamp } = {},
  ): EntryState {
    return this.#state('live', length, options);
  }

  tombstone(at?: Timestamp): EntryState {
    return this.#state('deleted', undefined, { at });
  }

  /** What a POST writes. */
  metadata(values: Record<string, string>, at: Timestamp = this.clock.now()): EntryState {
    return { groups: { user: { timestamp: at, values } } };
  }

  #state(
    kind: Kind,
    length: number | undefined,
    options: { at?: Timestamp; deleteAt?: number; base?: Timestamp },
  ): EntryState {
    const { at = this.clock.now(), deleteAt, base } = options;
    return {
      data: {
        timestamp: at,
        kind,
        writeId: at.slice(4),
        clientMicros: 1_700_000_000_000_000,
        etag: kind === 'live' ? `etag-${at}` : '',
        size: length ?? 0,
        contentType: 'text/plain',
        ...(length !== undefined && { body: { length } }),
        ...(deleteAt !== undefined && { deleteAt }),
        ...(base !== undefined && { base }),
      },
      groups: {},
    };
  }

  /** A small object, or (by its length) a staged one, written as a client's. */
  async put(
    device: LogDevice,
    number: number,
    body: Buffer,
    state = this.live(body.length),
  ): Promise<WriteOutcome> {
    const key = keyOf(number);
    const request = { key, path: pathOf(number), state, unlisted: true, intent: 'write' } as const;
    return device.write({ ...request, body });
  }

  async putStaged(
    device: LogDevice,
    number: number,
    body: Buffer,
    state = this.live(body.length),
  ): Promise<WriteOutcome> {
    const key = keyOf(number);
    const stage = await device.stage(key);
    for (let at = 0; at < body.length; at += 50_000)
      await stage.write(body.subarray(at, at + 50_000));
    await stage.finish();
    return device.write({
      key,
      path: pathOf(number),
      state,
      body: stage,
      unlisted: true,
      intent: 'write',
    });
  }

  async remove(device: LogDevice, number: number, state = this.tombstone()): Promise<WriteOutcome> {
    return device.write({
      key: keyOf(number),
      path: pathOf(number),
      state,
      unlisted: true,
      intent: 'write',
    });
  }
}

/** Runs a scenario on a formatted device, on virtual time. */
export async function withDevice(
  scenario: (fixture: DeviceFixture, device: LogDevice) => Promise<void>,
  options: { seed?: number | string; limits?: Partial<DeviceLimits> } = {},
): Promise<void> {
  const fixture = new DeviceFixture(options.seed, options.limits);
  const whole = async (): Promise<void> => {
    await fixture.format();
    await scenario(fixture, await fixture.open());
  };
  await fixture.world.run(whole());
}

/** Keys spread over the hash space, equal in all runs. */
export function keyOf(number: number, policy = 0): EntryKey {
  const hash = Buffer.alloc(16, number & 0xff);
  hash.writeUInt32BE(Math.imul(number + 1, 0x9e3779b1) >>> 0, 0);
  return { policy, hash };
}

export function pathOf(number: number): string {
  return `/AUTH_test/c/öbject ${number}`;
}

export function bytes(length: number, seed = 0): Buffer {
  const body = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) body[i] = (Math.imul(i + seed, 2654435761) >>> 13) & 0xff;
  return body;
}

export async function readAll(device: LogDevice, entry: Entry, range?: ByteRange): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of device.read(entry, range ?? { start: 0, end: 2 ** 40 }))
    parts.push(part);
  return Buffer.concat(parts);
}
