/** What all connections of a process have in common. */
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { Env } from '#env/env.ts';
import type { ClusterIdentity, Handler, PeerGuard, SelfIdentity } from './contract.ts';
import type { ReceiveBudget } from './incoming-body.ts';
import type { WireLimits } from './limits.ts';

export interface WireContext {
  readonly env: Env;
  readonly clock: HybridClock;
  readonly cluster: ClusterIdentity;
  readonly self: SelfIdentity;
  readonly limits: WireLimits;
  /** Undefined: whoever has proven itself may do everything. */
  readonly guard: PeerGuard | undefined;
  /** The protocol versions spoken; other than the build's only in tests. */
  readonly versions: { readonly min: number; readonly max: number };
  /** Random, one for each start of the process. */
  readonly instance: Buffer;
  readonly budget: ReceiveBudget;
  handler(method: string): Handler | undefined;
}
