/**
 * What of a device's rows its peers know: for a device that may have forgotten some of them (repair/recall.ts).
 * Not only what is alive: a deletion that nobody else knows of hides nothing.
 */
import { decodeState } from '#base/entry-codec.ts';
import type { BucketRange, OwnPartition } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { RowStore } from '../row-store.ts';
import { BUCKET_BITS, firstHash, nextHash } from '../summary.ts';
import type { RowTarget } from './calls.ts';
import type { RowContext } from './context.ts';
import { parseContainersReply, parseDigestsReply, parsePullReply } from './replies.ts';

interface Kept {
  readonly rows: RowStore;
}

export interface HeldRow {
  readonly hash: Buffer;
  readonly name: string;
  readonly sequence: number;
}

interface Answer {
  readonly unknown: ReadonlyMap<string, HeldRow>;
  readonly isComplete: boolean;
}

interface Container {
  readonly hash: Buffer;
  readonly path: string;
}

const PAGE = 500;
const DEADLINE_MS = 10_000;
/** Equal to no container's: all rows are wanted. */
const NO_DIGEST = Buffer.alloc(16);

export class HeldRows {
  readonly #context: RowContext;

  constructor(context: RowContext) {
    this.#context = context;
  }

  hasAny({ rows }: Kept, { policy }: Ring, { from, to }: BucketRange): boolean {
    return rows.summarise(policy, from, to, 1)[0]!.total > 0;
  }

  async askedOf(
    peer: RowTarget,
    kept: Kept,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<(Answer | undefined)[]> {
    const ranges = partitions.map(({ buckets: { from, to } }) => [from, to] as const);
    const args = { ringVersion: ring.version, ranges };
    const reply = parseDigestsReply(await this.#call(peer, 'digests', args));
    const answers: (Answer | undefined)[] = [];
    for (const [i, theirs] of reply.ranges.entries()) {
      const { complete: isComplete, claimed } = theirs;
      const unknown = claimed && (await this.#unknown(peer, kept, ring, partitions[i]!, theirs));
      answers.push(unknown ? { unknown, isComplete } : undefined);
    }
    return answers;
  }

  async #unknown(
    peer: RowTarget,
    { rows }: Kept,
    ring: Ring,
    { partition, buckets: { from, to } }: OwnPartition,
    theirs: { readonly sum: Buffer; readonly total: number },
  ): Promise<Map<string, HeldRow>> {
    const unknown = new Map<string, HeldRow>();
    const own = rows.summarise(ring.policy, from, to, 1)[0]!;
    if (own.total === theirs.total && own.sum.equals(theirs.sum)) return unknown;
    for (const { hash, path, digest } of containersIn(rows, ring, { from, to })) {
      if (ring.partitionOf(hash) !== partition) continue;
      const known = await this.#digestAt(peer, ring, hash);
      if (known?.equals(digest)) continue;
      const names =
        known === undefined ? NOTHING : await this.#joined(peer, rows, ring, { hash, path });
      for (const row of rowsOf(rows, ring, hash)) {
        if (!names.has(row.name)) unknown.set(`${hash.toString('hex')}/${row.name}`, row);
      }
    }
    return unknown;
  }

  /** Undefined: it has no rows of the container. */
  async #digestAt(peer: RowTarget, ring: Ring, hash: Buffer): Promise<Buffer | undefined> {
    const to = nextHash(hash) ?? null;
    const args = { ringVersion: ring.version, from: hash, to, limit: 1 };
    const { containers } = parseContainersReply(await this.#call(peer, 'containers', args));
    return containers[0]?.digest;
  }

  /** Names of all rows that the peer has; those that are here too are joined. */
  async #joined(
    peer: RowTarget,
    rows: RowStore,
    ring: Ring,
    { hash, path }: Container,
  ): Promise<Set<string>> {
    const key = { policy: ring.policy, hash };
    const names = new Set<string>();
    let incarnation: string | null = null;
    let since = 0;
    for (;;) {
      const args = { hash, path, ringVersion: ring.version, incarnation, since, limit: PAGE };
      const page = parsePullReply(await this.#call(peer, 'pull', { ...args, digest: NO_DIGEST }));
      for (const { name, state } of page.rows) {
        names.add(name);
        if (rows.read(ring.policy, hash, name) === undefined) continue;
        await rows.write({ key, path, name, state: decodeState(state) });
      }
      if (page.equal || !page.more) return names;
      ({ incarnation, sequence: since } = page);
    }
  }

  async forget({ rows }: Kept, ring: Ring, things: readonly HeldRow[]): Promise<void> {
    const byContainer = Map.groupBy(things, ({ hash }) => hash.toString('hex'));
    for (const list of byContainer.values()) {
      // A container's own state goes when nothing else is left.
      for (const some of [
        list.filter(({ name }) => name !== ''),
        list.filter(({ name }) => name === ''),
      ])
        await rows.forget(ring.policy, list[0]!.hash, some);
    }
  }

  #call(peer: RowTarget, method: string, args: object): Promise<unknown> {
    const options = { txn: 'recall', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    return this.#context.call(peer, method, args, options);
  }
}

const NOTHING: ReadonlySet<string> = new Set();

function* containersIn(rows: RowStore, { policy }: Ring, { from, to }: BucketRange) {
  const end = to === 2 ** BUCKET_BITS ? undefined : firstHash(to);
  let start: Buffer | undefined = firstHash(from);
  while (start !== undefined) {
    const page = rows.containers(policy, start, end, PAGE);
    yield* page;
    const last = page.at(-1);
    start = page.length < PAGE || last === undefined ? undefined : nextHash(last.hash);
  }
}

function* rowsOf(rows: RowStore, { policy }: Ring, hash: Buffer): Generator<HeldRow> {
  for (let after = 0; ; ) {
    const page = rows.changes(policy, hash, after, PAGE);
    for (const { name, sequence } of page) yield { hash, name, sequence };
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.sequence;
  }
}
