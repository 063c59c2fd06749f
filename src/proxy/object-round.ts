/**
 * One round of a state of an object: to its replicas, and its row to those of its container. Plain writes
 * and the accepts of conditional rounds differ in the call, and in who is asked.
 */
import { bodyLength, type EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { CONTAINER_RING, containerPath } from '#base/names.ts';
import type { Target, WriteArgs } from '#object/calls.ts';
import { rowItem } from '#object/lister.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import { type ProxyContext, unavailable } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import { addressOf, type Place, placeOf, type Replica } from './placement.ts';
import { asRoundReply } from './replies.ts';
import { assumedOf, listingFor, rowPlan } from './row-plan.ts';
import type { Trace } from './trace.ts';
import { type RoundReply, type RoundResult, runRound } from './write-round.ts';

export interface ObjectRound {
  readonly trace: Trace;
  readonly place: Place;
  readonly container: ContainerInfo;
  readonly mode: ConsistencyMode;
  readonly state: EntryState;
  /** What its row shows: a metadata update is shown with the data that it does not carry. */
  readonly shown: EntryState;
  readonly afterRound: boolean;
  readonly standIns: boolean;
  /** Stand-ins that have the body already. */
  readonly extra?: readonly Replica[];
  readonly call: 'object.write' | 'object.accept';
  /** What a replica gets beside the state; rejects where it can't be sent. */
  readonly bodyFor: (replica: Replica) => Promise<SentBody>;
}

export interface SentBody {
  readonly body?: Buffer;
  readonly stage?: string;
  readonly sources?: readonly Target[];
}

/** Small bodies travel in the call; larger ones as its body, in frames that hold nobody up and without a copy. */
const BULK_BYTES = 64 * 1024;

export function objectRound(context: ProxyContext, round: ObjectRound): Promise<RoundResult> {
  const { env, peers, limits, self, metrics } = context;
  const { place, container, trace, state, shown } = round;
  const assumed = assumedOf(container);
  const encoded = encodeState(state);
  const listingPlace = placeOf(
    context.cluster.current(),
    CONTAINER_RING,
    containerPath(container.name),
  );
  const item = () => {
    return rowItem(place.path, shown, { containerHash: listingPlace.hash, ...assumed })!;
  };
  const rows = rowPlan({ sender: context.objectRows, place: listingPlace, txn: trace.txn, item });
  return runRound({
    env,
    peers,
    place,
    mode: round.mode,
    site: self.site,
    afterRound: round.afterRound,
    hasBody: bodyLength(state) > 0,
    rows,
    rowHedgeMs: limits.rowHedgeMs,
    roundMs: limits.roundMs,
    standIns: round.standIns,
    extra: round.extra,
    send: async (replica, turn) => {
      const args = { state: encoded, listing: listingFor(listingPlace, assumed, turn) };
      return send(context, round, replica, { ...args, ...(await round.bodyFor(replica)) });
    },
    onEvent: (event) => metrics.count(event),
  });
}

async function send(
  context: ProxyContext,
  { place, trace, call, afterRound }: ObjectRound,
  replica: Replica,
  { body, ...sent }: Pick<WriteArgs, 'state' | 'listing'> & SentBody,
): Promise<RoundReply> {
  const isBulk = body !== undefined && body.length > BULK_BYTES;
  const args: WriteArgs = {
    ...addressOf(place, replica),
    path: place.path,
    intent: call === 'object.accept' ? 'accept' : 'write',
    ...(afterRound && { afterRound }),
    ...sent,
    ...(body !== undefined && !isBulk && { body }),
  };
  return within(context, replica, body?.length ?? 0, async () => {
    const { result } = await context.calls.call(trace, replica, call, args, {
      ringVersion: replica.ringVersion,
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

export function failure(
  result: Exclude<RoundResult, { kind: 'acknowledged' | 'superseded' | 'use-rounds' }>,
): Error {
  if (result.kind === 'failed') return unavailable('write', result.codes);
  const { refused } = result;
  if (refused === 'sealed') return unavailable('the container is being deleted', [refused]);
  return new OperatingError(refused, `the container refused the row: ${refused}`);
}
