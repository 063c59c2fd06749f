/**
 * The attempts at the parts of an upload, out of the rows of a listing. Each is an object of its own; which of
 * a number counts is told by times that only grow, and by what each one's sender had seen (rows.ts).
 */
import { OperatingError } from '#base/errors.ts';
import type { ContainerName } from '#base/names.ts';
import type { ListedObject, Operation, Store } from '../contract.ts';
import { parsePartNumber, partsContainer } from './names.ts';
import { checksumsOfRow, replacedByRow } from './rows.ts';

/** Items of a page. */
export const PAGE = 10_000;
/** A number may have been sent again and again; above this the upload must be begun anew. */
const MAX_ATTEMPTS = 100_000;

/** Where the next attempt of a number goes. */
export interface PartSlot {
  readonly number: number;
  /** The time of the newest attempt there is: the next one replaces all up to it. */
  readonly newest: number | undefined;
}

export interface StoredPart {
  readonly number: number;
  readonly object: string;
  readonly etag: string;
  readonly size: number;
  readonly clientMicros: number;
  /** By algorithm, from the part's content type: one listing tells all. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** Whatever was acknowledged before is seen. */
export async function listAttempts(
  store: Store,
  operation: Operation,
  bucket: ContainerName,
  prefix: string,
): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  let marker: string | undefined;
  for (;;) {
    const page = await store.listObjects(operation, partsContainer(bucket), {
      limit: PAGE,
      prefix,
      ...(marker !== undefined && { marker }),
    });
    for (const item of page?.items ?? []) if (!('prefix' in item)) found.push(item);
    marker = found.at(-1)?.name;
    if (page?.truncated !== true) return found;
    if (found.length > MAX_ATTEMPTS) {
      throw new OperatingError('overloaded', 'the upload has too many parts', { prefix });
    }
  }
}

export function slotAfter(number: number, attempts: readonly ListedObject[]): PartSlot {
  const times = attempts.map(({ clientMicros }) => clientMicros);
  const newest = times.length === 0 ? undefined : times.reduce((a, b) => Math.max(a, b));
  return { number, newest };
}

/** Those that no later one has replaced, in the order of numbers, the newest of each first. */
export function standing(uploadId: string, attempts: readonly ListedObject[]): StoredPart[] {
  const replaced = new Map<number, number>();
  for (const item of attempts) {
    const number = parsePartNumber(uploadId, item.name);
    replaced.set(number, Math.max(replaced.get(number) ?? -1, replacedByRow(item) ?? -1));
  }
  return attempts
    .map((item) => partOf(item, parsePartNumber(uploadId, item.name)))
    .filter(({ number, clientMicros }) => clientMicros > replaced.get(number)!)
    .sort(byNumberNewestFirst);
}

function partOf(item: ListedObject, number: number): StoredPart {
  const checksums = checksumsOfRow(item);
  const { name: object, etag, bytes: size, clientMicros } = item;
  return { number, object, etag, size, clientMicros, checksums };
}

function byNumberNewestFirst(a: StoredPart, b: StoredPart): number {
  if (a.number !== b.number) return a.number - b.number;
  if (a.clientMicros !== b.clientMicros) return b.clientMicros - a.clientMicros;
  return a.object < b.object ? 1 : -1;
}
