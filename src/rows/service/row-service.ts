/**
 * One row service: the calls by which proxies, storage nodes and peers write and read the rows of one
 * ring. `container` and `account` differ in their rules only (`RowRules`).
 */
import { dataTimestamp, type EntryState, newestTimestamp } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { BUCKET_BITS } from '#base/hash.ts';
import type { PolicyIndex } from '#base/names.ts';
import { coverageOf } from '#ring/coverage.ts';
import { type Fenced, parseFences, raiseFences } from '#ring/fence.ts';
import { checkRanges } from '#ring/ring-check.ts';
import type { Job } from '#worker/job.ts';
import { cutPage } from '../listing.ts';
import { rowTimestamp } from '../row-state.ts';
import {
  malformed,
  parseAddress,
  parseContainers,
  parseDigests,
  parseList,
  parseOwnState,
  parseRows,
} from './arguments.ts';
import type {
  ContainersReply,
  ListReply,
  OwnListing,
  OwnOutcome,
  OwnStateArgs,
  OwnStateReply,
  RowDigestsReply,
  RowItem,
  RowOutcome,
  RowsArgs,
  RowsReply,
  StateReply,
} from './calls.ts';
import {
  type RowCallContext,
  RowContext,
  type RowDevice,
  type RowHandler,
  type RowServiceOptions,
} from './context.ts';
import { Deletion } from './deletion.ts';
import { Existence } from './existence.ts';
import { Freshness, type PullWish, pullCall } from './freshness.ts';
import { RowHandover } from './handover.ts';
import { CursorKeeper } from './keeper.ts';
import { RowRejoin } from './rejoin.ts';
import { Seals } from './seals.ts';

/** What a container is that an account is not, and the other way round. */
export interface RowRules {
  /** Rows and metadata are refused where the container was not created. Accounts come into being by themselves. */
  readonly mustExist: boolean;
  /** Why this row does not belong into the container as it is. */
  refuse(own: EntryState | undefined, row: RowItem, isDeletion: boolean): RowOutcome | undefined;
  /** The row of something that nobody looks for any more where it is: it is not taken in. */
  isForeign(own: EntryState | undefined, row: RowItem, state: EntryState): boolean;
  /** What of a state to store over what is known; `conflict`: nothing. */
  admit(own: EntryState | undefined, live: boolean, state: EntryState): EntryState | 'conflict';
  /** What to know of a container of which R replicas know too little to find the object of this row, if anything. */
  remake(own: EntryState | undefined, row: RowItem, state: EntryState): EntryState | undefined;
  /** What of a container is kept in its tombstone. */
  tombstone(own: EntryState | undefined, state: EntryState): EntryState;
  /** Lists the own state one level up after it was committed: the complete devices that have it. */
  committed(
    target: RowDevice,
    hash: Buffer,
    listing: OwnListing | undefined,
    txn: string,
  ): Promise<readonly number[]>;
}

export class RowService {
  readonly context: RowContext;
  readonly freshness: Freshness;
  readonly rejoin: RowRejoin;
  readonly handover: RowHandover;
  readonly jobs: readonly Job[];
  readonly #rules: RowRules;
  readonly #existence: Existence;
  readonly #seals: Seals;

  constructor(options: RowServiceOptions, ring: PolicyIndex, prefix: string, rules: RowRules) {
    this.context = new RowContext(options, ring, prefix);
    this.freshness = new Freshness(this.context);
    this.#rules = rules;
    this.#existence = new Existence(this.context);
    this.#seals = new Seals(options.env.clock);
    this.rejoin = new RowRejoin(this.context, this.freshness);
    this.handover = new RowHandover(this.context);
    this.jobs = [this.rejoin, this.handover, new CursorKeeper(this.context, this.freshness)];
    this.#register();
  }

  #register(): void {
    const { wire } = this.context.options;
    const handle = (method: string, handler: RowHandler): void =>
      wire.handle(`${this.context.prefix}.${method}`, handler);
    handle('rows', async (args, call) => ({ result: await this.#rows(args, call) }));
    handle('write', async (args, call) => ({ result: await this.#write(args, call) }));
    handle('list', async (args, call) => ({ result: await this.#list(args, call) }));
    handle('pull', (args) => pullCall(this.context, args));
    handle('state', (args) => ({ result: this.#state(args) }));
    handle('digests', (args) => ({ result: this.#digests(args) }));
    handle('containers', (args) => ({ result: this.#containers(args) }));
    handle('fence', async (args) => ({ result: await this.#fence(args) }));
    new Deletion(this.context, this.#seals, this.freshness, this.#existence, this.#rules).register(
      handle,
    );
  }

  async #rows(args: unknown, call: RowCallContext): Promise<RowsReply> {
    const request = parseRows(args);
    const target = this.context.open(request.device, request.ringVersion);
    this.context.checkSender(request.from);
    const complete = this.#checkHashes(target, request);
    const outcomes = await Promise.all(
      request.rows.map((row) => this.#take(target, row, request, call)),
    );
    return { outcomes, complete };
  }

  /** Whether this replica is complete for all of them. */
  #checkHashes(target: RowDevice, { rows, ringVersion }: RowsArgs): boolean {
    let complete = true;
    const checked = new Map<string, Buffer>();
    for (const { path, hash } of rows) {
      if (checked.get(path)?.equals(hash)) continue;
      this.context.checkPath(path, hash);
      this.context.checkPlaced(target, ringVersion, hash);
      checked.set(path, hash);
      complete &&= this.context.isComplete(target, hash);
    }
    return complete;
  }

  async #take(
    target: RowDevice,
    row: RowItem,
    { intent, ringVersion }: RowsArgs,
    call: RowCallContext,
  ): Promise<RowOutcome> {
    const state = this.#accept(row.state);
    const foreign = intent === 'repair' ? await this.#foreign(target, row, state, call) : undefined;
    if (foreign !== undefined) return foreign;
    let refusal = this.#refusal(target, row, state, intent);
    if (refusal === 'no-container') {
      const live = await this.#findOut(target, { hash: row.hash, path: row.path, txn: call.txn });
      if (live === undefined) return 'unavailable';
      refusal = this.#refusal(target, row, state, intent, live);
    }
    if (refusal !== undefined) return refusal;
    checkDeadline(call);
    if (intent === 'repair' && this.context.isReclaimed(target, row.hash, row.name, state))
      return 'superseded';
    // Nothing waits between the checks and the write: a seal set meanwhile would see no row, and a
    // fence would be passed.
    this.context.checkPlaced(target, ringVersion, row.hash);
    const key = { policy: this.context.ring, hash: row.hash };
    const { outcome } = await target.rows.write({ key, path: row.path, name: row.name, state });
    if (intent === 'write') return outcome;
    const isThere = await this.#remake(target, row, state, { txn: call.txn, ringVersion });
    return isThere ? outcome : 'unavailable';
  }

  /** What to answer instead of taking the row in, if anything. This replica may be behind, so others are asked. */
  async #foreign(
    target: RowDevice,
    row: RowItem,
    state: EntryState,
    { txn }: RowCallContext,
  ): Promise<RowOutcome | undefined> {
    const { hash, path } = row;
    const own = (): EntryState | undefined => target.rows.read(this.context.ring, hash, '');
    if (!this.#rules.isForeign(own(), row, state)) return undefined;
    if ((await this.#findOut(target, { hash, path, txn })) === undefined) return 'unavailable';
    if (!this.#rules.isForeign(own(), row, state)) return undefined;
    // What something newer hides by now nobody will ever want: it goes, as what a move has left.
    const newer = target.rows.read(this.context.ring, hash, row.name);
    const isOver = newer !== undefined && dataTimestamp(newer) > rowTimestamp(state);
    return isOver && state.data?.kind === 'live' ? 'container-mismatch' : 'superseded';
  }

  /** False: too few replicas answer; the row stays to be sent again. */
  async #remake(
    target: RowDevice,
    row: RowItem,
    state: EntryState,
    { txn, ringVersion }: { readonly txn: string; readonly ringVersion: number },
  ): Promise<boolean> {
    const { hash, path } = row;
    const made = (): EntryState | undefined =>
      this.#rules.remake(target.rows.read(this.context.ring, hash, ''), row, state);
    if (made() === undefined) return true;
    if ((await this.#findOut(target, { hash, path, txn })) === undefined) return false;
    const own = made();
    if (own !== undefined) {
      this.context.checkPlaced(target, ringVersion, hash);
      const key = { policy: this.context.ring, hash };
      await target.rows.write({ key, path, name: '', state: own });
      this.context.options.env.log.warn('container.remade', { path, policy: row.keptIn });
    }
    return true;
  }

  /** Decoded, and not from a clock that is too far ahead. @throws OperatingError `malformed`, `clock-drift` */
  #accept(bytes: Buffer): EntryState {
    const state = decodeState(bytes);
    const { data } = state;
    if (
      data !== undefined &&
      ![data.clientMicros, data.size, data.deleteAt ?? 0].every(Number.isSafeInteger)
    ) {
      throw malformed('state');
    }
    this.context.options.clock.observe(newestTimestamp(state));
    return state;
  }

  #refusal(
    target: RowDevice,
    row: RowItem,
    state: EntryState,
    intent: 'write' | 'repair',
    knownLive = false,
  ): RowOutcome | undefined {
    const own = target.rows.read(this.context.ring, row.hash, '');
    const isDeletion = state.data?.kind === 'deleted';
    const mismatch = this.#rules.refuse(own, row, isDeletion);
    if (mismatch !== undefined || intent === 'repair') return mismatch;
    if (this.#seals.isSealed(target.device.id, row.hash)) return 'sealed';
    if (!this.#rules.mustExist || knownLive || this.#existence.isLiveHere(target, row.hash))
      return undefined;
    return 'no-container';
  }

  /** Undefined: too few replicas answer. */
  async #findOut(
    target: RowDevice,
    wish: PullWish,
    everybody = false,
  ): Promise<boolean | undefined> {
    try {
      return await this.#existence.find(target, wish, everybody);
    } catch (error) {
      if (codeOf(error) === 'unavailable') return undefined;
      throw error;
    }
  }

  async #write(args: unknown, call: RowCallContext): Promise<OwnStateReply> {
    const request = parseOwnState(args);
    const target = this.context.open(request.device, request.ringVersion, request.hash);
    this.context.checkPath(request.path, request.hash);
    this.context.checkSender(request.from);
    const complete = this.context.isComplete(target, request.hash);
    const refused = (outcome: OwnOutcome): OwnStateReply => {
      const own = target.rows.read(this.context.ring, request.hash, '') ?? { groups: {} };
      return { outcome, newest: rowTimestamp(own), complete, listedOn: [] };
    };
    const sent = this.#accept(request.state);
    const state =
      request.intent === 'repair' ? sent : await this.#admit(target, request, sent, call);
    if (typeof state === 'string') return refused(state);
    checkDeadline(call);
    const isLate = this.context.isReclaimed(target, request.hash, '', state);
    if (request.intent === 'repair' && isLate) return refused('superseded');
    this.context.checkPlaced(target, request.ringVersion, request.hash);
    const { hash, path, listing } = request;
    const result = isEmpty(state)
      ? refused('stored')
      : await target.rows.write({
          key: { policy: this.context.ring, hash },
          path,
          name: '',
          state,
        });
    // Metadata changes nothing of what is shown one level up.
    const listedOn =
      sent.data === undefined ? [] : await this.#rules.committed(target, hash, listing, call.txn);
    return { ...result, complete, listedOn };
  }

  /** What to store of an own state, or why not. */
  async #admit(
    target: RowDevice,
    { hash, path }: OwnStateArgs,
    state: EntryState,
    call: RowCallContext,
  ): Promise<EntryState | OwnOutcome> {
    const creates = state.data?.kind === 'live';
    let live = this.#existence.isLiveHere(target, hash);
    // A creation also where another one lives here: this replica may have missed that it was deleted since, and
    // would keep of the new one what is new in it only.
    const own = () => target.rows.read(this.context.ring, hash, '');
    const isOther = creates && own()?.data?.writeId !== state.data?.writeId;
    if ((!live || isOther) && this.#rules.mustExist) {
      const found = await this.#findOut(target, { hash, path, txn: call.txn }, creates);
      if (found === undefined) return 'unavailable';
      live = found;
    }
    if (this.#seals.isSealed(target.device.id, hash)) return 'sealed';
    if (!live && !creates && this.#rules.mustExist) return 'no-container';
    return this.#rules.admit(own(), live, state);
  }

  async #list(args: unknown, call: RowCallContext): Promise<ListReply> {
    const { hash, path, query, read, ...request } = parseList(args);
    const target = this.context.open(request.device, request.ringVersion, hash);
    this.context.checkPath(path, hash);
    if (!this.context.isComplete(target, hash)) {
      throw new OperatingError('incomplete', 'this replica does not know all rows', {
        device: request.device,
      });
    }
    const wish = { hash, path, txn: call.txn };
    if (read === 'quorum') {
      await beforeDeadline(this.freshness.bringUpToDate(target, wish), call);
    }
    const { rows } = target;
    const { ring } = this.context;
    let live = this.#existence.isLiveHere(target, hash);
    let own = rows.read(ring, hash, '');
    // A database does not show that damage took a row away, so "not there" is for R to say (seed 227). So it is where
    // only rows say that it lives: without its settings its objects would be looked for in another policy.
    const isMade = !this.#rules.mustExist || own?.data !== undefined;
    if (!(live && isMade) && read === 'quorum') {
      live = await beforeDeadline(this.#existence.find(target, wish), call);
      own = rows.read(ring, hash, '');
    }
    const { items, truncated } = cutPage(rows.list(ring, hash, query));
    const totals = rows.facts(ring, hash)?.totals ?? { rows: 0, bytes: 0, objects: 0 };
    return {
      state: own === undefined ? null : encodeState(own),
      live,
      complete: true,
      totals,
      items,
      truncated,
    };
  }

  #state(args: unknown): StateReply {
    const { device, hash, ringVersion } = parseAddress(args);
    const target = this.context.open(device, ringVersion, hash);
    const own = target.rows.read(this.context.ring, hash, '');
    return {
      state: own === undefined ? null : encodeState(own),
      live: this.#existence.isLiveHere(target, hash),
      rows: target.rows.hasLiveRow(this.context.ring, hash),
      complete: this.context.isComplete(target, hash),
    };
  }

  #digests(args: unknown): RowDigestsReply {
    const { device, ringVersion, ranges } = parseDigests(args);
    const target = this.context.open(device, ringVersion);
    const { ring } = this.context;
    checkRanges(target.device, { policy: ring, ringVersion }, ranges);
    const coverage = coverageOf(target.device.completeness.ranges(ring));
    const claimed = coverageOf(target.device.completeness.claimed(ring));
    return {
      ranges: ranges.map(([from, to]) => {
        const { sum, total } = target.rows.summarise(ring, from, to, 1)[0]!;
        const fence = target.device.versions.fenceIn(ring, from, to);
        const [complete, isClaimed] = [coverage.has(from, to), claimed.has(from, to)];
        return { sum, total, complete, claimed: isClaimed, fence };
      }),
    };
  }

  #containers(args: unknown): ContainersReply {
    const { device, ringVersion, from, to, limit } = parseContainers(args);
    const target = this.context.open(device, ringVersion);
    const found = target.rows.containers(this.context.ring, from, to ?? undefined, limit);
    const containers = found.map(({ hash, path, digest }) => {
      return { hash, path, digest, complete: this.context.isComplete(target, hash) };
    });
    return { containers, more: found.length === limit };
  }

  #fence(args: unknown): Promise<Fenced> {
    const request = parseFences(args, 2 ** BUCKET_BITS);
    if (request.policy !== this.context.ring) throw malformed('policy');
    const { device } = this.context.device(request.device);
    return raiseFences(device, this.context.currentRing(), request);
  }
}

function isEmpty({ data, groups }: EntryState): boolean {
  return data === undefined && Object.keys(groups).length === 0;
}

/** @throws OperatingError `timeout` */
function checkDeadline(call: RowCallContext): void {
  if (call.deadline.remainingMs() > 0) return;
  throw new OperatingError('timeout', 'the deadline passed before the commit');
}

/** Work that is shared goes on when one who waits for it gives up. */
async function beforeDeadline<Result>(
  work: Promise<Result>,
  { deadline }: RowCallContext,
): Promise<Result> {
  const { signal } = deadline;
  signal.throwIfAborted();
  const gone = Promise.withResolvers<never>();
  const give = (): void => gone.reject(new OperatingError('timeout', 'the deadline passed'));
  signal.addEventListener('abort', give, { once: true });
  try {
    return await Promise.race([work, gone.promise]);
  } finally {
    signal.removeEventListener('abort', give);
  }
}
