/**
 * Up to where in the device's log the rows database has everything. With a checksum: believed too far
 * ahead, it would leave rows out for ever; what does not match counts as nothing, so all is replayed.
 */
import { crc32 } from 'node:zlib';
import type { LogPosition } from '#device/contract.ts';
import type { Meta } from './schema.ts';

const KEY = 'position';

export function readPosition(meta: Meta): LogPosition | undefined {
  const match = /^(\d+) (\d+) ([0-9a-f]+)$/.exec(meta.get(KEY) ?? '');
  if (match === null) return undefined;
  const position = { segment: Number(match[1]), offset: Number(match[2]) };
  return textOf(position) === match[0] ? position : undefined;
}

export function writePosition(meta: Meta, position: LogPosition): void {
  meta.set(KEY, textOf(position));
}

function textOf({ segment, offset }: LogPosition): string {
  const text = `${segment} ${offset}`;
  return `${text} ${crc32(text).toString(16)}`;
}
