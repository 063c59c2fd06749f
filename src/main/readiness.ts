/**
 * Whether a proxy can serve, as its /healthcheck says: from when a majority of the replicas of every
 * partition has answered for the first time. A process that listens before the others of its cluster
 * are up, or before its first rings have come, would answer 503 to whoever trusted an earlier `OK`.
 *
 * It stays ready afterwards: which requests can be answered then depends on their names, and each is
 * told by itself; a proxy that left its balancer because a distant site is away would help nobody.
 */
import { codeOf } from '#base/errors.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { DeviceReport, DevicesReply } from '#object/calls.ts';
import { Quorum } from '#proxy/quorum.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';

/** Connecting takes several round trips, which `--rtt` may make seconds long. */
const DEADLINE_MS = 30_000;
const AGAIN_MS = 200;
/** Partitions of a ring that are looked at, evenly spread: large rings have a million. */
const MAX_PARTITIONS = 1_024;
const SERVING = new Set(['ok', 'full']);

export interface ReadinessOptions {
  readonly env: Env;
  readonly wire: Caller;
  readonly cluster: ClusterSource;
}

export class Readiness {
  readonly #options: ReadinessOptions;
  /** Each node's last answer. */
  readonly #answers = new Map<string, readonly DeviceReport[]>();
  readonly #asking = new Set<string>();
  #ready = false;
  #stopped = false;

  constructor(options: ReadinessOptions) {
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#ready;
  }

  /** Asks all nodes, each by itself (one that hangs must not hold up the rest), until it is so. */
  start(): void {
    if (this.#ready || this.#stopped) return;
    const { env, cluster } = this.#options;
    for (const node of cluster.current().nodes.keys())
      if (!this.#asking.has(node)) void this.#ask(node);
    env.clock.setTimer(AGAIN_MS, () => this.start());
  }

  stop(): void {
    this.#stopped = true;
  }

  async #ask(node: string): Promise<void> {
    const { wire, env, cluster } = this.#options;
    this.#asking.add(node);
    try {
      const options = { txn: 'readiness', deadlineMs: DEADLINE_MS };
      const { result } = await wire.call(node, 'device.status', {}, options);
      this.#answers.set(node, (result as DevicesReply).devices);
      this.#check(cluster.current());
    } catch (error) {
      env.log.debug('proxy.not-ready', { peer: node, error: codeOf(error) });
    } finally {
      this.#asking.delete(node);
    }
  }

  #check(view: ClusterView): void {
    if (this.#ready || !hasMajorities(view, [...this.#answers.values()].flat())) return;
    this.#ready = true;
    this.#options.env.log.info('proxy.ready');
  }
}

function hasMajorities(view: ClusterView, reports: readonly DeviceReport[]): boolean {
  const rings = [...view.rings.values()];
  const canStore = rings.some(({ policy }) => policy !== ACCOUNT_RING && policy !== CONTAINER_RING);
  if (!canStore) return false;
  return rings.every((ring) => {
    const counting = reports.filter(
      ({ status, complete }) => SERVING.has(status) && (complete[String(ring.policy)] ?? 0) > 0,
    );
    return ringHasMajorities(ring, new Set(counting.map(({ id }) => id)));
  });
}

function ringHasMajorities(ring: Ring, devices: ReadonlySet<number>): boolean {
  const step = Math.max(1, Math.floor(ring.partitions / MAX_PARTITIONS));
  for (let partition = 0; partition < ring.partitions; partition += step) {
    const { primaries, former } = ring.placement(partition);
    const sets = former === undefined ? [primaries] : [former, primaries];
    const quorum = new Quorum(sets.map((set) => set.map(({ id }) => id)));
    if (!quorum.isWrite(devices)) return false;
  }
  return true;
}
