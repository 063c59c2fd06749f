/** What compaction is to do with a record of a row (see `RowSink.standing`). */
import type { RowRecord, RowStanding } from '#device/contract.ts';
import type { PendingRow } from './container-state.ts';
import { isMark, type StoredRow, stateOf } from './row-table.ts';
import { contributes, isLess } from './same.ts';

/** @throws OperatingError `rows-damaged` */
export function standingOf(
  record: RowRecord,
  stored: StoredRow | undefined,
  pending: PendingRow | undefined,
): RowStanding {
  if (record.forgets !== undefined) {
    if (pending !== undefined) return 'undecided'; // it must not come behind what comes back
    return stored?.until === record.forgets ? 'needed' : 'dead';
  }
  if (pending !== undefined && pending.state === undefined) return 'undecided';
  // Not a word of it: damage may have taken it away here, and what was forgotten leaves a mark.
  if (stored === undefined) return 'needed';
  if (isMark(stored)) return 'dead';
  const known = stateOf(stored);
  const { state } = record;
  const adds = stored.partial === 1 ? contributes(state, known) : !isLess(state, known);
  return adds ? 'needed' : 'dead';
}
