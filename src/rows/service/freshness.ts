/**
 * Brings one replica's rows of a container up to date before a listing (consistency.md, "List").
 *
 * A write is acknowledged when its row is on W complete replicas. This replica pulls from R-1 other
 * complete ones what they committed since its last pull; with its own rows these are R, and one of any
 * R has the row. The pull begins after the listing arrived and reaches to what the peer has when it gives its
 * last page, nearly always the first, so the cost is the rows in flight.
 *
 * One pull serves all listings that arrived before it began: those that come while one is under way
 * share the next.
 *
 * A cursor (peer, incarnation of its database, sequence) says what has been taken in; it moves only
 * after the rows are durable here. Without a cursor the digests decide: equal ones mean that this
 * replica has all that the peer has, so the peer's sequence becomes the cursor without a row sent.
 */
import { isDead } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import type { Rest } from '#worker/job.ts';
import { DIGEST_BYTES } from '../digest.ts';
import { MAX_PULL_ROWS, parsePull } from './arguments.ts';
import type { PulledRow, PullReply, RowTarget } from './calls.ts';
import type { RowContext, RowDevice } from './context.ts';
import { Gathering } from './gathering.ts';
import { parsePullReply } from './replies.ts';
import { Rounds } from './rounds.ts';

/** Rows of one page; a page is also cut at MAX_PAGE_BYTES. */
const PAGE_ROWS = 1000;
const MAX_PAGE_BYTES = 512 * 1024;
/** Stored in one turn, while everybody else waits: a whole page took 50 ms of a refill's first seconds. */
const ROWS_AT_ONCE = 128;
const CALL_DEADLINE_MS = 2000;
/** A whole pull: after a long absence it may be a million rows; what was taken in stays. */
const PULL_DEADLINE_MS = 60_000;
const RESTING_DEADLINE_MS = 300_000;

export interface PullWish {
  readonly hash: Buffer;
  readonly path: string;
  readonly txn: string;
  /** Between pieces, where nobody waits for the rows. */
  readonly rest?: Rest;
}

export class Freshness {
  readonly #context: RowContext;
  readonly #rounds = new Rounds<void>();

  constructor(context: RowContext) {
    this.#context = context;
  }

  /** @throws OperatingError `unavailable`; the device's errors, when rows can't be stored here */
  bringUpToDate(target: RowDevice, wish: PullWish): Promise<void> {
    const key = `${target.device.id} ${wish.hash.toString('latin1')}`;
    return this.#rounds.run(key, () => this.#pull(target, wish));
  }

  async #pull(target: RowDevice, wish: PullWish): Promise<void> {
    const context = this.#context;
    const replicas = context.replicasFor(target, wish.hash);
    const self = { device: target.device.id, complete: context.isComplete(target, wish.hash) };
    const pull = (peer: RowTarget) => this.pullFrom(target, peer, wish, replicas.ringVersion);
    await new Gathering(context.options.env.clock, replicas, self, pull).untilEnough();
  }

  /**
   * Takes in what `peer` committed; whether the peer is complete.
   * @throws OperatingError `timeout` when it takes too long; wire errors; the device's errors
   */
  async pullFrom(
    target: RowDevice,
    peer: RowTarget,
    wish: PullWish,
    ringVersion: number,
  ): Promise<boolean> {
    const { clock } = this.#context.options.env;
    const deadlineMs = wish.rest === undefined ? PULL_DEADLINE_MS : RESTING_DEADLINE_MS;
    const endMs = clock.monotonicMs() + deadlineMs;
    for (let isFirst = true; ; isFirst = false) {
      const reply = await this.#page(target, peer, wish, ringVersion, isFirst);
      await this.#takeIn(target, peer, wish, reply);
      // Not as far as the peer was at first: a row that is overwritten meanwhile moves behind that.
      if (reply.equal || !reply.more) return reply.complete;
      if (clock.monotonicMs() > endMs)
        throw new OperatingError('timeout', 'a pull took too long', { peer: peer.node });
    }
  }

  async #page(
    target: RowDevice,
    peer: RowTarget,
    { hash, path, txn }: PullWish,
    ringVersion: number,
    isFirst: boolean,
  ): Promise<PullReply> {
    const { ring } = this.#context;
    const cursor = target.rows.cursor(ring, hash, peer.device);
    const incarnation = cursor?.incarnation ?? null;
    const since = cursor?.sequence ?? 0;
    const digest = target.rows.facts(ring, hash)?.digest ?? Buffer.alloc(DIGEST_BYTES);
    const args = { hash, path, ringVersion, incarnation, since, limit: PAGE_ROWS, digest };
    // The first page is what a listing waits for; more of them are a large transfer.
    const lane = isFirst ? ('calls' as const) : ('bulk' as const);
    const options = { txn, deadlineMs: CALL_DEADLINE_MS, lane };
    return parsePullReply(await this.#context.call(peer, 'pull', args, options));
  }

  async #takeIn(
    target: RowDevice,
    peer: RowTarget,
    { hash, path, rest }: PullWish,
    reply: PullReply,
  ): Promise<void> {
    const { ring } = this.#context;
    const key = { policy: ring, hash };
    const take = async ({ name, state: bytes }: PulledRow): Promise<void> => {
      const state = decodeState(bytes);
      if (this.#context.isReclaimed(target, hash, name, state)) return;
      await target.rows.write({ key, path, name, state });
    };
    for (let i = 0; i < reply.rows.length; i += ROWS_AT_ONCE) {
      await Promise.all(reply.rows.slice(i, i + ROWS_AT_ONCE).map(take));
      await rest?.();
    }
    // Once more: an old deletion of the container is nothing to who has no row that it is of.
    const own = reply.rows.find(({ name }) => name === '');
    if (own !== undefined) await take(own);
    const { incarnation, sequence } = reply;
    const known = target.rows.cursor(ring, hash, peer.device);
    if (known?.incarnation === incarnation && known.sequence === sequence) return;
    target.rows.setCursor(ring, hash, peer.device, { incarnation, sequence });
  }
}

/** container.pull, the other side of it. */
export function pullCall(context: RowContext, args: unknown): { result: PullReply } {
  const request = parsePull(args);
  const target = context.open(request.device, request.ringVersion, request.hash);
  const { rows } = target;
  const { hash } = request;
  const complete = context.isComplete(target, hash);
  const { incarnation } = rows;
  const facts = rows.facts(context.ring, hash);
  const upTo = facts?.sequence ?? 0;
  const digest = facts?.digest ?? Buffer.alloc(DIGEST_BYTES);
  if (digest.equals(request.digest)) {
    return {
      result: { incarnation, sequence: upTo, upTo, complete, equal: true, more: false, rows: [] },
    };
  }
  // A cursor beyond what is here was taken before this device lost its last rows: begin anew.
  const isKnown = request.incarnation === incarnation && request.since <= upTo;
  const since = isKnown ? request.since : 0;
  const page = pageOf(rows, context.ring, hash, since, Math.min(request.limit, MAX_PULL_ROWS));
  const more = page.sequence !== undefined && page.sequence < upTo;
  const sequence = more ? page.sequence! : upTo;
  if (!more) addTombstone(page.rows, context, target, hash);
  return { result: { incarnation, sequence, upTo, complete, equal: false, more, rows: page.rows } };
}

/**
 * A container that lives by its rows alone: its deletion, with the settings, comes behind the last of them. Who was
 * told of it before had no row yet, and refused it as one that is reclaimed.
 */
function addTombstone(
  page: PulledRow[],
  { ring }: RowContext,
  { rows }: RowDevice,
  hash: Buffer,
): void {
  const own = rows.read(ring, hash, '');
  if (own === undefined || !isDead(own) || page.some(({ name }) => name === '')) return;
  page.push({ name: '', state: encodeState(own) });
}

function pageOf(rows: RowDevice['rows'], ring: number, hash: Buffer, since: number, limit: number) {
  const page: PulledRow[] = [];
  let bytes = 0;
  let sequence: number | undefined;
  for (const change of rows.changes(ring, hash, since, limit)) {
    const state = encodeState(change.state);
    page.push({ name: change.name, state });
    sequence = change.sequence;
    bytes += state.length + change.name.length;
    if (bytes > MAX_PAGE_BYTES) break;
  }
  return { rows: page, sequence };
}
