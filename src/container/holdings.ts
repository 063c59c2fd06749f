/** `container.holdings`: what containers hold, or users of them, as this replica would tell it now. */
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { maxTimestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { Holding } from '#rows/holders.ts';
import { slotState } from '#rows/row-state.ts';
import type { RowStore } from '#rows/row-store.ts';
import { parseHoldings } from '#rows/service/arguments.ts';
import type { HoldingAsked, HoldingsReply } from '#rows/service/calls.ts';
import type { RowContext, RowDevice } from '#rows/service/context.ts';

type Held = Pick<Holding, 'rows' | 'bytes' | 'newest'>;

export function serveHoldings(context: RowContext): void {
  context.options.wire.handle('container.holdings', (args) => {
    const { device, ringVersion, holdings } = parseHoldings(args);
    const target = context.device(device);
    const { hashPrefix, hashSuffix } = context.options.cluster.current();
    const slots = holdings.map((asked) => {
      const hash = hashPath(hashPrefix, asked.path, hashSuffix);
      context.checkPlaced(target, ringVersion, hash);
      if (!context.isComplete(target, hash)) return null;
      return encodeState(slotOf(context, target, hash, asked));
    });
    return { result: { slots } satisfies HoldingsReply };
  });
}

/** Its moment is of this node's clock, as of all that this replica tells: the order of what it told is that of its rows. */
function slotOf(
  { options }: RowContext,
  { device, rows }: RowDevice,
  hash: Buffer,
  { owner, above }: HoldingAsked,
): EntryState {
  const held =
    owner === undefined ? heldInAll(rows, hash) : rows.holding(CONTAINER_RING, hash, owner);
  const { rows: objects = 0, bytes = 0, newest = ZERO_TIMESTAMP } = held ?? {};
  const data = rows.read(CONTAINER_RING, hash, '')?.data;
  const timestamp = options.clock.above(maxTimestamp(above, data?.timestamp ?? ZERO_TIMESTAMP));
  return slotState({ device: device.id, objects, bytes, newest }, timestamp);
}

function heldInAll(rows: RowStore, hash: Buffer): Held | undefined {
  const facts = rows.facts(CONTAINER_RING, hash);
  return facts && { ...facts.totals, newest: facts.newest };
}
