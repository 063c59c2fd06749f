/**
 * A last batch of a device's log that is all there and bad is cut off on the next start, and the device
 * counts for nothing until it has made sure that it lost nothing acknowledged: for every partition of
 * every ring it exchanges digests with the other primaries and joins what they have more.
 *
 * With N-W+1 complete ones, as a device that knows nothing: nobody can tell a batch that a power failure
 * tore, and that was never acknowledged, from one that was, and has gone bad since. With one less, one that
 * has missed the write would be enough, and the two would be a majority that says 404. Or with all of the
 * others, whatever they are: a power failure may leave all of them in doubt, and nobody is left who knows more.
 *
 * Objects are joined by their states. Rows are pulled with the row services' own calls and given to
 * this node's own replica as repairs.
 */
import { messageOf, OperatingError } from '#base/errors.ts';
import { HASH_BYTES } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import type {
  ContainersArgs,
  ContainersReply,
  PullArgs,
  PullReply,
  RowDigestsReply,
  RowsArgs,
  RowsReply,
} from '#container/calls.ts';
import type { Completeness, Device } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import { isEarly } from '#ring/early-learning.ts';
import { fenceAgain } from '#ring/knowledge.ts';
import { byPeer, type OwnPartition, ownPartitions } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { Target } from './calls.ts';
import { bucketHash } from './exchange.ts';
import { isHeld } from './lister.ts';

/** What the device engine adds to Completeness for this. */
export interface TailCompleteness extends Completeness {
  confirmTail(): Promise<void>;
}

/** Undefined: the device's tail is whole, or confirmed. */
export function cutTail(device: Device): TailCompleteness | undefined {
  const completeness = device.completeness as Partial<TailCompleteness> & Completeness;
  if (!device.completeness.tailUnconfirmed || completeness.confirmTail === undefined)
    return undefined;
  return completeness as TailCompleteness;
}

export interface TailOptions {
  readonly env: Env;
  readonly caller: Caller;
  readonly self: { readonly node: string };
  /** Joins what a peer has more of these partitions; gives those that the peer is complete for. */
  readonly joinObjects: (
    peer: Target,
    device: Device,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ) => Promise<readonly OwnPartition[]>;
}

/** Which others a partition was exchanged with. */
interface Heard {
  readonly all: Set<number>;
  readonly complete: Set<number>;
}

type Progress = Map<OwnPartition, Heard>;

const RANGES = 64;
const PAGE = 500;
const DEADLINE_MS = 10_000;
/** Equal to no container's: all rows are wanted. */
const NO_DIGEST = Buffer.alloc(16);

export class TailCheck {
  readonly #options: TailOptions;
  /** Of all rings, since the device was opened. */
  readonly #progress = new WeakMap<Device, Progress>();

  constructor(options: TailOptions) {
    this.#options = options;
  }

  /**
   * One pass over what is missing; true: the tail is confirmed. `makeDo`: with whoever answered. What is heard early does not
   * count (ring/early-learning.ts), so nobody is asked then.
   */
  async run(
    device: Device,
    tail: TailCompleteness,
    rings: readonly Ring[],
    makeDo: boolean,
  ): Promise<boolean> {
    if (isEarly(this.#options.env.clock, device)) return false;
    const progress: Progress = this.#progress.get(device) ?? new Map();
    this.#progress.set(device, progress);
    let missing = 0;
    for (const ring of rings) missing += await this.#exchangeRing(device, ring, progress);
    if (missing > 0 && !makeDo) return false;
    // The batch that was cut may have held fences too.
    for (const ring of rings) await fenceAgain(device, ring.policy, ownPartitions(ring, device.id));
    await tail.confirmTail();
    this.#progress.delete(device);
    this.#options.env.log.info('device.tail-confirmed', { device: device.id });
    return true;
  }

  /** How many partitions of the ring still miss peers. */
  async #exchangeRing(device: Device, ring: Ring, progress: Progress): Promise<number> {
    const partitions = ownPartitions(ring, device.id);
    const missing = (): OwnPartition[] =>
      partitions.filter((partition) => !isSure(partition, progress.get(partition)));
    for (const peer of byPeer(missing()).keys()) {
      const id = peer.device;
      const wanted = missing().filter((one) => one.others.some((other) => other.id === id));
      for (let i = 0; i < wanted.length; i += RANGES) {
        const batch = wanted.slice(i, i + RANGES);
        const complete = await this.#exchange(device, ring, peer, batch);
        for (const partition of complete === undefined ? [] : batch) {
          const heard = progress.get(partition) ?? { all: new Set(), complete: new Set() };
          progress.set(partition, heard);
          heard.all.add(id);
          if (complete?.includes(partition)) heard.complete.add(id);
        }
      }
    }
    return missing().length;
  }

  /** For which of them the peer is complete; undefined: it did not answer to the end. */
  async #exchange(
    device: Device,
    ring: Ring,
    peer: Target,
    partitions: readonly OwnPartition[],
  ): Promise<readonly OwnPartition[] | undefined> {
    try {
      if (ring.policy === CONTAINER_RING)
        return await this.#rows('container', device, ring, peer, partitions);
      if (ring.policy === ACCOUNT_RING)
        return await this.#rows('account', device, ring, peer, partitions);
      return await this.#options.joinObjects(peer, device, ring, partitions);
    } catch (error) {
      const facts = { device: device.id, peer: peer.node, error: messageOf(error) };
      this.#options.env.log.debug('device.tail-exchange', facts);
      return undefined;
    }
  }

  async #rows(
    prefix: 'container' | 'account',
    device: Device,
    ring: Ring,
    peer: Target,
    partitions: readonly OwnPartition[],
  ): Promise<OwnPartition[]> {
    const own = { device: device.id, node: this.#options.self.node };
    const theirs = await this.#digests(prefix, peer, ring, partitions);
    const ours = await this.#digests(prefix, own, ring, partitions);
    const complete: OwnPartition[] = [];
    for (const [i, partition] of partitions.entries()) {
      const [their, our] = [theirs.ranges[i]!, ours.ranges[i]!];
      const equal =
        their.total === our.total && Buffer.from(their.sum).equals(Buffer.from(our.sum));
      if (!equal) await this.#pullContainers(prefix, own, ring, peer, partition);
      if (their.complete) complete.push(partition);
    }
    return complete;
  }

  async #digests(
    prefix: string,
    target: Target,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<RowDigestsReply> {
    const ranges = partitions.map(({ buckets }) => [buckets.from, buckets.to]);
    const args = { device: target.device, ringVersion: ring.version, ranges };
    return (await this.#call(target, `${prefix}.digests`, args)) as RowDigestsReply;
  }

  async #pullContainers(
    prefix: string,
    own: Target,
    ring: Ring,
    peer: Target,
    { buckets }: OwnPartition,
  ): Promise<void> {
    const to = bucketHash(buckets.to);
    let from = bucketHash(buckets.from);
    while (from !== null) {
      const { version: ringVersion } = ring;
      const args: ContainersArgs = { device: peer.device, ringVersion, from, to, limit: PAGE };
      const page = (await this.#call(peer, `${prefix}.containers`, args)) as ContainersReply;
      for (const container of page.containers) {
        await this.#pullRows(prefix, own, ring, peer, container);
      }
      const last = page.containers.at(-1);
      from = page.more && last !== undefined ? after(Buffer.from(last.hash)) : null;
    }
  }

  /** Takes in all rows that the peer has at the moment it is first asked. */
  async #pullRows(
    prefix: string,
    own: Target,
    ring: Ring,
    peer: Target,
    { hash, path }: { readonly hash: Buffer; readonly path: string },
  ): Promise<void> {
    const { version: ringVersion } = ring;
    const common = { device: peer.device, hash, path, ringVersion };
    let incarnation: string | null = null;
    let since = 0;
    let upTo: number | undefined;
    for (;;) {
      const args: PullArgs = { ...common, incarnation, since, limit: PAGE, digest: NO_DIGEST };
      const page = (await this.#call(peer, `${prefix}.pull`, args)) as PullReply;
      await this.#join(prefix, own, { hash, path, ringVersion }, page);
      upTo ??= page.upTo;
      if (page.equal || !page.more || page.sequence >= upTo) return;
      ({ incarnation, sequence: since } = page);
    }
  }

  /** Through this node's own calls, so that the row service's checks hold for these rows as for any. */
  async #join(
    prefix: string,
    own: Target,
    container: { readonly hash: Buffer; readonly path: string; readonly ringVersion: number },
    page: PullReply,
  ): Promise<void> {
    const { hash, path, ringVersion } = container;
    const intent = 'repair';
    for (const { name, state } of page.rows) {
      if (name !== '') continue;
      const args = { device: own.device, ...container, state, intent };
      await this.#call(own, `${prefix}.write`, args);
    }
    const rows = page.rows.filter(({ name }) => name !== '');
    if (rows.length === 0) return;
    const items = rows.map(({ name, state }) => ({ hash, path, name, state }));
    const args: RowsArgs = { device: own.device, ringVersion, intent, rows: items };
    const { outcomes } = (await this.#call(own, `${prefix}.rows`, args)) as RowsReply;
    if (outcomes.every(isHeld)) return;
    throw new OperatingError('rows-refused', 'this replica refused rows of another', { path });
  }

  async #call(target: Target, method: string, args: unknown): Promise<unknown> {
    const options = { txn: 'tail', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return (await this.#options.caller.call(target.node, method, args, options)).result;
  }
}

function isSure({ needed, others }: OwnPartition, heard: Heard | undefined): boolean {
  if (heard === undefined) return others.length === 0;
  return heard.complete.size >= needed || others.every(({ id }) => heard.all.has(id));
}

/** The next hash; null after the last. */
function after(hash: Buffer): Buffer | null {
  const next = Buffer.from(hash);
  for (let i = HASH_BYTES - 1; i >= 0; i--) {
    next[i] = (next[i]! + 1) & 0xff;
    if (next[i] !== 0) return next;
  }
  return null;
}
