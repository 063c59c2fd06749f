/**
 * The storage role: opens this node's devices with their row stores and serves them. A folder that is
 * empty gets a new identity and incarnation (it then stores and serves, but does not count until it is
 * complete); a device that can't be opened is reported and left out, the process and its other devices
 * go on.
 */
import path from 'node:path';
import { createAccountService } from '#account/server.ts';
import { codeOf, messageOf } from '#base/errors.ts';
import type { NodeConfig } from '#config/node-config.ts';
import { createContainerService } from '#container/server.ts';
import { BUCKET_BITS, type Device } from '#device/contract.ts';
import type { DeviceLimits } from '#device/limits.ts';
import { formatDevice, openDevice } from '#device/open.ts';
import type { DeviceReport } from '#object/calls.ts';
import { createObjectService } from '#object/server.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { RowStore } from '#rows/row-store.ts';
import type { Job, JobStatus } from '#worker/job.ts';
import { JobRunner } from '#worker/runner.ts';
import type { Foundation } from './foundation.ts';

export interface StorageRole {
  reports(): DeviceReport[];
  jobs(): JobStatus[];
  close(): Promise<void>;
}

export interface OpenDevice {
  readonly device: Device;
  readonly rows: RowStore;
}

export interface StorageOptions {
  /** The simulator makes segments small, so that they rotate and are compacted in seconds. */
  readonly deviceLimits?: Partial<DeviceLimits>;
}

export async function startStorage(
  foundation: Foundation,
  options: StorageOptions = {},
): Promise<StorageRole> {
  const { env, config, clock, cluster, wire } = foundation;
  const open = await openDevices(foundation, options);
  const devices = new Map([...open].map(([id, { device }]) => [id, device]));
  const self = { node: config.name, site: config.site };
  const objects = createObjectService({ env, wire, cluster, self, devices: () => devices });
  const rowOptions = { env, wire, cluster, self, clock, devices: () => open };
  const containers = createContainerService(rowOptions);
  const accounts = createAccountService(rowOptions);
  const jobs: Job[] = [
    ...objects.jobs,
    ...containers.jobs,
    ...accounts.jobs,
    ...[...devices.values()].map(compaction),
  ];
  const runners = jobs.map((job) => new JobRunner(env, job));
  return {
    reports: () => objects.reports(),
    jobs: () => runners.map((runner) => runner.status()),
    close: async () => {
      await Promise.all(runners.map((runner) => runner.stop()));
      await objects.close();
      await Promise.all([...devices.values()].map((device) => device.close()));
    },
  };
}

const COMPACT_IDLE_MS = 10_000;

function compaction(device: Device): Job {
  return {
    name: `device.compaction.${device.name}`,
    step: async () =>
      (await device.compactStep()) ? { kind: 'more' } : { kind: 'idle', waitMs: COMPACT_IDLE_MS },
  };
}

/** Device id to what is open. */
async function openDevices(
  foundation: Foundation,
  options: StorageOptions,
): Promise<Map<number, OpenDevice>> {
  const open = new Map<number, OpenDevice>();
  for (const slot of foundation.config.devices) {
    try {
      open.set(slot.id, await openOne(foundation, slot, options));
    } catch (error) {
      const facts = {
        device: slot.id,
        path: slot.path,
        code: codeOf(error),
        reason: messageOf(error),
      };
      foundation.env.log.error('device.unusable', facts);
    }
  }
  return open;
}

type Slot = NodeConfig['devices'][number];

async function openOne(
  foundation: Foundation,
  slot: Slot,
  options: StorageOptions,
): Promise<OpenDevice> {
  const { env, config } = foundation;
  try {
    return await tryOpen(foundation, slot, options);
  } catch (error) {
    if (codeOf(error) !== 'device-blank') throw error;
    const identity = {
      clusterId: config.clusterId,
      deviceId: slot.id,
      name: slot.name,
      genesis: false,
    };
    await formatDevice(env, slot.path, identity);
    env.log.warn('device.formatted', { device: slot.id, path: slot.path });
    return tryOpen(foundation, slot, options);
  }
}

async function tryOpen(
  { env, config, clock, cluster }: Foundation,
  slot: Slot,
  options: StorageOptions,
): Promise<OpenDevice> {
  let rows: RowStore | undefined;
  const device = await openDevice(env, slot.path, {
    clusterId: config.clusterId,
    deviceId: slot.id,
    clock,
    limits: options.deviceLimits,
    openRows: (folder, incarnation) => {
      rows = RowStore.open(env, {
        file: path.join(folder, 'rows.db'),
        incarnation,
        digestKey: config.clusterId,
      });
      return rows;
    },
    onStatus: (status, reason) =>
      env.log.warn('device.status', { device: slot.id, status, reason }),
  });
  rows!.bind(device.rowLog);
  if (device.genesis) await markGenesis(device, cluster.current());
  return { device, rows: rows! };
}

/**
 * A device that was there when the cluster was made knows all that it ever acknowledged: nothing. So it
 * is complete for the partitions that the first rings give it, and only for those.
 */
async function markGenesis(device: Device, view: ClusterView): Promise<void> {
  for (const [policy, ring] of view.rings) {
    if (ring.version !== 1 || device.completeness.ranges(policy).length > 0) continue;
    const marks = [...bucketRanges(ring, device.id)];
    await Promise.all(marks.map(([from, to]) => device.completeness.mark(policy, from, to, true)));
  }
}

/** Ranges of hash buckets [from, to) whose partitions have this device as a primary. */
function* bucketRanges(ring: Ring, device: number): Generator<readonly [number, number]> {
  const shift = BUCKET_BITS - ring.partPower;
  let start = -1;
  for (let partition = 0; partition <= ring.partitions; partition += 1) {
    const mine =
      partition < ring.partitions &&
      ring.placement(partition).primaries.some((primary) => primary.id === device);
    if (mine && start < 0) start = partition;
    if (!mine && start >= 0) {
      yield [start << shift, partition << shift];
      start = -1;
    }
  }
}
