/**
 * Where a name's copies are, and whether they are good: for a person who asks about one object,
 * container or account (`anello object show`). Every replica is asked by itself and nothing is joined or
 * mended here: what a majority would hide is what is looked for. (A damaged body that is met is
 * quarantined and fetched anew by its own node, as with every read.)
 */
import { type EntryState, effectiveKind, newestTimestamp, wantsBody } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING, type PolicyIndex } from '#base/names.ts';
import { formatSeconds, microsOf } from '#base/timestamp.ts';
import type { ListReply } from '#container/calls.ts';
import type { Env } from '#env/env.ts';
import type { StatReply } from '#object/calls.ts';
import { newestVersion, versionKey } from '#object/version.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { settingsOf } from '#rows/row-state.ts';
import type { Caller } from '#wire/contract.ts';
import { verifyBody } from './copy-body.ts';
import { type Place, placeOf, type Replica } from './placement.ts';
import { failureCode } from './replica-calls.ts';

/**
 * good: the newest state, with its body read and right where it belongs here. unread: the same, but
 * nobody asked to read the body. none: nothing is known here. silent: no answer (see `reason`).
 */
export type CopyState = 'good' | 'unread' | 'old' | 'none' | 'no-body' | 'damaged' | 'silent';

export interface Copy {
  readonly device: number;
  readonly node: string;
  readonly site: string;
  /** Whether it is one of the replicas that count, or stands in for one. */
  readonly role: 'primary' | 'handoff';
  readonly holdsBody: boolean;
  readonly state: CopyState;
  readonly reason?: string;
  readonly kind?: string;
  /** Seconds since 1970 with five decimals, as X-Timestamp. */
  readonly newest?: string;
  readonly size?: number;
  readonly etag?: string;
  /** Counts in majorities for this name. */
  readonly complete?: boolean;
  /** Containers and accounts: what this replica alone counts. */
  readonly rows?: number;
  readonly bytes?: number;
}

export interface RingCopies {
  readonly ring: string;
  readonly ringVersion: number;
  readonly partition: number;
  /** Copies of a body (or of the rows) that the policy keeps. */
  readonly wanted: number;
  readonly good: number;
  readonly copies: readonly Copy[];
}

export interface CopiesReport {
  readonly path: string;
  readonly hash: string;
  readonly what: 'object' | 'container' | 'account';
  /** live, deleted, expired; unknown: no replica knows it. */
  readonly state: string;
  /** Containers: as they were made. */
  readonly policy?: string;
  readonly mode?: string;
  readonly rings: readonly RingCopies[];
}

export interface CopiesQuery {
  /** Read whole bodies and compare checksums. */
  readonly verify: boolean;
  /** How many stand-ins to ask besides. */
  readonly handoffs: number;
  readonly signal?: AbortSignal;
}

export interface CopiesSources {
  readonly env: Pick<Env, 'clock'>;
  readonly wire: Caller;
  readonly cluster: ClusterSource;
}

const TXN = 'copies';
const DEADLINE_MS = 5_000;
export const MAX_HANDOFFS = 1000;

/** A copy as it was told, before it is compared with the others. */
interface Heard {
  readonly copy: Copy;
  readonly version: string;
  readonly entry: EntryState | undefined;
}

export class Copies {
  readonly #sources: CopiesSources;

  constructor(sources: CopiesSources) {
    this.#sources = sources;
  }

  /** `path` as names.ts writes it. @throws OperatingError `bad-name` */
  async find(path: string, query: CopiesQuery): Promise<CopiesReport> {
    const what = whatOf(path);
    const view = this.#sources.cluster.current();
    const places = ringsOf(view, what).map((policy) => placeOf(view, policy, path));
    const found = await Promise.all(places.map((place) => this.#at(place, what, query)));
    const known = found.filter(({ heard }) => heard.some(({ version }) => version !== ''));
    const shown = known.length > 0 ? known : found.slice(0, 1);
    const states = shown.flatMap(({ heard }) => heard.flatMap(({ entry }) => entry ?? []));
    const newest = states.toSorted((a, b) => (newestTimestamp(a) < newestTimestamp(b) ? 1 : -1))[0];
    return {
      path,
      hash: places[0]!.hash.toString('hex'),
      what,
      state: this.#kindOf(newest) ?? 'unknown',
      ...(what === 'container' && namedSettings(view, newest)),
      rings: shown.map(({ place, heard }) => summary(view, place, heard)),
    };
  }

  async #at(place: Place, what: CopiesReport['what'], query: CopiesQuery) {
    const handoffs = place.handoffs(Math.min(query.handoffs, MAX_HANDOFFS));
    const ask = (role: Copy['role']) => (replica: Replica) =>
      what === 'object'
        ? this.#object(place, replica, role, query)
        : this.#rows(place, replica, role, what);
    const asked = [
      ...place.primaries.map(ask('primary')),
      ...(what === 'object' ? handoffs.map(ask('handoff')) : []),
    ];
    return { place, heard: await Promise.all(asked) };
  }

  async #object(
    place: Place,
    replica: Replica,
    role: Copy['role'],
    { verify, signal }: CopiesQuery,
  ): Promise<Heard> {
    const base = { ...facts(replica), role };
    const { policy, hash, ringVersion } = place;
    const address = { device: replica.device, policy, hash, ringVersion };
    try {
      const stat = (await this.#call(replica, 'object.stat', address)) as StatReply;
      const entry = decoded(stat.state);
      if (entry === undefined) return unknown(base, stat.complete);
      const told = { ...base, ...this.#shown(entry), complete: stat.complete };
      const checked = await this.#checked(replica, address, entry, stat.hasBody, {
        verify,
        signal,
      });
      return { copy: { ...told, ...checked }, version: stat.version, entry };
    } catch (error) {
      return silent(base, error);
    }
  }

  async #checked(
    replica: Replica,
    address: object,
    entry: EntryState,
    hasBody: boolean,
    { verify, signal }: Pick<CopiesQuery, 'verify' | 'signal'>,
  ): Promise<Pick<Copy, 'state' | 'reason'>> {
    if (entry.data === undefined || !wantsBody(entry)) return { state: 'good' };
    if (!hasBody) return { state: replica.holdsBody ? 'no-body' : 'good' };
    if (!verify) return { state: 'unread' };
    const reason = await verifyBody(this.#sources.wire, replica.node, address, entry.data, signal);
    return reason === undefined ? { state: 'good' } : { state: 'damaged', reason };
  }

  async #rows(
    place: Place,
    replica: Replica,
    role: Copy['role'],
    what: 'container' | 'account',
  ): Promise<Heard> {
    const base = { ...facts(replica), role };
    const { path, hash, ringVersion } = place;
    const args = { device: replica.device, path, hash, ringVersion };
    try {
      // `nearest`: this replica alone, without what the others know.
      const asked = { ...args, query: { limit: 0 }, read: 'nearest' };
      const list = (await this.#call(replica, `${what}.list`, asked)) as ListReply;
      const entry = decoded(list.state);
      const { rows, bytes } = list.totals;
      if (entry === undefined && rows === 0) return unknown(base, list.complete);
      const shown = entry === undefined ? {} : this.#shown(entry);
      const copy = { ...base, state: 'good' as const, ...shown, complete: true, rows, bytes };
      return { copy, version: entry === undefined ? '-' : versionKey(entry), entry };
    } catch (error) {
      return silent(base, error);
    }
  }

  async #call(replica: Replica, method: string, args: object): Promise<unknown> {
    const options = { txn: TXN, deadlineMs: DEADLINE_MS };
    return (await this.#sources.wire.call(replica.node, method, args, options)).result;
  }

  #shown(entry: EntryState) {
    const { data } = entry;
    const kind = this.#kindOf(entry);
    return {
      ...(kind !== undefined && { kind }),
      newest: formatSeconds(microsOf(newestTimestamp(entry))),
      ...(data?.kind === 'live' && { size: data.size, etag: data.etag }),
    };
  }

  #kindOf(entry: EntryState | undefined): string | undefined {
    return entry && effectiveKind(entry, this.#sources.env.clock.wallMicros() / 1e6);
  }
}

/** @throws OperatingError `bad-name` */
function whatOf(path: string): CopiesReport['what'] {
  const match = /^\/([^/]+)(?:\/([^/]+)(?:\/(.+))?)?$/s.exec(path);
  if (match === null)
    throw new OperatingError('bad-name', 'a name is /account, /account/container or .../object');
  if (match[3] !== undefined) return 'object';
  return match[2] === undefined ? 'account' : 'container';
}

/** An object may lie in any of the object rings: its container says in which, and may be wrong or new. */
function ringsOf({ rings }: ClusterView, what: CopiesReport['what']): PolicyIndex[] {
  if (what === 'container') return [CONTAINER_RING];
  if (what === 'account') return [ACCOUNT_RING];
  const rows = new Set([CONTAINER_RING, ACCOUNT_RING]);
  return [...rings.keys()].filter((policy) => !rows.has(policy)).sort((a, b) => a - b);
}

function ringName({ policies }: ClusterView, policy: PolicyIndex): string {
  if (policy === CONTAINER_RING) return 'container';
  if (policy === ACCOUNT_RING) return 'account';
  return `object/${policies.find(({ index }) => index === policy)?.name ?? policy}`;
}

function namedSettings(view: ClusterView, entry: EntryState | undefined) {
  const settings = settingsOf(entry);
  if (settings === undefined) return {};
  const { mode, policy } = settings;
  return { mode, policy: ringName(view, policy).replace(/^object\//, '') };
}

function facts({ device, node, site, holdsBody }: Replica) {
  return { device, node, site, holdsBody };
}

type Base = Pick<Copy, 'device' | 'node' | 'site' | 'role' | 'holdsBody'>;

function unknown(base: Base, complete: boolean): Heard {
  return { copy: { ...base, state: 'none', complete }, version: '', entry: undefined };
}

function silent(base: Base, error: unknown): Heard {
  const reason = failureCode(error);
  return { copy: { ...base, state: 'silent', reason }, version: '', entry: undefined };
}

function decoded(state: Uint8Array | null): EntryState | undefined {
  return state === null ? undefined : decodeState(Buffer.from(state));
}

/** Now that all have answered: who lags behind, and how many are good. */
function summary(view: ClusterView, place: Place, heard: readonly Heard[]): RingCopies {
  const versions = heard.flatMap(({ version }) => (version === '' ? [] : [version]));
  const newest = versions.length === 0 ? '' : newestVersion(versions);
  const ring = view.rings.get(place.policy)!;
  const copies = heard
    .map(({ copy, version }) => {
      const isBehind = version !== '' && version !== newest && copy.state !== 'damaged';
      return isBehind ? { ...copy, state: 'old' as const } : copy;
    })
    // A stand-in that knows nothing is as it should be.
    .filter(({ role, state }) => role === 'primary' || state !== 'none');
  const counts = ({ state, holdsBody }: Copy): boolean =>
    holdsBody && (state === 'good' || state === 'unread');
  return {
    ring: ringName(view, place.policy),
    ringVersion: place.ringVersion,
    partition: ring.partitionOf(place.hash),
    wanted: Math.min(place.copies, place.primaries.length),
    good: copies.filter(counts).length,
    copies,
  };
}
