/**
 * The state of a key, and the one function that joins two states.
 *
 * A key is an object, a container, an account, or a row of a listing. Its state is a data part and
 * metadata groups, each with its own timestamp. Writes, replication, replay, rebuild and rows all use
 * `join`; it is commutative, associative and idempotent, so that the order in which replicas learn
 * of writes never matters (property-tested in entry.test.ts).
 */
import { microsOf, type Timestamp, ZERO_TIMESTAMP } from './timestamp.ts';

/** In rank order: at equal timestamps the later one wins. */
export const KINDS = ['live', 'expired', 'gone', 'deleted'] as const;
export type Kind = (typeof KINDS)[number];

export const MANIFEST_KINDS = ['static', 'dynamic', 'multipart'] as const;
export type ManifestKind = (typeof MANIFEST_KINDS)[number];

/** How the bytes are kept: whole copies now; fragments and transforms have their place. */
export interface BodyPieces {
  /** Bytes as stored (a manifest's own bytes, or an encrypted body), not as shown to clients. */
  readonly length: number;
  /** When they were written, where a later record of the conditional rounds keeps them. */
  readonly written?: Timestamp;
  /** Erasure coding: index, data and parity pieces. Absent for copies. */
  readonly fragment?: { readonly index: number; readonly k: number; readonly m: number };
  /** Encryption or compression of the body: algorithm and key id. */
  readonly transform?: {
    readonly algorithm: string;
    readonly keyId: string;
    readonly parameters?: Uint8Array;
  };
}

export interface DataPart {
  readonly timestamp: Timestamp;
  readonly kind: Kind;
  /** Chosen by the writer, equal in every retry of one write: 16 hex digits. */
  readonly writeId: string;
  /** Conditional rounds only: the newest timestamp of the state that this one was built on. */
  readonly base?: Timestamp;
  /**
   * Rounds only: written whatever was there before, as by a plain write. Who was overtaken by it need
   * not ask what it was built on.
   */
  readonly unconditional?: true;
  /** Kind `expired`: the timestamp of the part whose delete-at had passed (see `effectiveKind`). */
  readonly expiredSource?: Timestamp;
  /** Microseconds that clients see as X-Timestamp. */
  readonly clientMicros: number;
  /** As shown to clients: hex MD5 of the body, or the manifest's own form. Empty in tombstones. */
  readonly etag: string;
  /** Bytes as shown to clients (for a static manifest: of all its parts). */
  readonly size: number;
  readonly contentType: string;
  /** Unix seconds; the version answers 404 from then on. */
  readonly deleteAt?: number;
  readonly manifest?: ManifestKind;
  readonly body?: BodyPieces;
  readonly versionId?: string;
  readonly deleteMarker?: boolean;
  /** Copies wanted, where the object differs from its policy. */
  readonly replicas?: number;
  /** By algorithm, as S3 names them in lower case; base64 or hex as the algorithm is shown. */
  readonly checksums?: Readonly<Record<string, string>>;
  readonly owner?: string;
}

/** One unit of last-writer-wins metadata. A group without values was cleared at its timestamp. */
export interface Group {
  readonly timestamp: Timestamp;
  readonly values: Readonly<Record<string, string>>;
}

/**
 * Objects use the groups user, tags, acl, retention, hold, system (content-type, content-encoding,
 * content-disposition, delete-at as a POST set them). Containers and accounts use one group per
 * header (`h:x-container-meta-color`), so that two posts of different headers both last.
 */
export interface EntryState {
  /** Absent where a replica learnt of metadata before the data part. */
  readonly data?: DataPart;
  readonly groups: Readonly<Record<string, Group>>;
}

export const EMPTY_STATE: EntryState = { groups: {} };

/** Timestamp of the data part, ZERO_TIMESTAMP where there is none. */
export function dataTimestamp(state: EntryState): Timestamp {
  return state.data?.timestamp ?? ZERO_TIMESTAMP;
}

/**
 * Names the bytes of a data part: they are those of one write. A record of the conditional rounds may
 * keep the body of an earlier one under a new timestamp, and then says whose it is.
 */
export function bodyVersion(data: DataPart): Timestamp {
  return data.body?.written ?? data.timestamp;
}

/** The body of one is the body of the other. */
export function sameBody(a: EntryState, b: EntryState): boolean {
  return (
    a.data !== undefined && b.data !== undefined && bodyVersion(a.data) === bodyVersion(b.data)
  );
}

/** The newest timestamp of anything in the state: what `superseded` and quorum reads compare. */
export function newestTimestamp(state: EntryState): Timestamp {
  let newest = dataTimestamp(state);
  for (const name in state.groups) {
    const { timestamp } = state.groups[name]!;
    if (timestamp > newest) newest = timestamp;
  }
  return newest;
}

export function join(a: EntryState, b: EntryState): EntryState {
  const data = joinData(a.data, b.data);
  const floor = data?.timestamp ?? ZERO_TIMESTAMP;
  const groups: Record<string, Group> = {};
  for (const source of [a.groups, b.groups]) {
    for (const name in source) {
      const group = source[name]!;
      if (group.timestamp < floor) continue;
      const other = groups[name];
      groups[name] = other === undefined ? group : newerGroup(other, group);
    }
  }
  return data === undefined ? { groups } : { data, groups };
}

function joinData(a: DataPart | undefined, b: DataPart | undefined): DataPart | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  if (a.timestamp !== b.timestamp) return a.timestamp > b.timestamp ? a : b;
  const rank = KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
  if (rank !== 0) return rank > 0 ? a : b;
  if (a.kind === 'expired') {
    const [sourceA, sourceB] = [
      a.expiredSource ?? ZERO_TIMESTAMP,
      b.expiredSource ?? ZERO_TIMESTAMP,
    ];
    if (sourceA !== sourceB) return sourceA > sourceB ? a : b;
  }
  return tieBreak(a, b);
}

/** Equal timestamps are one write, so this only orders what a bug or damage made differ. */
function tieBreak(a: DataPart, b: DataPart): DataPart {
  if (a.writeId !== b.writeId) return a.writeId > b.writeId ? a : b;
  return JSON.stringify(a) >= JSON.stringify(b) ? a : b;
}

function newerGroup(a: Group, b: Group): Group {
  if (a.timestamp !== b.timestamp) return a.timestamp > b.timestamp ? a : b;
  return canonicalValues(a.values) >= canonicalValues(b.values) ? a : b;
}

function canonicalValues(values: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(values).sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0)));
}

/**
 * Where the effective delete-at comes from: a POST replaces the delete-at of the version, also by
 * leaving it out, so a system group that counts is the source, else the data part.
 */
export function expirySource(state: EntryState): { deleteAt?: number; timestamp: Timestamp } {
  const system = state.groups['system'];
  if (system !== undefined) {
    const text = system.values['delete-at'];
    return { deleteAt: text === undefined ? undefined : Number(text), timestamp: system.timestamp };
  }
  return { deleteAt: state.data?.deleteAt, timestamp: dataTimestamp(state) };
}

/** A delete-at as databases keep it: seconds that SQLite takes as an integer; null: none. */
export function expirySeconds(deleteAt: number | undefined): number | null {
  if (deleteAt === undefined || Number.isNaN(deleteAt)) return null;
  const { MAX_SAFE_INTEGER, MIN_SAFE_INTEGER } = Number;
  return Math.max(MIN_SAFE_INTEGER, Math.min(Math.ceil(deleteAt), MAX_SAFE_INTEGER));
}

/**
 * What a reader must be told at `nowSeconds`: an entry past its delete-at is `expired`; one that a
 * replica freed on its own is live again when a POST that the replica missed had moved the expiry
 * (its body must then be fetched again). Undefined: no data part.
 */
export function effectiveKind(state: EntryState, nowSeconds: number): Kind | undefined {
  const { data } = state;
  if (data === undefined) return undefined;
  if (data.kind === 'deleted' || data.kind === 'gone') return data.kind;
  const source = expirySource(state);
  if (data.kind === 'expired' && source.timestamp <= (data.expiredSource ?? ZERO_TIMESTAMP)) {
    return 'expired';
  }
  return source.deleteAt !== undefined && source.deleteAt <= nowSeconds ? 'expired' : 'live';
}

export function isLive(state: EntryState | undefined, nowSeconds: number): boolean {
  return state !== undefined && effectiveKind(state, nowSeconds) === 'live';
}

/** Whether a replica with this state should hold a body at all (never for a deletion or an expiry). */
export function wantsBody(state: EntryState): boolean {
  const { data } = state;
  if (data === undefined) return false;
  if (data.kind === 'live') return true;
  // A POST that this replica had missed moved the expiry: the version is live again.
  return (
    data.kind === 'expired' &&
    expirySource(state).timestamp > (data.expiredSource ?? ZERO_TIMESTAMP)
  );
}

/**
 * Nothing is left of it but that it hides what is older: a deletion, or a version that expired. Not yet
 * one that has only passed its delete-at: its body is still to be freed.
 */
export function isDead(state: EntryState): boolean {
  return state.data !== undefined && !wantsBody(state);
}

/** A version that expired, and that no later change of its expiry has revived: no replica need have its bytes. */
export function isFreed(state: EntryState): boolean {
  return state.data?.kind === 'expired' && !wantsBody(state);
}

/**
 * Whether who has this state, and the body that belongs to it, has the bytes of `wanted`. One that has freed them
 * lacks no body, and has no bytes either: a later change of the expiry may have revived what it let go.
 */
export function hasBytesOf(
  { state, hasBody }: { readonly state: EntryState; readonly hasBody: boolean },
  wanted: EntryState,
): boolean {
  return hasBody && sameBody(state, wanted) && !isFreed(state);
}

/** What is dead has not been so before: from when it was written, and from its delete-at, in microseconds. */
export function deadSinceMicros(state: EntryState, newest = newestTimestamp(state)): number {
  const written = microsOf(newest);
  if (state.data?.kind !== 'expired') return written;
  return Math.max(written, (expirySource(state).deleteAt ?? 0) * 1e6);
}

/** Bytes of the body that belongs to this state; 0 where there is none. */
export function bodyLength(state: EntryState): number {
  return wantsBody(state) ? (state.data?.body?.length ?? 0) : 0;
}

/** The content type as shown: a POST may have set a new one. */
export function contentTypeOf(state: EntryState): string {
  return state.groups['system']?.values['content-type'] ?? state.data?.contentType ?? '';
}
