/**
 * What the rest of Anello sees of the wire: calls between named nodes, with a deadline, a
 * transaction id, and a body in either direction.
 *
 * The rules of a call:
 * - `args` and `result` are plain msgpack values (maps, arrays, strings, numbers, null, booleans,
 *   binary). `undefined` fields arrive as null. Neither side may change them afterwards.
 * - Binary fields in `args`, `result` and bodies are views into received chunks: they stay valid
 *   as long as they are referred to, but they keep the whole chunk alive; copy what is kept long.
 * - `deadlineMs` is the time without progress: until the reply for a call without a body; with one,
 *   it starts again whenever bytes of the body move, in either direction.
 * - A call ends with its reply (and its reply body, if it has one). What the handler has not read
 *   of the request body by then is discarded, and the caller's source is told to stop.
 * - After `connection-lost` or `timeout` the outcome is unknown; repeat by write id.
 */
import { type Facts, OperatingError } from '#base/errors.ts';
import type { Address, PeerCertificate, TlsOptions } from '#env/env.ts';

export interface Caller {
  /** @throws WireError */
  call(node: string, method: string, args: unknown, options: CallOptions): Promise<CallResult>;
}

/** What is known of the connections to others. */
export interface Links {
  /** Smoothed round-trip time of calls to a node; undefined while there is no connection. */
  rttMs(node: string): number | undefined;
}

export interface CallOptions {
  /** The transaction id that logs and traces show on every node a request touches. */
  readonly txn: string;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** The request body. A chunk belongs to the wire once it was yielded: don't change it. */
  readonly body?: BodySource;
  /** Default: `bulk` with a request body, else `calls`. A call with a large reply body says `bulk`. */
  readonly lane?: 'calls' | 'bulk';
}

export interface CallResult {
  readonly result: unknown;
  /** Read it to its end or cancel it; a body nobody reads is cut off after `deadlineMs`. */
  readonly body: BodyReader | undefined;
}

export type Handler = (args: unknown, context: CallContext) => Promise<Reply> | Reply;

export interface Reply {
  readonly result: unknown;
  readonly body?: BodySource;
}

export interface CallContext {
  readonly txn: string;
  /** The name of the node that calls. */
  readonly peer: string;
  readonly deadline: Deadline;
  readonly body: BodyReader | undefined;
}

export interface Deadline {
  /** At most 0 when it has passed. Check it again before a commit. */
  remainingMs(): number;
  /** Aborts when the deadline has passed, the caller cancels, or its connection is lost. */
  readonly signal: AbortSignal;
}

export type BodySource = AsyncIterable<Uint8Array>;

/**
 * A body as it arrives, for one reader, once. Reading grants the sender more credit; not reading
 * stops it. Iteration throws a WireError when the body breaks off; leaving a `for await` early
 * cancels.
 */
export interface BodyReader extends AsyncIterable<Buffer> {
  cancel(reason?: string): void;
}

export const WIRE_CODES = [
  'unreachable', // no connection could be made: nothing was sent
  'timeout', // the deadline passed: outcome unknown
  'cancelled', // the caller's signal, or the peer stopped the body
  'connection-lost', // the connection broke after the call was sent: outcome unknown
  'remote', // the handler failed: see remoteCode and facts
  'overloaded', // too many calls or bytes under way: nothing was done
  'refused', // unknown method or node, args too large, wrong cluster or key: nothing was done
  'clock-drift', // the peer's clock, or ours as the peer sees it, is too far off
] as const;
export type WireCode = (typeof WIRE_CODES)[number];

export class WireError extends OperatingError {
  override readonly name = 'WireError';
  declare readonly code: WireCode;
  /** With `remote`: the code of the error that the handler threw. */
  readonly remoteCode: string | undefined;

  constructor(code: WireCode, message: string, facts: Facts = {}, remoteCode?: string) {
    super(code, message, facts);
    this.remoteCode = remoteCode;
  }
}

/** Where the other processes are, as the cluster document says; asked on every dial. */
export interface PeerDirectory {
  lookup(node: string): PeerLocation | undefined;
}

export interface PeerLocation {
  readonly address: Address;
  readonly site: string;
  /** One way, see ConnectOptions. */
  readonly delayMs?: number;
  readonly tls?: TlsOptions;
}

/**
 * Who may connect, and which calls it may make; asked where there is TLS. `certificate` is undefined
 * for a connection without.
 */
export interface PeerGuard {
  /** Why this peer is refused; undefined: it is welcome. */
  refusal(certificate: PeerCertificate | undefined, claimed: SelfIdentity): string | undefined;
  permits(certificate: PeerCertificate | undefined, method: string): boolean;
}

/** What makes two processes members of one cluster. */
export interface ClusterIdentity {
  readonly clusterId: string;
  /** At least 16 random bytes; proven by each side to the other, never sent. */
  readonly sharedKey: Uint8Array;
}

export interface SelfIdentity {
  readonly node: string;
  readonly site: string;
}
