/** How full a plan leaves the disks: the fullest before, and the fullest after. Pure. */
import type { DeviceReport } from './report.ts';

/** Bytes that a device has room for in all; undefined: nobody has told. */
export type Capacity = (id: number) => number | undefined;

export interface Fullest {
  /** `site/node/name`. */
  readonly device: string;
  /** Of its capacity; above 1, the plan doesn't fit. */
  readonly share: number;
}

export interface Fullness {
  readonly before: Fullest;
  readonly after: Fullest;
}

/** `rings`: the devices of each ring. Undefined where no capacity is known. */
export function fullnessOf(
  rings: readonly (readonly DeviceReport[])[],
  capacity: Capacity,
): Fullness | undefined {
  const sums = new Map<number, { device: string; before: number; after: number }>();
  for (const { id, device, bytesBefore, bytesAfter } of rings.flat()) {
    const sum = sums.get(id) ?? { device, before: 0, after: 0 };
    sums.set(id, {
      device,
      before: sum.before + bytesBefore,
      after: sum.after + bytesAfter,
    });
  }
  const shares = [...sums].flatMap(([id, { device, before, after }]) => {
    const bytes = capacity(id);
    if (bytes === undefined || bytes <= 0) return [];
    return [{ device, before: before / bytes, after: after / bytes }];
  });
  if (shares.length === 0) return undefined;
  return { before: fullest(shares, 'before'), after: fullest(shares, 'after') };
}

function fullest(
  shares: readonly { device: string; before: number; after: number }[],
  when: 'before' | 'after',
): Fullest {
  const first = shares.reduce((most, next) => (next[when] > most[when] ? next : most));
  return { device: first.device, share: first[when] };
}
