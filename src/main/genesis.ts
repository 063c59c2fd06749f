/**
 * A device that was there when the cluster was made knows all that it ever acknowledged: nothing. So it
 * is complete for the partitions that the first rings give it, and only for those. Done once for an
 * incarnation, which a file of the node remembers: a device whose log was lost later has no marks
 * either, and must not be believed again.
 */
import path from 'node:path';
import { BUCKET_BITS, type Device } from '#device/contract.ts';
import type { Ring } from '#ring/ring.ts';
import type { Foundation } from './foundation.ts';

export async function markGenesis(
  { env, config, cluster }: Foundation,
  device: Device,
): Promise<void> {
  const file = path.join(config.data, `genesis-${device.id}`);
  if ((await env.disk.stat(file)) !== undefined) return;
  for (const [policy, ring] of cluster.current().rings) {
    if (ring.version !== 1) continue;
    const marks = [...bucketRanges(ring, device.id)];
    await Promise.all(marks.map(([from, to]) => device.completeness.mark(policy, from, to, true)));
  }
  await env.disk.replace(file, Buffer.from(`${device.incarnation}\n`));
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
