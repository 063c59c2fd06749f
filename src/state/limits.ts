/**
 * What every driver checks before it does anything, so that a request that one driver takes is not
 * refused by the other, and key ranges as bytes.
 */
import { OperatingError } from '#base/errors.ts';
import {
  type KeyRange,
  MAX_KEY_BYTES,
  MAX_RANGE_LIMIT,
  MAX_TXN_ITEMS,
  MAX_VALUE_BYTES,
  type Operation,
  type RangeOptions,
  type Transaction,
} from './state.ts';

export interface Bounds {
  readonly start: Buffer;
  /** Exclusive; undefined: to the end of the store. */
  readonly end?: Buffer;
}

export function boundsOf(range: KeyRange): Bounds {
  if (!('prefix' in range)) {
    const start = Buffer.from(range.start);
    return range.end === undefined ? { start } : { start, end: Buffer.from(range.end) };
  }
  const start = Buffer.from(range.prefix);
  if (start.length === 0) return { start };
  // UTF-8 has no byte 0xff, so the last byte can always be raised.
  const end = Buffer.from(start);
  end[end.length - 1]! += 1;
  return { start, end };
}

export function inBounds(bounds: Bounds, key: Buffer): boolean {
  if (Buffer.compare(key, bounds.start) < 0) return false;
  return bounds.end === undefined || Buffer.compare(key, bounds.end) < 0;
}

export function rangeLimit(options: RangeOptions | undefined): number {
  const limit = options?.limit ?? MAX_RANGE_LIMIT;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_RANGE_LIMIT) {
    throw refused('range limit', { limit });
  }
  return limit;
}

/** @throws OperatingError `state-limit` */
export function checkKey(key: string): Buffer {
  const bytes = Buffer.from(key);
  if (bytes.length === 0 || bytes.length > MAX_KEY_BYTES) {
    throw refused('key length', { length: bytes.length });
  }
  return bytes;
}

/** @throws OperatingError `state-limit` */
export function checkTransaction(transaction: Transaction): void {
  const { compare = [], success, failure = [] } = transaction;
  for (const list of [compare, success, failure]) {
    if (list.length > MAX_TXN_ITEMS) throw refused('transaction items', { items: list.length });
  }
  for (const { key } of compare) checkKey(key);
  checkOperations(success);
  checkOperations(failure);
}

function checkOperations(operations: readonly Operation[]): void {
  const changed = new Set<string>();
  const cleared: Bounds[] = [];
  for (const operation of operations) {
    if (operation.kind === 'deleteRange') cleared.push(boundsOf(operation.range));
    if (operation.kind === 'range') rangeLimit(operation.options);
    if (operation.kind !== 'put' && operation.kind !== 'delete') continue;
    checkKey(operation.key);
    if (changed.has(operation.key)) throw refused('one key changed twice', {});
    changed.add(operation.key);
    if (operation.kind === 'put' && operation.value.length > MAX_VALUE_BYTES) {
      throw refused('value length', { length: operation.value.length });
    }
  }
  for (const key of changed) {
    const bytes = Buffer.from(key);
    if (cleared.some((bounds) => inBounds(bounds, bytes)))
      throw refused('one key changed twice', {});
  }
}

function refused(what: string, facts: Record<string, unknown>): OperatingError {
  return new OperatingError('state-limit', `state refuses: ${what}`, facts);
}
