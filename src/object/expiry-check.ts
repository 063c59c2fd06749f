/**
 * Whether the bytes of a version that has expired may be the last ones of a version that has not: a POST that
 * this replica missed may have moved its expiry. Where all replicas keep bodies, one that has the POST keeps the
 * bytes, whichever N-W are lost. Where fewer do, the POST may be on a witness and on one that was lost since, and
 * who was away meanwhile has the bytes: it asks before it frees them. An acknowledged POST is on W, so it is on one
 * of N-W+1 complete replicas; this one is one of them, if it is complete.
 *
 * (A POST to what has expired is told 404, so none comes behind the grace.)
 */
import { expirySource, join } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Device, Entry } from '#device/contract.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import { majority } from '#ring/joint.ts';
import type { Ring, RingDevice } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { StatArgs, StatReply } from './calls.ts';

const DEADLINE_MS = 5_000;

export class ExpiryCheck {
  readonly #caller: Caller;
  readonly #cluster: ClusterSource;

  constructor(caller: Caller, cluster: ClusterSource) {
    this.#caller = caller;
    this.#cluster = cluster;
  }

  /** False: somebody knows of another expiry, or too few answered. */
  async isOver(device: Device, entry: Entry): Promise<boolean> {
    const { policy, hash } = entry.key;
    const ring = this.#cluster.current().rings.get(policy);
    if (ring === undefined) return true;
    const { primaries, former } = ring.placement(ring.partitionOf(hash));
    if (ring.copies >= primaries.length) return true;
    // While joint, of the former set: that is where everything acknowledged is.
    const set = former ?? primaries;
    const others = set.filter(({ id }) => id !== device.id);
    const counts = others.length < set.length && device.completeness.isComplete(policy, hash);
    let needed = set.length - majority(set.length) + 1 - (counts ? 1 : 0);
    const answers = others.map((other) => this.#ask(ring, other, entry));
    for (const answer of await Promise.all(answers)) {
      if (answer === 'moved') return false;
      if (answer === 'same') needed--;
    }
    return needed <= 0;
  }

  async #ask(
    ring: Ring,
    { id, node }: RingDevice,
    entry: Entry,
  ): Promise<'same' | 'moved' | 'unknown'> {
    const { policy, hash } = entry.key;
    const args: StatArgs = { device: id, policy, hash, ringVersion: ring.version };
    const options = { txn: 'expirer', deadlineMs: DEADLINE_MS };
    try {
      const { result } = await this.#caller.call(node, 'object.stat', args, options);
      const { state, complete } = result as StatReply;
      if (state !== null && isMoved(entry, state)) return 'moved';
      return complete ? 'same' : 'unknown';
    } catch {
      return 'unknown'; // away, or out of service
    }
  }
}

/** What the other has is joined here soon, and decides. */
function isMoved({ state }: Entry, other: Uint8Array): boolean {
  const joined = join(state, decodeState(other));
  return expirySource(joined).timestamp !== expirySource(state).timestamp;
}
