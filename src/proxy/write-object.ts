/**
 * Writes one state of an object to its replicas: rounds until a majority acknowledges a timestamp.
 * Bodies, deletions and metadata differ only in the state they make and the body they send.
 *
 * A write with a condition goes through the conditional rounds (rounds.ts), and so does a plain one as
 * soon as a replica says that such a write came before; also one that some replicas took while others had
 * something newer: sent again above that, it might take effect a second time.
 */
import { dataTimestamp, type EntryState, join } from '#base/entry.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Previous } from '#object/calls.ts';
import { ALWAYS, type Condition, IF_PRESENT } from './condition.ts';
import { type ProxyContext, unavailable } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import { failure, objectRound, type SentBody } from './object-round.ts';
import type { Place, Replica } from './placement.ts';
import type { OwnWrite } from './round-record.ts';
import { writeByRounds } from './rounds.ts';
import type { Trace } from './trace.ts';
import { type Ack, newerPrevious, type RoundResult } from './write-round.ts';

export interface ObjectWrite {
  readonly trace: Trace;
  readonly place: Place;
  readonly container: ContainerInfo;
  /** The same in all attempts of this write, also by another ring. */
  readonly own: OwnWrite;
  /** Only while this holds; evaluated by the rounds, on what a majority agrees on. */
  readonly condition?: Condition;
  /** The state to write, at this timestamp; `current`: over what, where the rounds have found it. */
  readonly stateAt: (timestamp: Timestamp, current?: EntryState) => EntryState;
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
  readonly kind: 'written';
  /** As it was written. */
  readonly state: EntryState;
  readonly ack: Ack;
  readonly previous: Previous;
}

/** The condition does not hold of this state, which is what the key is. */
export interface Refused {
  readonly kind: 'refused';
  readonly state: EntryState;
}

/**
 * @throws OperatingError `unavailable`, `undecided`, `container-mismatch`, `no-container`, `clock-drift`
 */
export async function writeObject(
  context: ProxyContext,
  write: ObjectWrite,
): Promise<Written | Refused> {
  if (write.condition !== undefined) return writeByRounds(context, write, write.condition);
  const { clock, limits, metrics } = context;
  let timestamp = write.above === undefined ? clock.now() : clock.above(write.above);
  let afterRound = write.above !== undefined;
  let previous: Previous | undefined;
  const { own } = write;
  const isStrict = write.container.mode === 'strict';
  for (let round = 0; round < limits.writeRounds; round++) {
    const state = write.stateAt(timestamp);
    const result = await plainRound(context, write, state, afterRound);
    if (result.kind === 'acknowledged') {
      const { ack } = result;
      const found = newerPrevious(own.previous, previous ?? result.previous);
      const live = found.live || own.isUntold || !result.told;
      return { kind: 'written', state, ack, previous: { ...found, live } };
    }
    const isOver = result.kind === 'failed' || result.kind === 'refused';
    // Where it may be stored, later attempts must know it again, also by another ring.
    if (isOver || result.mayBeStored) {
      const above = afterRound ? timestamp : heardBy(result, timestamp);
      own.sent = [...own.sent, { timestamp, above }];
    }
    if (isOver) {
      own.previous = newerPrevious(own.previous, result.previous);
      own.isUntold ||= !result.told;
      throw failure(result);
    }
    // What the first round found is what was there before; the second may find the first's own.
    previous ??= result.previous;
    if (result.kind === 'use-rounds' || (isStrict && result.mayBeStored)) {
      // Whoever has not told yet may have taken the write, and the rounds will find only that (seed 7204).
      own.isUntold ||= !result.told;
      own.wasLive = newerPrevious(own.previous, previous).live || own.isUntold;
      // Metadata are of an object that is there; by now it may not be.
      const condition = state.data === undefined ? IF_PRESENT : ALWAYS;
      return writeByRounds(context, write, condition);
    }
    timestamp = clock.above(result.newest);
    afterRound = true;
    metrics.count('write-round');
  }
  throw unavailable('too many rounds');
}

/** What is newer came after the write had begun; undefined: too few have told. */
function heardBy(result: RoundResult, timestamp: Timestamp): Timestamp | undefined {
  const isHeard = (result.kind === 'superseded' || result.kind === 'use-rounds') && result.heard;
  return isHeard ? maxTimestamp(timestamp, result.newest) : undefined;
}

function plainRound(
  context: ProxyContext,
  write: ObjectWrite,
  state: EntryState,
  afterRound: boolean,
): Promise<RoundResult> {
  const { place, container, trace, staged, base } = write;
  return objectRound(context, {
    trace,
    place,
    container,
    mode: container.mode,
    state,
    shown: base === undefined ? state : join(base, state),
    afterRound,
    standIns: staged === undefined,
    extra: staged?.extra,
    call: 'object.write',
    bodyFor: (replica) => ownBody(write, replica),
  });
}

/** What a replica needs of the write's own body. */
export async function ownBody(
  { body, staged }: Pick<ObjectWrite, 'body' | 'staged'>,
  replica: Replica,
): Promise<SentBody> {
  if (!replica.holdsBody) return {};
  if (staged !== undefined) return { stage: await staged.stageAt(replica) };
  return body === undefined ? {} : { body };
}

export function previousOf(state: EntryState, newest: Timestamp, live: boolean): Previous {
  return { data: state.data === undefined ? ZERO_TIMESTAMP : dataTimestamp(state), newest, live };
}
