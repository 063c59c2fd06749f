/**
 * object.digests and object.states: how two replicas find what differs between them, from sums over
 * ranges of hash buckets down to the states themselves. Bodies travel separately.
 */
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import { BUCKET_BITS, type Device, type Entry } from '#device/contract.ts';
import type { Clock } from '#env/env.ts';
import { type Coverage, coverageOf } from '#ring/coverage.ts';
import { parseFences, raiseFences } from '#ring/fence.ts';
import { checkRanges } from '#ring/ring-check.ts';
import type { Reply } from '#wire/contract.ts';
import { parseDigests, parseStates } from './args.ts';
import type { DigestsReply, RangeDigest, StateItem, StatesArgs, StatesReply } from './calls.ts';
import type { Guard } from './guard.ts';

export const BUCKETS = 2 ** BUCKET_BITS;
/** A reply is one message: large metadata makes pages shorter. */
const MAX_PAGE_BYTES = 2 * 1024 * 1024;
/** Entries read in one turn: clients of this node waited 40 ms for a whole page of a refill elsewhere, 19 ms for 128. */
const AT_ONCE = 32;

export function digestsCall(guard: Guard, args: unknown): Reply {
  const { ranges, ...request } = parseDigests(args);
  const device = guard.device(request);
  checkRanges(device, request, ranges);
  const { policy } = request;
  const complete = coverageOf(device.completeness.ranges(policy));
  const claimed = coverageOf(device.completeness.claimed(policy));
  const result: DigestsReply = {
    incarnation: device.incarnation,
    ranges: ranges.map(([from, to]) => {
      const digest = rangeDigest(device, policy, from, to, complete);
      const fence = device.versions.fenceIn(policy, from, to);
      return { ...digest, claimed: claimed.has(from, to), fence };
    }),
  };
  return { result };
}

export function rangeDigest(
  device: Device,
  policy: PolicyIndex,
  from: number,
  to: number,
  complete: Coverage,
): RangeDigest {
  if (to > BUCKETS || from >= to) throw new OperatingError('malformed', 'range of buckets');
  const [summary] = device.digests.summarise(policy, from, to, 1);
  return {
    sum: Buffer.from(summary!.sum),
    total: summary!.total,
    live: summary!.live,
    complete: complete.has(from, to),
  };
}

/** Over several turns: an entry that changes meanwhile is told as it was before or as it is after. */
export async function statesCall(guard: Guard, clock: Clock, args: unknown): Promise<Reply> {
  const request = parseStates(args);
  const device = guard.device(request);
  const entries: StateItem[] = [];
  let bytes = 0;
  for (const entry of inRanges(device, request)) {
    if (entries.length === request.limit || bytes > MAX_PAGE_BYTES) {
      return { result: { entries, next: entry.key.hash } satisfies StatesReply };
    }
    const item = stateItem(entry);
    bytes += item.state.length + item.path.length;
    entries.push(item);
    if (entries.length % AT_ONCE === 0) await clock.sleep(0);
  }
  return { result: { entries, next: null } satisfies StatesReply };
}

/** object.fence: see ring/fence.ts. */
export async function fenceCall(guard: Guard, args: unknown): Promise<Reply> {
  const request = parseFences(args, BUCKETS);
  const device = guard.deviceById(request.device);
  return { result: await raiseFences(device, guard.ring(request.policy), request) };
}

/** Entries of what was asked for in hash order; one more than the limit says that there is more. */
function* inRanges(device: Device, request: StatesArgs): Generator<Entry> {
  const { policy, ranges, limit } = request;
  const all = ranges ?? [[0, BUCKETS] as const];
  let left = limit + 1;
  for (const [first, end] of all) {
    const to = earlier(bucketHash(end), request.to);
    if (to !== null && Buffer.compare(to, request.from) <= 0) continue;
    let from: Buffer | undefined = later(bucketHash(first) ?? request.from, request.from);
    while (from !== undefined) {
      const asked: number = Math.min(left, AT_ONCE + 1);
      const found: Entry[] = device.entries(policy, from, to ?? undefined, asked);
      const next = asked > AT_ONCE ? found[AT_ONCE] : undefined;
      const slice = found.slice(0, AT_ONCE);
      yield* slice;
      left -= slice.length;
      if (left <= 0) return;
      from = next?.key.hash;
    }
  }
}

function later(a: Buffer, b: Buffer): Buffer {
  return Buffer.compare(a, b) > 0 ? a : b;
}

/** Null: the end of the hash space. */
function earlier(a: Buffer | null, b: Buffer | null): Buffer | null {
  if (a === null || b === null) return a ?? b;
  return Buffer.compare(a, b) < 0 ? a : b;
}

function stateItem({ key, path, state, hasBody, unlisted }: Entry): StateItem {
  return { hash: key.hash, path, state: encodeState(state), hasBody, unlisted };
}

/** The first hash of a bucket; null for the end of the hash space. */
export function bucketHash(bucket: number): Buffer | null {
  if (bucket >= BUCKETS) return null;
  const hash = Buffer.alloc(HASH_BYTES);
  hash.writeUInt32BE((bucket * 2 ** (32 - BUCKET_BITS)) >>> 0);
  return hash;
}
