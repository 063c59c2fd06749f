/**
 * Containers that were forgotten altogether leave one number behind: the highest sequence that any of them
 * had. A container begins above it, or a peer whose cursor is from before would take the new rows for
 * known. What does not match its checksum is given up, with the incarnation that all cursors name.
 */
import { crc32 } from 'node:zlib';
import type { Meta } from './schema.ts';

const KEY = 'floor';

/** Undefined: it can't be read. */
export function readFloor(meta: Meta): number | undefined {
  const text = meta.get(KEY);
  const floor = Number(text?.split(' ')[0]);
  return Number.isSafeInteger(floor) && text === textOf(floor) ? floor : undefined;
}

export function writeFloor(meta: Meta, floor: number): void {
  meta.set(KEY, textOf(floor));
}

function textOf(floor: number): string {
  return `${floor} ${crc32(`floor ${floor}`).toString(16)}`;
}
