/**
 * Brings one name of a moving container to the policy that it moves to: what a majority of the old and
 * of the new policy know, joined, as it is (timestamps, write id, metadata, sealed bytes), to whoever of the
 * new policy lacks it. A copy is never an acknowledgement, and joining one again, or late, changes
 * nothing: whatever is newer there wins.
 *
 * Done when a majority of the new policy is known to have it, bodies included.
 */
import { bodyLength, type EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import type { WriteArgs } from '#object/calls.ts';
import { type ProxyContext, unavailable } from '../context.ts';
import type { Operation } from '../contract.ts';
import { Download } from '../download.ts';
import { addressOf, type Place, type Replica } from '../placement.ts';
import type { Answer, ReadResult } from '../quorum-read.ts';
import { askReplica, askReplicas, holdersOf } from '../read-object.ts';
import { asStageReply } from '../replies.ts';
import type { Trace } from '../trace.ts';

export interface NameMove {
  readonly trace: Trace;
  /** Of a container that moves (Place.isMoving). */
  readonly place: Place;
  readonly signal?: AbortSignal;
}

/** One look finds who lacks it, the next that it is there; others may write in between. */
const MAX_LOOKS = 5;
const NEVER = new AbortController().signal;

/**
 * `copied`: it was brought. `there`: it had been, or nothing is known of the name.
 * @throws OperatingError `unavailable` (`no-body` among its codes: nobody who answers has the body)
 */
export async function moveName(context: ProxyContext, move: NameMove): Promise<'copied' | 'there'> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    const first = await lookAt(context, move);
    if (isThere(first, move.place)) return look === 0 ? 'there' : 'copied';
    const result = await heardAll(context, move, first);
    if (isThere(result, move.place)) return look === 0 ? 'there' : 'copied';
    const behind = result.answers.filter((answer) => isBehind(result, move.place, answer));
    const done = await Promise.allSettled(
      behind.map(({ replica }) => copyTo(context, move, result, replica)),
    );
    const failed = done.find((one) => one.status === 'rejected');
    if (failed !== undefined && look === MAX_LOOKS - 1) throw failed.reason;
  }
  throw unavailable('the copies of the new policy');
}

async function lookAt(
  context: ProxyContext,
  { trace, place, signal }: NameMove,
): Promise<ReadResult> {
  const operation: Operation = { txn: trace.txn, signal: signal ?? NEVER, read: 'newest' };
  const read = { operation, trace, place, mayDegrade: false, wantsBody: false };
  const result = await askReplicas(context, read);
  if (!result.quorum) throw unavailable('move', result.codes);
  return result;
}

/** With those of the new policy that a majority did not wait for: one of them may have the other body. */
async function heardAll(
  context: ProxyContext,
  { trace, place }: NameMove,
  result: ReadResult,
): Promise<ReadResult> {
  const heard = new Set(result.answers.map(({ replica }) => replica.member));
  const missing = place.target.primaries.filter(({ member }) => !heard.has(member));
  const more = await Promise.allSettled(
    missing.map((replica) => askReplica(context, trace, place, replica)),
  );
  const answers = [...result.answers];
  for (const one of more) if (one.status === 'fulfilled') answers.push(one.value);
  return { ...result, answers };
}

function isThere(result: ReadResult, { target }: Place): boolean {
  if (result.version === '') return true;
  const good = result.answers.filter(
    ({ replica, counts, version, hasBody }) =>
      counts &&
      replica.policy === target.policy &&
      version === result.version &&
      (hasBody || !replica.holdsBody || bodyLength(result.state) === 0),
  );
  if (!target.quorum.isWrite(new Set(good.map(({ replica }) => replica.member)))) return false;
  return bodyLength(result.state) === 0 || target.hasBodies(good.map(({ replica }) => replica));
}

function isBehind(result: ReadResult, { policy }: Place, answer: Answer): boolean {
  if (answer.replica.policy !== policy) return false;
  const needsBody = answer.replica.holdsBody && bodyLength(result.state) > 0;
  return answer.version !== result.version || (needsBody && !answer.hasBody);
}

async function copyTo(
  context: ProxyContext,
  move: NameMove,
  result: ReadResult,
  replica: Replica,
): Promise<void> {
  const { state } = result;
  const length = bodyLength(state);
  if (length === 0 || !replica.holdsBody) return await joinAt(context, move, replica, state, {});
  const body = bytesOf(context, move, result);
  if (length > context.limits.inlineBytes) {
    const stage = await stageAt(context, move, replica, body);
    return await joinAt(context, move, replica, state, { stage });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  await joinAt(context, move, replica, state, { body: Buffer.concat(chunks) });
}

/** The body of exactly this version, from whoever has it. */
function bytesOf(
  context: ProxyContext,
  { trace, place, signal = NEVER }: NameMove,
  result: ReadResult,
): AsyncGenerator<Buffer> {
  const { data } = result.state;
  const holders = holdersOf(result).map(({ replica }) => replica);
  const sources = context.peers.nearestFirst(holders);
  if (data === undefined || sources.length === 0) throw unavailable('move', ['no-body']);
  const operation: Operation = { txn: trace.txn, signal, read: 'quorum' };
  const download = new Download({ context, operation, trace, place, data, sources });
  return download.read(0, bodyLength(result.state));
}

async function stageAt(
  context: ProxyContext,
  { trace, place }: NameMove,
  replica: Replica,
  body: AsyncIterable<Buffer>,
): Promise<string> {
  const args = { ...addressOf(place, replica), path: place.path };
  const { result } = await context.calls.call(trace, replica, 'object.stage', args, {
    ringVersion: replica.ringVersion,
    deadlineMs: context.limits.streamDeadlineMs,
    body,
  });
  return asStageReply(result).stage;
}

async function joinAt(
  context: ProxyContext,
  { trace, place }: NameMove,
  replica: Replica,
  state: EntryState,
  bytes: Pick<WriteArgs, 'body' | 'stage'>,
): Promise<void> {
  const args: WriteArgs = {
    ...addressOf(place, replica),
    path: place.path,
    state: encodeState(state),
    intent: 'join',
    ...bytes,
  };
  const { result } = await context.calls.call(trace, replica, 'object.write', args, {
    ringVersion: replica.ringVersion,
    deadlineMs: context.limits.writeDeadlineMs,
    lane: 'bulk',
  });
  const { outcome } = result as { readonly outcome?: unknown };
  if (outcome === 'stored' || outcome === 'superseded') return;
  throw new OperatingError('not-joined', 'the replica did not join what was sent', { outcome });
}
