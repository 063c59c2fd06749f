/** Former sets as the builder keeps them (by partition) and as files keep them (one flat table). */
import { type FormerTable, NO_DEVICE } from '../fields.ts';
import type { BuilderState } from './state.ts';

export function formerTable(former: BuilderState['former']): FormerTable {
  const partitions = Uint32Array.from(former.keys()).sort();
  let width = 0;
  for (const ids of former.values()) width = Math.max(width, ids.length);
  const devices = new Uint16Array(partitions.length * width).fill(NO_DEVICE);
  partitions.forEach((partition, row) => {
    devices.set(former.get(partition)!, row * width);
  });
  return { partitions, width, devices };
}

export function formerMap({ partitions, width, devices }: FormerTable): Map<number, number[]> {
  const former = new Map<number, number[]>();
  partitions.forEach((partition, row) => {
    const ids = [...devices.subarray(row * width, (row + 1) * width)];
    former.set(
      partition,
      ids.filter((id) => id !== NO_DEVICE),
    );
  });
  return former;
}
