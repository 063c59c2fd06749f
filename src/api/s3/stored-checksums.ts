/**
 * Checksums as the store keeps them in `DataPart.checksums`: by algorithm; of a multipart object's
 * composite one the number of parts stands behind it (`BASE64-3`), which also tells the two apart.
 */
import type { DataPart } from '#base/entry.ts';
import { ALGORITHMS, type Algorithm } from './checksums.ts';

export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

export interface ShownChecksums {
  readonly values: readonly (readonly [Algorithm, string])[];
  readonly type: ChecksumType;
}

export function shownChecksums({ checksums = {} }: Pick<DataPart, 'checksums'>): ShownChecksums {
  const values = ALGORITHMS.flatMap((algorithm) => {
    const value = checksums[algorithm];
    return value === undefined ? [] : [[algorithm, value] as const];
  });
  const composite = values.some(([, value]) => value.includes('-'));
  return { values, type: composite ? 'COMPOSITE' : 'FULL_OBJECT' };
}
