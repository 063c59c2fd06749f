/**
 * A device that was there before a ring was made knows all that it ever acknowledged under it: nothing.
 * So it is complete for the partitions that the ring's first version gives it, and only for those.
 *
 * A file of the node remembers for each device its incarnation and the rings that were there by then. A
 * device whose log was lost has another incarnation, and must not be believed again; a ring that is in
 * the file was marked then, or was older than the device.
 */
import path from 'node:path';
import { z } from 'zod';
import { messageOf } from '#base/errors.ts';
import { BUCKET_BITS } from '#device/contract.ts';
import type { LogDevice } from '#device/log-device.ts';
import type { Ring } from '#ring/ring.ts';
import type { Foundation } from './foundation.ts';

type Parts = Pick<Foundation, 'env' | 'config' | 'cluster'>;

const schema = z.object({
  format: z.literal(1),
  incarnation: z.string(),
  policies: z.array(z.number()),
});

type Known = Pick<z.infer<typeof schema>, 'incarnation' | 'policies'>;

/**
 * Marks what follows from the rings in force; harmless to repeat. A device that was just `opened`, and has the
 * ring on record, was marked before, when the file could not be written: what it has lost since stays lost.
 */
export async function markGenesis(
  parts: Parts,
  device: LogDevice,
  opened?: 'opened',
): Promise<void> {
  const { env, config, cluster } = parts;
  const file = path.join(config.data, `genesis-${device.id}`);
  const { rings } = cluster.current();
  const known = await readKnown(parts, file);
  const wasThere = known === undefined ? device.genesis : known.incarnation === device.incarnation;
  const fresh = [...rings].filter(([policy]) => !known?.policies.includes(policy));
  if (known !== undefined && fresh.length === 0) return;
  for (const [policy, ring] of wasThere ? fresh : []) {
    if (ring.version !== 1) continue;
    if (opened !== undefined && device.completeness.hasRecord(policy)) continue;
    const marks = [...bucketRanges(ring, device.id)];
    await Promise.all(marks.map(([from, to]) => device.completeness.mark(policy, from, to, true)));
  }
  const incarnation = known?.incarnation ?? device.incarnation;
  const next = { format: 1, incarnation, policies: [...rings.keys()] };
  await env.disk.replace(file, Buffer.from(`${JSON.stringify(next)}\n`));
}

/**
 * The first clusters wrote the incarnation alone, when all rings had been marked. A file that can't be
 * understood proves nothing of anybody: the device learns from its peers.
 */
async function readKnown({ env, cluster }: Parts, file: string): Promise<Known | undefined> {
  if ((await env.disk.stat(file)) === undefined) return undefined;
  const text = (await env.disk.read(file)).toString().trim();
  const policies = [...cluster.current().rings.keys()];
  if (!text.startsWith('{')) return { incarnation: text, policies };
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    env.log.warn('device.genesis-unreadable', { file, reason: messageOf(error) });
    return { incarnation: '', policies };
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
