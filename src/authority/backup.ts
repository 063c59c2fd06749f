/**
 * All of the state store at one moment: authority, identity, bucket names. Not in it: what lives on a
 * lease, what processes last reported, and bundles that are not in force any more.
 */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import {
  type KeyRange,
  type KeyValue,
  MAX_RANGE_LIMIT,
  MAX_TXN_ITEMS,
  type State,
} from '#state/state.ts';
import type { Backup } from './backup-format.ts';
import { BUNDLES, publishedOf } from './publisher.ts';
import { clusterRecord, KEYS } from './records.ts';

/** Keys of one range: with as many again that come in between it is still answered whole. */
const PIECE = MAX_RANGE_LIMIT / 2;
const MAX_ATTEMPTS = 5;

/** @throws OperatingError `no-authority`, `too-large`, `state-busy` */
export async function collectBackup(state: State, clock: Env['clock']): Promise<Backup> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const ranges = await split(state);
    if (ranges.length > MAX_TXN_ITEMS)
      throw new OperatingError('too-large', 'the state store has too many keys for one backup');
    // One transaction: one moment, however many pieces.
    const { results, revision } = await state.txn({
      success: ranges.map((range) => ({ kind: 'range', range })),
    });
    if (results.some((result) => result.kind !== 'range' || result.more)) continue;
    const all = results.flatMap((result) => (result.kind === 'range' ? result.items : []));
    return describe(all, revision, clock.wallMicros() / 1000);
  }
  throw new OperatingError('state-busy', 'keys are added too fast: try again');
}

/** The whole of the store in ranges that can each be answered at once. */
async function split(state: State): Promise<KeyRange[]> {
  const ranges: KeyRange[] = [];
  for (let start = '\0'; ; ) {
    const { items, more } = await state.range({ start }, { limit: PIECE });
    const last = items.at(-1);
    if (!more || last === undefined) return [...ranges, { start }];
    ranges.push({ start, end: last.key });
    start = last.key;
  }
}

function describe(all: readonly KeyValue[], revision: number, madeMs: number): Backup {
  const byKey = new Map(all.map((item) => [item.key, item]));
  const cluster = byKey.get(KEYS.cluster);
  if (cluster === undefined)
    throw new OperatingError('no-authority', 'this state store has no authority');
  const { version, upload } = publishedOf(byKey.get(BUNDLES.current));
  const isOldBundle = (key: string): boolean =>
    key.startsWith(BUNDLES.prefix) &&
    key !== BUNDLES.current &&
    !key.startsWith(`${BUNDLES.prefix}${upload}/`);
  const kept = all.filter(
    ({ key, lease }) => lease === undefined && !key.startsWith(KEYS.processes) && !isOldBundle(key),
  );
  return {
    clusterId: clusterRecord.decode(cluster.value).clusterId,
    madeMs,
    revision,
    bundleVersion: version,
    items: kept.map(({ key, value }) => [key, value]),
  };
}
