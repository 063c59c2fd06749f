/**
 * The storage role: opens this node's devices with their row stores. A folder that is empty gets a new
 * identity and incarnation (it then stores and serves, but does not count until it is complete); a
 * device that can't be opened is reported and left out, the process and its other devices go on.
 */
import path from 'node:path';
import { codeOf, messageOf } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { NodeConfig } from '#config/node-config.ts';
import type { Device, DeviceStatus } from '#device/contract.ts';
import { formatDevice } from '#device/identity.ts';
import { openDevice } from '#device/open.ts';
import type { Env } from '#env/env.ts';
import { BUCKET_BITS } from '#device/contract.ts';
import type { ClusterView } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { RowStore } from '#rows/row-store.ts';

export interface OpenDevice {
  readonly device: Device;
  readonly rows: RowStore;
}

export interface StorageOptions {
  readonly env: Env;
  readonly config: NodeConfig;
  readonly clock: HybridClock;
  readonly view: ClusterView;
}

/** Device id to what is open. */
export async function openDevices(options: StorageOptions): Promise<Map<number, OpenDevice>> {
  const open = new Map<number, OpenDevice>();
  for (const slot of options.config.devices) {
    try {
      open.set(slot.id, await openOne(options, slot));
    } catch (error) {
      options.env.log.error('device.unusable', {
        device: slot.id,
        path: slot.path,
        code: codeOf(error),
        reason: messageOf(error),
      });
    }
  }
  return open;
}

type Slot = NodeConfig['devices'][number];

async function openOne(options: StorageOptions, slot: Slot): Promise<OpenDevice> {
  try {
    return await tryOpen(options, slot);
  } catch (error) {
    if (codeOf(error) !== 'device-blank') throw error;
    await formatDevice(options.env, slot.path, {
      clusterId: options.config.clusterId,
      deviceId: slot.id,
      name: slot.name,
      genesis: false,
    });
    options.env.log.warn('device.formatted', { device: slot.id, path: slot.path });
    return tryOpen(options, slot);
  }
}

async function tryOpen({ env, config, clock, view }: StorageOptions, slot: Slot): Promise<OpenDevice> {
  let rows: RowStore | undefined;
  const device = await openDevice(env, slot.path, {
    clusterId: config.clusterId,
    deviceId: slot.id,
    clock,
    openRows: (folder, incarnation) => {
      rows = RowStore.open(env, { file: path.join(folder, 'rows.db'), deviceId: slot.id, incarnation });
      return rows;
    },
    onStatus: (status: DeviceStatus, reason: string) =>
      env.log.warn('device.status', { device: slot.id, status, reason }),
  });
  rows!.bind(device.rowLog);
  if (device.genesis) await markGenesis(device, view);
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
      partition < ring.partitions && ring.placement(partition).primaries.some((primary) => primary.id === device);
    if (mine && start < 0) start = partition;
    if (!mine && start >= 0) {
      yield [start << shift, partition << shift];
      start = -1;
    }
  }
}
