/**
 * Reads of objects: the quorum read, what a client may see of its result, the repair of what was
 * found stale, and the reader of the body.
 */
import {
  bodyLength,
  dataTimestamp,
  EMPTY_STATE,
  type EntryState,
  hasBytesOf,
  isLive,
} from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import type { ReadArgs, StatArgs, StatReply } from '#object/calls.ts';
import { nowSeconds, type ProxyContext, unavailable } from './context.ts';
import type { ObjectReader, Operation } from './contract.ts';
import { Download, HANDOFFS } from './download.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
import { type Answer, type FullReply, quorumRead, type ReadResult } from './quorum-read.ts';
import type { Repairs } from './repair.ts';
import { asFullReply } from './replies.ts';
import type { Trace } from './trace.ts';

export interface ObjectRead {
  readonly operation: Operation;
  readonly trace: Trace;
  readonly place: Place;
  /** Whether the container lets a read fall back on the best version found. */
  readonly mayDegrade: boolean;
  readonly wantsBody: boolean;
  /** In a strict container: settles what is undecided, or writes what there is anew (rounds.ts). */
  readonly settle?: (anew?: boolean) => Promise<EntryState>;
}

export interface FoundState {
  readonly state: EntryState;
  readonly degraded: boolean;
  readonly result: ReadResult;
}

/**
 * The newest state, live or not.
 * @throws OperatingError `unavailable`, `undecided`
 */
export async function readState(
  context: ProxyContext,
  repairs: Repairs,
  read: ObjectRead,
): Promise<FoundState> {
  const { operation, settle } = read;
  if (operation.read !== 'newest' || settle === undefined) return readOnce(context, repairs, read);
  if (operation.decides) await settle(true);
  for (let attempt = 0; attempt < MAX_SETTLING; attempt++) {
    const result = await askReplicas(context, read);
    if (!result.quorum) throw unavailable('read', result.codes);
    const agreed = agreement(result, read.place);
    if (agreed !== undefined) return { state: agreed.state, degraded: false, result: agreed };
    // Where settling finds nothing to do and the replicas still differ, somebody keeps what nobody has.
    await settle(attempt >= MAX_SETTLING / 2);
  }
  throw new OperatingError('undecided', 'the object is written all the time');
}

/** How often others may come between what a read has settled and its look at it. */
const MAX_SETTLING = 8;

/** What a majority of complete replicas tells alike, if nothing can surface over it any more. */
function agreement(result: ReadResult, place: Place): ReadResult | undefined {
  const counted = result.answers.filter(({ counts }) => counts);
  const version = counted[0]?.version ?? '';
  if (!counted.every((answer) => answer.certain && answer.version === version)) return undefined;
  if (!place.quorum.isWrite(new Set(counted.map(({ replica }) => replica.member))))
    return undefined;
  const known = result.answers.find((answer) => answer.version === version && answer.state);
  return { ...result, version, state: known?.state ?? EMPTY_STATE };
}

async function readOnce(
  context: ProxyContext,
  repairs: Repairs,
  read: ObjectRead,
): Promise<FoundState> {
  const { operation, mayDegrade } = read;
  const result = await askReplicas(context, read);
  if (operation.read === 'newest' && result.quorum) await writeBack(repairs, read, result);
  else if (operation.read !== 'nearest') repairStale(repairs, read, result);
  if (result.quorum) return { state: result.state, degraded: false, result };
  // Never a 404 this way: only a version that is there can be served.
  if (mayDegrade && isLive(result.state, nowSeconds(context.env))) {
    return { state: result.state, degraded: true, result };
  }
  throw unavailable('read', result.codes);
}

/** Each replica as it is; nothing is mended. */
export function askReplicas(context: ProxyContext, read: ObjectRead): Promise<ReadResult> {
  const { operation, place, mayDegrade, trace } = read;
  return quorumRead({
    env: context.env,
    peers: context.peers,
    place,
    hedgeMs: context.limits.hedgeMs,
    read: operation.read,
    handoffs: mayDegrade ? place.primaries.length : 0,
    full: (replica) => fullCall(context, read, replica),
    brief: (replica) => statCall(context, trace, place, replica),
    onHedge: () => context.metrics.count('hedge'),
  });
}

/** One of them. @throws WireError, OperatingError */
export async function askReplica(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  replica: Replica,
): Promise<Answer> {
  const reply = await statCall(context, trace, place, replica, false);
  const { version, hasBody, certain } = reply;
  const state = reply.state === null ? undefined : decodeState(reply.state);
  const counts = place.quorum.countsIn(replica.member, reply.complete);
  return { replica, version, state, hasBody, certain, counts };
}

/** Undefined: honestly not there. @throws OperatingError `unavailable`, `undecided` */
export async function openObject(
  context: ProxyContext,
  repairs: Repairs,
  read: ObjectRead,
): Promise<ObjectReader | undefined> {
  const found = await readState(context, repairs, read);
  const first = await readerOf(context, read, found);
  if (first !== 'no-body') return first;
  const second = await readerOf(context, read, await withoutEmpty(context, repairs, read, found));
  if (second !== 'no-body') return second;
  const { path } = read.place;
  throw new OperatingError('unavailable', 'no replica has the body', { path });
}

/**
 * What nobody can give and a majority never knew was not acknowledged: the rounds go on without it.
 * Outside of strict containers it may have been, by stand-ins; there the best version found is served.
 */
async function withoutEmpty(
  context: ProxyContext,
  repairs: Repairs,
  read: ObjectRead,
  found: FoundState,
): Promise<FoundState> {
  if (!read.mayDegrade) {
    await read.settle?.(true);
    return readState(context, repairs, read);
  }
  let best: EntryState | undefined;
  for (const { hasBody, state } of found.result.answers) {
    if (!hasBody || state === undefined || !isLive(state, nowSeconds(context.env))) continue;
    if (best === undefined || dataTimestamp(state) > dataTimestamp(best)) best = state;
  }
  return best === undefined ? found : { ...found, state: best, degraded: true };
}

async function readerOf(
  context: ProxyContext,
  read: ObjectRead,
  { state, degraded, result }: FoundState,
): Promise<ObjectReader | undefined | 'no-body'> {
  if (!isLive(state, nowSeconds(context.env)) || state.data === undefined) return undefined;
  const { data } = state;
  const length = data.body?.length ?? 0;
  const holders = result.answers.filter((answer) => holdsVersion(answer, result, state));
  const inline = length === 0 ? Buffer.alloc(0) : holders.find((answer) => answer.inline)?.inline;
  const { operation, trace, place } = read;
  let sources = context.peers.nearestFirst(holders.map((answer) => answer.replica));
  if (sources.length === 0 && length > 0) sources = await locateBody(context, read, state);
  if (sources.length === 0 && length > 0) return 'no-body';
  const download = new Download({ context, operation, trace, place, data, sources });
  return {
    state,
    length,
    degraded,
    ...(inline !== undefined && { inline }),
    read: (start, end) =>
      inline === undefined ? download.read(start, end) : slice(inline, start, end),
  };
}

/** None of those that were asked has it: the first of the others, or of the stand-ins, that does. */
async function locateBody(
  context: ProxyContext,
  { trace, place }: ObjectRead,
  state: EntryState,
): Promise<Replica[]> {
  const asked = [...place.primaries, ...place.handoffs(HANDOFFS)].map(async (replica) => {
    const reply = await statCall(context, trace, place, replica, false);
    const known = reply.state === null ? EMPTY_STATE : decodeState(reply.state);
    const has = hasBytesOf({ ...reply, state: known }, state);
    return has ? replica : Promise.reject(new OperatingError('no-body', 'it has another version'));
  });
  return Promise.any(asked).then(
    (replica) => [replica],
    () => [],
  );
}

async function* slice(body: Buffer, start: number, end: number): AsyncGenerator<Buffer> {
  if (start < end) yield body.subarray(start, end);
}

/** Those that have the body of the newest version. */
export function holdersOf(result: ReadResult): Answer[] {
  return result.answers.filter((answer) => holdsVersion(answer, result, result.state));
}

/** Whether this replica has the body of exactly the version that is read. */
function holdsVersion(answer: Answer, result: ReadResult, state: EntryState): boolean {
  if (!answer.hasBody) return false;
  if (answer.version === result.version) return true;
  return answer.state !== undefined && hasBytesOf({ hasBody: true, state: answer.state }, state);
}

function fullCall(context: ProxyContext, read: ObjectRead, replica: Replica): Promise<FullReply> {
  const { trace, place, wantsBody } = read;
  if (!wantsBody) return statCall(context, trace, place, replica, false);
  const inlineUpTo = context.limits.inlineReadBytes;
  const args: ReadArgs = { ...addressOf(place, replica), inlineUpTo };
  return call(context, trace, replica, 'object.read', args);
}

function statCall(
  context: ProxyContext,
  trace: Trace,
  place: Place,
  replica: Replica,
  brief = true,
): Promise<StatReply> {
  const args: StatArgs = { ...addressOf(place, replica), brief };
  return call(context, trace, replica, 'object.stat', args);
}

async function call(
  context: ProxyContext,
  trace: Trace,
  replica: Replica,
  method: string,
  args: object,
): Promise<FullReply> {
  const { result } = await context.calls.call(trace, replica, method, args, {
    ringVersion: replica.ringVersion,
    deadlineMs: context.limits.readDeadlineMs,
  });
  return asFullReply(result);
}

/** Whom a read found behind: another version, or the version without its body. */
function* stale(result: ReadResult, place: Place): Generator<Answer> {
  const needsBody = bodyLength(result.state) > 0;
  const primaries = new Set(place.primaries.map((replica) => replica.member));
  for (const answer of result.answers) {
    if (!primaries.has(answer.replica.member)) continue;
    const bodiless = needsBody && answer.replica.holdsBody && !answer.hasBody;
    if (answer.version !== result.version || bodiless) yield answer;
  }
}

function repairStale(repairs: Repairs, read: ObjectRead, result: ReadResult): void {
  if (result.version === '') return;
  for (const answer of stale(result, read.place)) {
    const repair = repairOf(read, result, answer);
    // What no replica of its policy has is for the move to bring.
    const isMove = read.place.isMoving && repair.body === undefined && repair.sources.length === 0;
    if (!isMove || bodyLength(result.state) === 0) repairs.enqueue(repair);
  }
}

/**
 * In containers that are not strict, a `newest` read brings a majority to what it answers before it
 * answers, so that the next one can't see less.
 * @throws OperatingError `unavailable`
 */
async function writeBack(repairs: Repairs, read: ObjectRead, result: ReadResult): Promise<void> {
  if (result.version === '') return;
  const agreed = new Set(
    result.answers
      .filter(({ counts, version }) => counts && version === result.version)
      .map(({ replica }) => replica.member),
  );
  for (const answer of stale(result, read.place)) {
    const { member } = answer.replica;
    if (await repairs.now(repairOf(read, result, answer))) if (answer.counts) agreed.add(member);
  }
  if (!read.place.quorum.isWrite(agreed)) throw unavailable('newest', result.codes);
}

function repairOf(read: ObjectRead, result: ReadResult, answer: Answer) {
  const { state } = result;
  const holders = holdersOf(result);
  const body = holders.find((other) => other.inline !== undefined)?.inline;
  const near = holders.filter(({ replica: { policy } }) => policy === answer.replica.policy);
  return {
    txn: read.trace.txn,
    place: read.place,
    replica: answer.replica,
    state,
    sources: near.map(({ replica: { device, node } }) => ({ device, node })),
    ...(body !== undefined && body.length > 0 && { body }),
  };
}
