/** Former sets as the builder keeps them (by partition) and as files keep them (one flat table). */
import { type FormerTable, NO_DEVICE } from '../fields.ts';
import type { BuilderState, FormerSet } from './state.ts';

export function formerTable(former: BuilderState['former']): FormerTable {
  const partitions = Uint32Array.from(former.keys()).sort();
  let width = 0;
  for (const { ids } of former.values()) width = Math.max(width, ids.length);
  const since = new Float64Array(partitions.length);
  const devices = new Uint16Array(partitions.length * width).fill(NO_DEVICE);
  partitions.forEach((partition, row) => {
    const set = former.get(partition)!;
    since[row] = set.since;
    devices.set(set.ids, row * width);
  });
  return { partitions, since, width, devices };
}

export function formerMap({
  partitions,
  since,
  width,
  devices,
}: FormerTable): Map<number, FormerSet> {
  const former = new Map<number, FormerSet>();
  partitions.forEach((partition, row) => {
    const ids = [...devices.subarray(row * width, (row + 1) * width)];
    former.set(partition, { ids: ids.filter((id) => id !== NO_DEVICE), since: since[row]! });
  });
  return former;
}
