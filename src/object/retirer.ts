/**
 * Drops what is left of a container's objects in a policy that the container has left
 * (proxy/policy-move/README.md). What is here of such a name was copied or never acknowledged, so it is
 * dropped whatever it is; but only after a majority of the container's replicas has refused its row for
 * that very reason, just now: a device that was away for long, or a job that is, must not be believed.
 */
import { newestTimestamp } from '#base/entry.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { Caller } from '#wire/contract.ts';
import { parseRetire } from './args.ts';
import type { RetireArgs, RetireReply } from './calls.ts';
import type { Guard } from './guard.ts';
import type { Relister } from './relister.ts';

const TXN = 'retire';
const DEADLINE_MS = 10_000;
/** An answer that is older may not be true any more. */
const FRESH_MS = 10_000;

export interface RetirerOptions {
  readonly env: Pick<Env, 'clock' | 'log'>;
  readonly wire: Caller;
  readonly cluster: ClusterSource;
  readonly guard: Guard;
  readonly relister: Relister;
}

export class Retirer {
  readonly #options: RetirerOptions;

  constructor(options: RetirerOptions) {
    this.#options = options;
  }

  /** object.retire */
  readonly call = async (args: unknown): Promise<{ result: RetireReply }> => {
    const request = parseRetire(args);
    const { guard } = this.#options;
    const device = guard.device(request);
    guard.checkName(request.path, request.hash);
    const { policy, hash } = request;
    const entry = device.stat({ policy, hash });
    return { result: { retired: entry === undefined || (await this.#retire(device, entry)) } };
  };

  /** From all of its primaries, or they would give it to each other again. True: dropped here and there. */
  async retire(device: Device, entry: Entry): Promise<boolean> {
    const { cluster, wire } = this.#options;
    const { policy, hash } = entry.key;
    const ring = cluster.current().rings.get(policy);
    if (ring === undefined) return false;
    const { primaries } = ring.placement(ring.partitionOf(hash));
    const asked = await Promise.allSettled(
      primaries.map(({ id, node }) => {
        const { path } = entry;
        const args: RetireArgs = { device: id, policy, hash, ringVersion: ring.version, path };
        return wire.call(node, 'object.retire', args, { txn: TXN, deadlineMs: DEADLINE_MS });
      }),
    );
    const left = device.stat(entry.key);
    const isGone = left === undefined || (await this.#retire(device, left));
    return isGone && asked.every(isRetired);
  }

  async #retire(device: Device, entry: Entry): Promise<boolean> {
    const { env, relister } = this.#options;
    const startMs = env.clock.monotonicMs();
    if ((await relister.relist(device, entry, TXN)) !== 'elsewhere') return false;
    if (env.clock.monotonicMs() - startMs > FRESH_MS) return false;
    device.markListed(entry.key, newestTimestamp(entry.state));
    const listed = device.stat(entry.key);
    const isSame = listed?.path === entry.path;
    const dropped = isSame && (await device.forget(listed));
    if (dropped) env.log.debug('object.retired', { device: device.id, path: entry.path });
    return dropped;
  }
}

function isRetired(asked: PromiseSettledResult<{ readonly result: unknown }>): boolean {
  return asked.status === 'fulfilled' && (asked.value.result as RetireReply).retired === true;
}
