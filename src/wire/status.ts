/** What `/status` and the metrics show of the wire. */
import type { Connection, Traffic } from './connection.ts';
import type { LaneStatus } from './lane.ts';

export interface WireStatus {
  readonly node: string;
  readonly site: string;
  readonly connections: readonly ConnectionStatus[];
  readonly lanes: readonly LaneStatus[];
  readonly pendingHandshakes: number;
  readonly localCalls: number;
  /** Credit given to peers for bodies, all streams together. */
  readonly receiveWindowBytes: number;
  /** How many connections have ended in failure, by code. */
  readonly errors: Readonly<Record<string, number>>;
}

export interface ConnectionStatus extends Traffic {
  readonly peer: string;
  readonly site: string;
  readonly lane: number;
  readonly dialledBy: string;
  readonly state: string;
  readonly version: number;
  readonly ageMs: number;
  readonly rttMs: number | undefined;
  /** The fastest ping of the last minute. */
  readonly rttFloorMs: number | undefined;
  /** How far the peer's wall clock is ahead of ours. */
  readonly clockOffsetMs: number | undefined;
  readonly callsOutActive: number;
  readonly callsInActive: number;
  /** Handlers at work, those included whose caller has gone. */
  readonly handlersActive: number;
  readonly callsOut: number;
  readonly callsIn: number;
  readonly dataInFlightBytes: number;
  readonly dataWindowBytes: number;
}

/** Of a connection that is or was open. */
export function describeConnection(connection: Connection, nowMs: number): ConnectionStatus {
  const { peer, session } = connection;
  const { calls, heartbeat, pacer, scheduler } = session;
  return {
    peer: peer.node,
    site: peer.site,
    lane: connection.lane,
    dialledBy: connection.dialledBy,
    state: connection.state,
    version: connection.version,
    ageMs: Math.round(nowMs - connection.createdMs),
    rttMs: heartbeat.rttMs,
    rttFloorMs: heartbeat.rttMs === undefined ? undefined : pacer.floorMs,
    clockOffsetMs: heartbeat.clockOffsetMs,
    callsOutActive: calls.outgoingCount,
    callsInActive: calls.incomingCount,
    handlersActive: calls.handlersActive,
    callsOut: calls.callsOut,
    callsIn: calls.callsIn,
    dataInFlightBytes: scheduler.inFlightBytes,
    dataWindowBytes: scheduler.windowBytes,
    ...connection.traffic,
  };
}
