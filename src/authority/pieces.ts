/**
 * Large values in the state store, which limits the size of one: pieces under a fresh name, written
 * before the transaction that refers to them. A writer that lost its race leaves pieces that nothing
 * refers to; nothing that is referred to is ever written again.
 */
import { OperatingError } from '#base/errors.ts';
import type { Random } from '#env/env.ts';
import { MAX_VALUE_BYTES, type State } from '#state/state.ts';

const PIECE_BYTES = MAX_VALUE_BYTES / 2;

/** Sorts by version, so that old ones can be removed as a range. */
export function uploadName(version: number, random: Random): string {
  return `${pad(version)}-${randomName(random, 6)}`;
}

/** The number of pieces, which the reader must be told. */
export async function writePieces(state: State, prefix: string, bytes: Buffer): Promise<number> {
  let count = 0;
  do {
    const value = bytes.subarray(count * PIECE_BYTES, (count + 1) * PIECE_BYTES);
    await state.txn({ success: [{ kind: 'put', key: `${prefix}/${pad(count)}`, value }] });
    count += 1;
  } while (count * PIECE_BYTES < bytes.length);
  return count;
}

/** @throws OperatingError `state-damaged` when a piece is missing */
export async function readPieces(state: State, prefix: string, count: number): Promise<Buffer> {
  const { items } = await state.range({ prefix: `${prefix}/` });
  if (items.length !== count) {
    throw new OperatingError('state-damaged', `${prefix} has ${items.length} of ${count} pieces`);
  }
  return Buffer.concat(items.map((item) => item.value));
}

/** Removes what was uploaded for versions below this one, whether anything ever referred to it or not. */
export async function dropPiecesBelow(state: State, prefix: string, version: number) {
  const range = { start: prefix, end: `${prefix}${pad(version)}` };
  await state.txn({ success: [{ kind: 'deleteRange', range }] });
}

export function pad(n: number): string {
  return String(n).padStart(10, '0');
}

export function randomName(random: Random, bytes: number): string {
  return random.bytes(bytes).toString('hex');
}
