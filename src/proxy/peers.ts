/**
 * What the proxy has learnt of nodes and devices from its own calls: how fast they answer, and which
 * to leave alone for a while. A limited replica is asked last, not never: when a majority needs it,
 * it is asked all the same.
 *
 * Backoff: the first failure limits for 1 s, doubled by each further one up to 15 s, with jitter;
 * when the time is over the replica is tried again, and one success clears it.
 */
import type { Env } from '#env/env.ts';
import type { Links } from '#wire/contract.ts';
import type { Replica } from './placement.ts';

interface Health {
  failures: number;
  limitedUntilMs: number;
  lastOkMs: number;
  /** Moving average of the answer time, and of its deviation. */
  latencyMs: number;
  deviationMs: number;
}

export interface PeerStatus {
  readonly node: string;
  readonly device: number;
  readonly latencyMs: number;
  readonly failures: number;
  readonly limitedForMs: number;
}

const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 15_000;
const ALPHA = 0.1;
/** What says something about the node or its device; anything else is about the one call. */
const LIMITING = new Set([
  'unreachable',
  'connection-lost',
  'timeout',
  'no-device',
  'device-failed',
  'device-full',
  'device-missing',
  'device-read-only',
]);

export class Peers {
  readonly #env: Env;
  readonly #site: string;
  readonly #node: string;
  readonly #links: Links;
  readonly #health = new Map<number, Health & { node: string }>();
  readonly #outstanding = new Map<number, number>();

  constructor(env: Env, self: { readonly node: string; readonly site: string }, links: Links) {
    this.#env = env;
    this.#links = links;
    this.#site = self.site;
    this.#node = self.node;
  }

  succeeded(replica: Replica | { device: number; node: string }, tookMs: number): void {
    const health = this.#of(replica.device, replica.node);
    health.failures = 0;
    health.limitedUntilMs = 0;
    health.lastOkMs = this.#env.clock.monotonicMs();
    const off = tookMs - health.latencyMs;
    health.latencyMs += ALPHA * off;
    health.deviationMs += ALPHA * (Math.abs(off) - health.deviationMs);
  }

  failed(replica: { device: number; node: string }, code: string): void {
    if (!LIMITING.has(code)) return;
    const health = this.#of(replica.device, replica.node);
    const now = this.#env.clock.monotonicMs();
    // What fails together (calls under way when a node died) is one failure.
    if (now < health.limitedUntilMs) return;
    health.failures++;
    const backoff = Math.min(
      MAX_BACKOFF_MS,
      FIRST_BACKOFF_MS * 2 ** Math.min(health.failures - 1, 10),
    );
    health.limitedUntilMs = now + backoff * (0.75 + this.#env.random.float() / 2);
  }

  isLimited(device: number): boolean {
    const health = this.#health.get(device);
    return health !== undefined && health.limitedUntilMs > this.#env.clock.monotonicMs();
  }

  /** Connected, and answered well within the last `withinMs`. */
  isAlive(device: number, withinMs: number): boolean {
    const health = this.#health.get(device);
    if (health === undefined || health.failures > 0) return false;
    if (this.#links.rttMs(health.node) === undefined) return false;
    return health.lastOkMs > this.#env.clock.monotonicMs() - withinMs;
  }

  /** About the 95th percentile of this device's answer time; 0 where unknown. */
  slowMs(device: number): number {
    const health = this.#health.get(device);
    return health === undefined ? 0 : health.latencyMs + 3 * health.deviationMs;
  }

  /** Own node, own site, then by measured latency; limited ones last. Stable for equals. */
  nearestFirst<R extends Replica>(replicas: readonly R[]): R[] {
    const scored = replicas.map((replica) => ({ replica, score: this.#score(replica) }));
    scored.sort((a, b) => a.score - b.score);
    return scored.map((item) => item.replica);
  }

  /**
   * Bytes that a device has been sent and has not answered: a device that hangs must not make the
   * proxy hold what others have long acknowledged. False: too many already, nothing was counted.
   */
  reserve(device: number, bytes: number, limit: number): boolean {
    const held = this.#outstanding.get(device) ?? 0;
    if (held > 0 && held + bytes > limit) return false;
    this.#outstanding.set(device, held + bytes);
    return true;
  }

  release(device: number, bytes: number): void {
    this.#outstanding.set(device, (this.#outstanding.get(device) ?? bytes) - bytes);
  }

  statuses(): PeerStatus[] {
    const now = this.#env.clock.monotonicMs();
    return [...this.#health].map(([device, health]) => ({
      device,
      node: health.node,
      latencyMs: Math.round(health.latencyMs * 1000) / 1000,
      failures: health.failures,
      limitedForMs: Math.max(0, Math.round(health.limitedUntilMs - now)),
    }));
  }

  #score(replica: Replica): number {
    const limited = this.isLimited(replica.device) ? 1e9 : 0;
    if (replica.node === this.#node) return limited;
    const far = replica.site === this.#site ? 0 : 1e6;
    return limited + far + 0.001 + (this.#health.get(replica.device)?.latencyMs ?? 0);
  }

  #of(device: number, node: string): Health & { node: string } {
    let health = this.#health.get(device);
    if (health === undefined || health.node !== node) {
      health = { node, failures: 0, limitedUntilMs: 0, lastOkMs: 0, latencyMs: 0, deviationMs: 0 };
      this.#health.set(device, health);
    }
    return health;
  }
}
