/** What of a device's entries its peers know: for a device that may have forgotten some of them (repair/recall.ts). */
import { isDead, join } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { Entry } from '#device/contract.ts';
import type { LogDevice } from '#device/log-device.ts';
import type { BucketRange, OwnPartition } from '#ring/own-partitions.ts';
import type { Ring } from '#ring/ring.ts';
import type { Caller } from '#wire/contract.ts';
import type { StateItem, Target } from './calls.ts';
import { bucketHash } from './exchange.ts';
import { isSmall, PeerRanges, type RangeComparison } from './peer-ranges.ts';

interface Kept {
  readonly device: LogDevice;
}

interface Answer {
  readonly unknown: ReadonlyMap<string, Entry>;
  readonly isComplete: boolean;
}

const PAGE = 1_000;
const AT_ONCE = 64;
/** Ranges that differ, down to what is small; those of which nothing is here are of no interest. */
const HELD = { isWanted: ({ own }: RangeComparison) => own.total > 0, isOpened: isSmall };

export class HeldObjects {
  readonly #ranges: PeerRanges;

  constructor(caller: Caller) {
    this.#ranges = new PeerRanges(caller, 'recall');
  }

  hasAny({ device }: Kept, { policy }: Ring, { from, to }: BucketRange): boolean {
    return device.digests.summarise(policy, from, to, 1)[0]!.total > 0;
  }

  /** Of what is alive here. */
  async askedOf(
    peer: Target,
    { device }: Kept,
    ring: Ring,
    partitions: readonly OwnPartition[],
  ): Promise<(Answer | undefined)[]> {
    const ranges = partitions.map(({ buckets }) => buckets);
    const compared = await this.#ranges.compare(peer, device, ring, ranges);
    const answers: (Answer | undefined)[] = [];
    for (const [i, whole] of compared.entries()) {
      const { complete: isComplete, claimed = isComplete } = whole.theirs;
      const unknown = claimed && (await this.#unknown(peer, device, ring, partitions[i]!, whole));
      answers.push(unknown ? { unknown, isComplete } : undefined);
    }
    return answers;
  }

  async #unknown(
    peer: Target,
    device: LogDevice,
    ring: Ring,
    { partition }: OwnPartition,
    whole: RangeComparison,
  ): Promise<Map<string, Entry>> {
    const unknown = new Map<string, Entry>();
    for await (const { range, theirs } of this.#ranges.differing(peer, device, ring, whole, HELD)) {
      for (const entry of entriesIn(device, ring, range)) {
        const isOfIt = ring.partitionOf(entry.key.hash) === partition;
        if (isOfIt && !isDead(entry.state)) unknown.set(entry.key.hash.toString('hex'), entry);
      }
      if (theirs.total === 0) continue;
      for await (const items of this.#ranges.pages(peer, ring, [range])) {
        for (const item of items) {
          unknown.delete(Buffer.from(item.hash).toString('hex'));
          await bury(device, ring, item);
        }
      }
    }
    return unknown;
  }

  async forget({ device }: Kept, _ring: Ring, entries: readonly Entry[]): Promise<void> {
    for (let i = 0; i < entries.length; i += AT_ONCE) {
      const some = entries.slice(i, i + AT_ONCE);
      await Promise.all(some.map((entry) => device.disown(entry)));
    }
  }
}

async function bury(device: LogDevice, { policy }: Ring, item: StateItem): Promise<void> {
  const key = { policy, hash: Buffer.from(item.hash) };
  const existing = device.stat(key);
  if (existing === undefined || isDead(existing.state)) return;
  const state = join(existing.state, decodeState(item.state));
  if (!isDead(state)) return;
  const unlisted = existing.unlisted || item.unlisted;
  await device.write({ key, path: item.path, state, unlisted, intent: 'join' });
}

function* entriesIn(
  device: LogDevice,
  { policy }: Ring,
  { from, to }: BucketRange,
): Generator<Entry> {
  const end = bucketHash(to) ?? undefined;
  let start: Buffer | undefined = bucketHash(from)!;
  while (start !== undefined) {
    const page: Entry[] = device.entries(policy, start, end, PAGE + 1);
    yield* page.slice(0, PAGE);
    start = page[PAGE]?.key.hash;
  }
}
