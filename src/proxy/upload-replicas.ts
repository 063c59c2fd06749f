/**
 * Who takes a streamed body. Primaries that answer, and a stand-in for each one that doesn't; the slowest
 * that is needed sets the pace. With write affinity (`local`) only devices of this site set it: its
 * primaries, and stand-ins up to the copies that are promised. The far primaries then *follow*: they get
 * a body that is small enough to be kept for them whole, but nobody waits for them. A longer one comes
 * to them as what an absent primary has missed: from the stand-in's handover, or by `object.compare`.
 * Sending them what fits until their queue is full would carry those bytes over the distance twice.
 */
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { ProxyContext } from './context.ts';
import type { Place, Replica } from './placement.ts';
import { probe, probeMajority } from './readiness.ts';
import type { Trace } from './trace.ts';
import { LOCAL_COPIES } from './write-round.ts';

export interface UploadReplicas {
  readonly replicas: readonly Replica[];
  readonly followers: readonly Replica[];
}

export interface UploadKind {
  readonly mode: ConsistencyMode;
  /** As declared; undefined: not known before its end. */
  readonly length: number | undefined;
}

/** @throws OperatingError `unavailable` (in `strict`) */
export async function uploadReplicas(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  { mode, length }: UploadKind,
): Promise<UploadReplicas> {
  const near = mode === 'local' ? await nearReplicas(context, trace, place) : undefined;
  if (near !== undefined) {
    return { replicas: near, followers: followers(context, place, length) };
  }
  const failed = await probeMajority(context, trace, place, mode === 'strict');
  const holders = place.primaries.filter((replica) => replica.holdsBody);
  const present = holders.filter((replica) => !failed.has(replica.member));
  const standIns = place.handoffs(holders.length - present.length);
  return { replicas: [...present, ...standIns], followers: [] };
}

/** Stand-ins that may be tried, at the own site and elsewhere. */
const SPARES = 4;

/** Who else can have the body, when some of those that were asked have failed: nearest first. */
export function spareReplicas(
  { self, peers }: ProxyContext,
  place: Place,
  asked: readonly Replica[],
): Replica[] {
  const standIns = [...place.handoffsAt(self.site, SPARES), ...place.handoffs(SPARES)];
  const known = new Set(asked.map(({ member }) => member));
  const spares = [...place.primaries, ...standIns].filter(({ member, holdsBody }) => {
    const isSpare = holdsBody && !known.has(member);
    known.add(member);
    return isSpare;
  });
  return peers.nearestFirst(spares);
}

/** Undefined: this site has too few devices that answer, so the others are needed. */
async function nearReplicas(
  context: ProxyContext,
  trace: Trace,
  place: Place,
): Promise<Replica[] | undefined> {
  const { site } = context.self;
  const primaries = place.primaries.filter((one) => one.site === site && one.holdsBody);
  const candidates = [...primaries, ...place.handoffsAt(site, LOCAL_COPIES)].filter(
    ({ device }) => !context.peers.isLimited(device),
  );
  if (candidates.length < LOCAL_COPIES) return undefined;
  const isEnough = (alive: ReadonlySet<number>): boolean => alive.size >= LOCAL_COPIES;
  const { alive } = await probe(context, trace, { place, replicas: candidates, isEnough });
  const present = candidates.filter(({ member }) => alive.has(member));
  if (present.length < LOCAL_COPIES) return undefined;
  const wanted = present.filter((replica) => primaries.includes(replica)).length;
  return present.slice(0, Math.max(wanted, LOCAL_COPIES));
}

function followers(
  { self, peers, limits }: ProxyContext,
  { primaries }: Place,
  length: number | undefined,
): Replica[] {
  if (length === undefined || length > limits.streamBufferBytes) return [];
  return primaries.filter(
    ({ site, holdsBody, device }) => site !== self.site && holdsBody && !peers.isLimited(device),
  );
}
