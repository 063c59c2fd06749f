/**
 * What a row tells of its object's checksum: the algorithm, and whether it is of all bytes or, of an upload in
 * parts, made of the parts' own. S3's listings show both. The value itself is the object's alone.
 *
 *   code   0 none, or more than one; else 1 + 2 * index in ALGORITHMS, and 1 more for a composite one
 *
 * In a row's state it stands as `checksums` without values: `''`, or `-` for a composite one, whose value ends
 * with the number of parts. Codes are kept in row databases: algorithms are only added, at the end.
 */
import type { DataPart } from '#base/entry.ts';

const ALGORITHMS = [
  ...['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256', 'sha512', 'md5'],
  ...['xxhash64', 'xxhash3', 'xxhash128'],
];
const WHOLE = '';
const COMPOSITE = '-';

type Checksums = NonNullable<DataPart['checksums']>;

/** By code. */
const TOLD: readonly (Checksums | undefined)[] = [
  undefined,
  ...ALGORITHMS.flatMap((name) => [{ [name]: WHOLE }, { [name]: COMPOSITE }]),
];

/** As an object has them, or a row. */
export function checksumCode(checksums: Checksums | undefined): number {
  if (checksums === undefined) return 0;
  const [name, ...more] = Object.keys(checksums);
  const index = name === undefined || more.length > 0 ? -1 : ALGORITHMS.indexOf(name);
  if (index < 0) return 0;
  return 1 + 2 * index + (checksums[name!]!.includes(COMPOSITE) ? 1 : 0);
}

/** As a row has them; undefined: it tells none. */
export function toldChecksums(code: number): Checksums | undefined {
  return TOLD[code];
}

/** Whether a code says all that there is. */
export function isTold(checksums: Checksums): boolean {
  const told = toldChecksums(checksumCode(checksums));
  return told !== undefined && Object.keys(told).every((name) => told[name] === checksums[name]);
}
