/**
 * Writes a container's or an account's own state: creation, metadata. The same rounds as objects;
 * the container's row goes to its account as an object's row goes to its container.
 */

import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { OwnStateArgs, RowItem } from '#container/calls.ts';
import { rowStateOf } from '#rows/row-state.ts';
import { type ProxyContext, unavailable } from './context.ts';
import type { HeaderChanges } from './contract.ts';
import { withFreshRing } from './fresh-ring.ts';
import { type ListingRing, RING_NUMBER } from './listing-call.ts';
import { type Place, placeOf, type Replica } from './placement.ts';
import { asRoundReply } from './replies.ts';
import { rowPlan } from './row-plan.ts';
import type { Trace } from './trace.ts';
import { type RoundReply, type RoundResult, runRound } from './write-round.ts';

export interface OwnStateWrite {
  readonly trace: Trace;
  readonly ring: ListingRing;
  readonly path: string;
  /** Containers only: the account that lists it, and its name there. */
  readonly account?: { readonly path: string; readonly name: string };
  readonly stateAt: (timestamp: Timestamp) => EntryState;
  /** A majority is to have what was read: who has something newer, has it in that. */
  readonly isKnown?: boolean;
  /** Of several that are made at one moment, each in its own way, one is to be told that it is made. */
  readonly hasRivals?: boolean;
}

/** Who orders rivals is waited for so long; then it is taken for dead by all of them. */
const ORDER_MS = 1_000;

/**
 * `conflict`: the container lives with another policy or mode. `no-container`: metadata for one that
 * does not exist.
 * @throws OperatingError `unavailable`, `clock-drift`
 */
export function writeOwnState(context: ProxyContext, write: OwnStateWrite): Promise<OwnWritten> {
  return withFreshRing(context, () => writeRounds(context, write));
}

export type OwnWritten = 'written' | 'conflict' | 'no-container';

async function writeRounds(context: ProxyContext, write: OwnStateWrite): Promise<OwnWritten> {
  const { clock, limits } = context;
  let timestamp = clock.now();
  let afterRound = write.isKnown === true;
  if (write.hasRivals && !(await isFirst(context, write, timestamp))) return 'conflict';
  for (let round = 0; round < limits.writeRounds; round++) {
    const result = await oneRound(context, write, timestamp, afterRound);
    if (result.kind === 'acknowledged') return 'written';
    if (result.kind === 'failed') return refusal(write, result.codes);
    if (result.kind === 'refused') throw unavailable(`${write.ring} row`, [result.refused]);
    if (result.kind === 'use-rounds') throw unavailable(`${write.ring} write`, [result.kind]);
    timestamp = clock.above(result.newest);
    afterRound = true;
  }
  throw unavailable('too many rounds');
}

function refusal(write: OwnStateWrite, codes: readonly string[]): 'conflict' | 'no-container' {
  if (codes.includes('conflict')) return 'conflict';
  if (codes.includes('no-container')) return 'no-container';
  throw unavailable(`${write.ring} write`, codes);
}

/**
 * All rivals ask the same replica first, the first that answers, so that one of them is refused before it is anywhere
 * else. Taken by different replicas at once they would be joined later, the newer in place of the one that was told
 * that it is made, and what that has in its policy would be hidden.
 */
async function isFirst(
  context: ProxyContext,
  write: OwnStateWrite,
  timestamp: Timestamp,
): Promise<boolean> {
  const place = placeOf(context.cluster.current(), RING_NUMBER[write.ring], write.path);
  const state = encodeState(write.stateAt(timestamp));
  for (const replica of place.primaries.toSorted((a, b) => a.device - b.device)) {
    try {
      const { outcome } = await send(context, write, place, replica, { state }, ORDER_MS);
      if (outcome !== 'unavailable') return outcome !== 'conflict';
    } catch (error) {
      context.env.log.debug('own-state.order', { peer: replica.node, error: codeOf(error) });
    }
  }
  return true;
}

async function send(
  context: ProxyContext,
  write: OwnStateWrite,
  { hash, path, ringVersion }: Place,
  replica: Replica,
  what: Pick<OwnStateArgs, 'state' | 'listing'>,
  deadlineMs: number,
): Promise<RoundReply> {
  const { device } = replica;
  const args: OwnStateArgs = { device, hash, path, ringVersion, intent: 'write', ...what };
  const method = `${write.ring}.write`;
  const options = { ringVersion, deadlineMs };
  const { result } = await context.calls.call(write.trace, replica, method, args, options);
  return asRoundReply(result);
}

function oneRound(
  context: ProxyContext,
  write: OwnStateWrite,
  timestamp: Timestamp,
  afterRound: boolean,
): Promise<RoundResult> {
  const { env, peers, limits, self, cluster } = context;
  const view = cluster.current();
  const place = placeOf(view, RING_NUMBER[write.ring], write.path);
  const state = write.stateAt(timestamp);
  const encoded = encodeState(state);
  const { account } = write;
  const accountPlace = account && placeOf(view, RING_NUMBER.account, account.path);
  const item = (): RowItem => ({
    hash: accountPlace!.hash,
    path: account!.path,
    name: account!.name,
    state: encodeState(rowStateOf({ ...state, groups: {} })),
  });
  // A metadata update changes nothing that the account shows, so only a data part needs its row.
  const listed = accountPlace !== undefined && state.data !== undefined;
  const sender = context.containerRows;
  return runRound({
    env,
    peers,
    place,
    mode: 'strict',
    site: self.site,
    afterRound,
    hasBody: false,
    ...(listed && { rows: rowPlan({ sender, place: accountPlace, txn: write.trace.txn, item }) }),
    rowHedgeMs: limits.rowHedgeMs,
    roundMs: limits.roundMs,
    standIns: false,
    send: (replica, turn) => {
      const listing = accountPlace && accountListing(accountPlace, turn);
      const what = { state: encoded, listing };
      return send(context, write, place, replica, what, limits.writeDeadlineMs);
    },
  });
}

export function accountListing(place: Place, turn: number): OwnStateArgs['listing'] {
  const { hash, path, ringVersion, primaries } = place;
  const targets = primaries.map(({ device, node }) => ({ device, node }));
  const shift = turn % Math.max(1, targets.length);
  return {
    accountHash: hash,
    accountPath: path,
    ringVersion,
    targets: [...targets.slice(shift), ...targets.slice(0, shift)],
  };
}

const HEADER_PREFIX = 'h:';
const HEADER_VALUE = 'value';
const MAX_HEADER_GROUPS = 1_000;

/** Each header is its own group, so that two posts of different headers both last. */
export function headerGroups(changes: HeaderChanges, timestamp: Timestamp): EntryState['groups'] {
  const names = Object.keys(changes);
  if (names.length > MAX_HEADER_GROUPS) {
    throw new OperatingError('malformed', 'too many headers', { headers: names.length });
  }
  const groups: Record<string, EntryState['groups'][string]> = {};
  for (const name of names) {
    const value = changes[name];
    const values: Record<string, string> = value == null ? {} : { [HEADER_VALUE]: value };
    groups[HEADER_PREFIX + name] = { timestamp, values };
  }
  return groups;
}

export function headersOf(state: EntryState | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name in state?.groups) {
    const value = state.groups[name]!.values[HEADER_VALUE];
    if (name.startsWith(HEADER_PREFIX) && value !== undefined) {
      headers[name.slice(HEADER_PREFIX.length)] = value;
    }
  }
  return headers;
}
