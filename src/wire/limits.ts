/**
 * The limits of a process's wire, all in one place. Nothing that a peer sends can make a process
 * keep more than these say, whatever the peer does.
 */
export interface WireLimits {
  /** Calls, replies and failures: the largest payload (24 bits of length are the format's limit). */
  readonly controlBytes: number;
  /** The largest DATA frame this side accepts, and sends. */
  readonly dataBytes: number;
  /** Calls of one connection under way in one direction; more are answered `overloaded`. */
  readonly callsPerConnection: number;
  /** Connections that have not proven themselves yet. */
  readonly pendingHandshakes: number;
  /** Bytes waiting to leave on one connection: above `outputSoft` new calls are `overloaded`, */
  readonly outputSoftBytes: number;
  /** above `outputHard` the connection is closed: the peer calls but reads no replies. */
  readonly outputHardBytes: number;
  /** Credit every stream has from the start. */
  readonly initialCreditBytes: number;
  /** The most credit of a stream that is read fast, within a site and between sites, */
  readonly siteWindowBytes: number;
  readonly farWindowBytes: number;
  /** as long as all windows of the process together stay below this. */
  readonly receiveBudgetBytes: number;
  /** DATA under way on one connection before the receiver has confirmed it. */
  readonly connectionWindowBytes: number;
  /** Between sites: how many connections for bulk there are beside the one for calls. */
  readonly bulkLanes: number;
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly pingIntervalMs: number;
  /** A connection that has been silent this long, though pinged, is given up. */
  readonly silenceMs: number;
  readonly backoffFirstMs: number;
  readonly backoffMaxMs: number;
  /** A peer that is down is dialled again only while somebody has asked for it this recently. */
  readonly demandMs: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULT_LIMITS: WireLimits = {
  controlBytes: 8 * MIB,
  dataBytes: 256 * KIB,
  callsPerConnection: 4096,
  pendingHandshakes: 256,
  outputSoftBytes: 32 * MIB,
  outputHardBytes: 128 * MIB,
  initialCreditBytes: 256 * KIB,
  siteWindowBytes: 1 * MIB,
  farWindowBytes: 4 * MIB,
  receiveBudgetBytes: 64 * MIB,
  connectionWindowBytes: 8 * MIB,
  bulkLanes: 1,
  connectTimeoutMs: 2000,
  handshakeTimeoutMs: 10_000,
  pingIntervalMs: 2000,
  silenceMs: 8000,
  backoffFirstMs: 25,
  backoffMaxMs: 1000,
  demandMs: 60_000,
};
