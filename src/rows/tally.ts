/** What one row adds to (or takes from) the totals and the digest of its container. */
import type { ContainerLine } from './container-table.ts';
import { addTerm, subtractTerm, term } from './digest.ts';
import { statePayload } from './format.ts';
import { isMark, type StoredRow } from './row-table.ts';

export type Tally = Pick<
  ContainerLine,
  'rows' | 'bytes' | 'objects' | 'total' | 'marks' | 'digest'
>;

/** @param prefix of the container's digest terms */
export function tally(
  into: Tally,
  prefix: Buffer,
  row: StoredRow,
  name: Buffer,
  sign: 1 | -1,
): void {
  if (isMark(row)) {
    into.marks += sign;
    return;
  }
  const { micros, size, etag, type, count } = row;
  const listed = `${micros}\0${size}\0${etag}\0${type}\0${count}`;
  const bytes = term(prefix, name, listed, statePayload(row.state));
  if (sign === 1) addTerm(into.digest, bytes);
  else subtractTerm(into.digest, bytes);
  into.total += sign;
  if (row.hidden === 1) return;
  into.rows += sign;
  into.bytes += sign * row.size;
  into.objects += sign * row.count;
}
