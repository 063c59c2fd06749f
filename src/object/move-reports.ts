/**
 * How far the devices of this node are with the joint partitions of the rings in force (`device.moves`),
 * and the asking of all nodes by whoever drives a ring change: `progressOf` makes sense of the answers.
 *
 * A report is O(joint partitions), made when asked for. Rows count too: completeness of the container
 * and account rings is the device's like that of objects.
 */
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { coverageOf } from '#ring/coverage.ts';
import { isKnown } from '#ring/knowledge.ts';
import { bitsFor, type MoveReport, setBit } from '#ring/move-progress.ts';
import { type OwnPartition, ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { MovesReply } from './calls.ts';
import type { Devices } from './guard.ts';

export class MoveReports {
  readonly #devices: Devices;
  readonly #cluster: ClusterSource;

  constructor(devices: Devices, cluster: ClusterSource) {
    this.#devices = devices;
    this.#cluster = cluster;
  }

  reports(): MoveReport[] {
    const rings = [...this.#cluster.current().rings.values()].filter((r) => r.jointPartitions > 0);
    const devices = [...this.#devices().values()].filter(({ status }) => status === 'ok');
    return rings.flatMap((ring) => devices.map((device) => this.#report(device, ring)));
  }

  #report(device: Device, ring: Ring): MoveReport {
    const joint = ring.joint();
    const states = bitsFor(joint.length);
    const bodies = bitsFor(joint.length);
    const coverage = coverageOf(device.completeness.ranges(ring.policy));
    const own = new Map(ownPartitions(ring, device.id).map((item) => [item.partition, item]));
    joint.forEach((partition, row) => {
      const item = own.get(partition);
      const isNew = ring.placement(partition).primaries.some(({ id }) => id === device.id);
      if (item === undefined || !isNew) return;
      if (!isKnown(device, ring.policy, item, coverage)) return;
      setBit(states, row);
      if (hasBodies(device, ring.policy, item)) setBit(bodies, row);
    });
    return { device: device.id, policy: ring.policy, version: ring.version, states, bodies };
  }
}

function hasBodies(
  device: Device,
  policy: number,
  { buckets, holdsBodies }: OwnPartition,
): boolean {
  if (!holdsBodies || policy === CONTAINER_RING || policy === ACCOUNT_RING) return true;
  const [summary] = device.digests.summarise(policy, buckets.from, buckets.to, 1);
  return (summary?.bodiless ?? 0) === 0;
}

const DEADLINE_MS = 5_000;
const MAX_REPORTS = 65_536;

/** Of all nodes that answer. */
export async function askMoves(
  { log }: Pick<Env, 'log'>,
  caller: Caller,
  cluster: ClusterSource,
): Promise<MoveReport[]> {
  const nodes = [...cluster.current().nodes.keys()];
  const replies = await Promise.all(
    nodes.map(async (node) => {
      try {
        const options = { txn: 'moves', deadlineMs: DEADLINE_MS };
        return parseMoves((await caller.call(node, 'device.moves', {}, options)).result);
      } catch (error) {
        log.debug('ring.moves-silent', { node, error });
        return [];
      }
    }),
  );
  return replies.flat();
}

/** @throws OperatingError `malformed` */
function parseMoves(result: unknown): readonly MoveReport[] {
  const { reports } = (result ?? {}) as Partial<Record<keyof MovesReply, unknown>>;
  if (!Array.isArray(reports) || reports.length > MAX_REPORTS) throw malformed();
  return (reports as unknown[]).map((item) => {
    const fields = (item ?? {}) as Partial<Record<keyof MoveReport, unknown>>;
    const { device, policy, version, states, bodies } = fields;
    const numbers = [device, policy, version];
    const isGood = numbers.every((value) => Number.isSafeInteger(value) && (value as number) >= 0);
    const hasBits = states instanceof Uint8Array && bodies instanceof Uint8Array;
    if (!isGood || !hasBits) throw malformed();
    return fields as MoveReport;
  });
}

function malformed(): OperatingError {
  return new OperatingError('malformed', 'a reply about moves has another form');
}
