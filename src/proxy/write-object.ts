/**
 * Writes one state of an object to its replicas: rounds until a majority acknowledges a timestamp.
 * Bodies, deletions and metadata differ only in the state they make and the body they send.
 */

import { type EntryState, join } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { CONTAINER_RING, containerPath } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Previous, WriteArgs } from '#object/calls.ts';
import { rowItem } from '#object/lister.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import type { ProxyContext } from './context.ts';
import { unavailable } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import { type Place, placeOf, type Replica } from './placement.ts';
import { writeQuorum } from './quorum.ts';
import { asRoundReply } from './replies.ts';
import { listingFor, rowPlan } from './row-plan.ts';
import type { Trace } from './trace.ts';
import { type Ack, type RoundReply, type RoundResult, runRound } from './write-round.ts';

export interface ObjectWrite {
  readonly trace: Trace;
  readonly place: Place;
  readonly container: ContainerInfo;
  /** Another promise than the container's, for cleaning up. */
  readonly mode?: ConsistencyMode;
  /** The state to write, at this timestamp. */
  readonly stateAt: (timestamp: Timestamp) => EntryState;
  /** What the state joins: a metadata update's row shows data that the update does not carry. */
  readonly base?: EntryState;
  readonly body?: Buffer;
  /** A body that was staged: the stage at this replica, when it is there. */
  readonly staged?: {
    readonly stageAt: (replica: Replica) => Promise<string>;
    /** Stand-ins that staged it. */
    readonly extra: readonly Replica[];
  };
  /** The timestamp to start with, above what W replicas told; else a fresh one and no such knowledge. */
  readonly above?: Timestamp;
}

export interface Written {
  readonly timestamp: Timestamp;
  readonly ack: Ack;
  readonly previous: Previous;
}

/** Small bodies travel in the call; larger ones as its body, in frames that hold nobody up and without a copy. */
const BULK_BYTES = 64 * 1024;

/**
 * @throws OperatingError `unavailable`, `container-mismatch`, `no-container`, `clock-drift`
 */
export async function writeObject(context: ProxyContext, write: ObjectWrite): Promise<Written> {
  const { clock, limits, metrics } = context;
  let timestamp = write.above === undefined ? clock.now() : clock.above(write.above);
  let afterRound = write.above !== undefined;
  let previous: Previous | undefined;
  for (let round = 0; round < limits.writeRounds; round++) {
    const result = await oneRound(context, write, timestamp, afterRound);
    if (result.kind === 'acknowledged') {
      return { timestamp, ack: result.ack, previous: previous ?? result.previous };
    }
    if (result.kind !== 'superseded') throw failure(result);
    // What the first round found is what was there before; the second may find the first's own.
    previous ??= result.previous;
    timestamp = clock.above(result.newest);
    afterRound = true;
    metrics.count('write-round');
  }
  throw unavailable('too many rounds');
}

function oneRound(
  context: ProxyContext,
  write: ObjectWrite,
  timestamp: Timestamp,
  afterRound: boolean,
): Promise<RoundResult> {
  const { env, peers, limits, self, metrics } = context;
  const { place, container, trace } = write;
  const state = write.stateAt(timestamp);
  const encoded = encodeState(state);
  const listingPlace = placeOfContainer(context, write);
  const item = () => {
    const shown = write.base === undefined ? state : join(write.base, state);
    const listing = { containerHash: listingPlace.hash, mode: container.mode };
    return rowItem(place.path, shown, { ...listing, policy: container.policy.index })!;
  };
  const rows = rowPlan({ sender: context.objectRows, place: listingPlace, txn: trace.txn, item });
  return runRound({
    env,
    peers,
    place,
    mode: write.mode ?? container.mode,
    site: self.site,
    afterRound,
    bodies: bodiesNeeded(place, state),
    rows,
    rowHedgeMs: limits.rowHedgeMs,
    standIns: write.staged === undefined,
    extra: write.staged?.extra,
    send: (replica, turn) => {
      const listing = listingFor(
        listingPlace,
        { mode: container.mode, policy: place.policy },
        turn,
      );
      return send(context, write, replica, { state: encoded, listing });
    },
    onEvent: (event) => metrics.count(event),
  });
}

function placeOfContainer(context: ProxyContext, write: ObjectWrite): Place {
  const path = containerPath(write.container.name);
  return placeOf(context.cluster.current(), CONTAINER_RING, path);
}

async function send(
  context: ProxyContext,
  write: ObjectWrite,
  replica: Replica,
  { state, listing }: Pick<WriteArgs, 'state' | 'listing'>,
): Promise<RoundReply> {
  const { place, staged } = write;
  const args: { -readonly [K in keyof WriteArgs]: WriteArgs[K] } = {
    device: replica.device,
    policy: place.policy,
    hash: place.hash,
    ringVersion: place.ringVersion,
    path: place.path,
    state,
    listing,
    intent: 'write',
  };
  if (staged !== undefined && replica.holdsBody) args.stage = await staged.stageAt(replica);
  const body = staged === undefined && replica.holdsBody ? write.body : undefined;
  const isBulk = body !== undefined && body.length > BULK_BYTES;
  if (body !== undefined && !isBulk) args.body = body;
  return within(context, replica, body?.length ?? 0, async () => {
    const { result } = await context.calls.call(write.trace, replica, 'object.write', args, {
      ringVersion: place.ringVersion,
      deadlineMs: context.limits.writeDeadlineMs,
      ...(isBulk && { body: once(body) }),
    });
    return asRoundReply(result);
  });
}

async function* once(body: Buffer): AsyncGenerator<Buffer> {
  yield body;
}

/** Sends only what the device's share of unanswered bytes allows. */
async function within<Result>(
  { peers, limits }: ProxyContext,
  { device }: Replica,
  bytes: number,
  work: () => Promise<Result>,
): Promise<Result> {
  if (!peers.reserve(device, bytes, limits.outstandingBytes)) {
    throw new OperatingError('overloaded', 'the device answers too slowly', { device });
  }
  try {
    return await work();
  } finally {
    peers.release(device, bytes);
  }
}

/** A body must survive what a state does: on W devices, or as many as the policy keeps. */
export function bodiesNeeded(place: Place, state: EntryState): number {
  const length = state.data?.body?.length ?? 0;
  if (length === 0) return 0;
  return Math.min(place.copies, writeQuorum(place.quorum.sets.at(-1)!.length));
}

function failure(result: Exclude<RoundResult, { kind: 'acknowledged' | 'superseded' }>): Error {
  if (result.kind === 'failed') return unavailable('write', result.codes);
  const { refused } = result;
  if (refused === 'sealed') return unavailable('the container is being deleted', [refused]);
  return new OperatingError(refused, `the container refused the row: ${refused}`);
}
