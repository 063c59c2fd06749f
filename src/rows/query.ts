/** What a listing asks for and gets. The wire carries these as they are (container/calls.ts). */

import { CONTAINER_RING, type PolicyIndex } from '#base/names.ts';

/** Names compare by UTF-8 bytes. All fields optional but limit. */
export interface ListQuery {
  readonly limit: number;
  readonly prefix?: string;
  readonly delimiter?: string;
  /** Names after this one (exclusive); with reverse: before. */
  readonly marker?: string;
  /** Names before this one (exclusive); with reverse: after. */
  readonly endMarker?: string;
  readonly reverse?: boolean;
  /** Who asks knows that rows tell of checksums, and wants it. */
  readonly checksums?: boolean;
}

/** Array form, for the sake of pages of 10,000: [name, clientMicros, size, etag, contentType, extra]. */
export type ListedRow = readonly [
  name: string,
  clientMicros: number,
  size: number,
  etag: string,
  contentType: string,
  /** Of a container in an account listing: object count. Of an object: its role, and ROLES times what its
   * checksum is (row-checksum.ts), to who asks for that. */
  count: number,
];

/** The row stands for a version that is kept elsewhere (proxy/versions). */
export const LINK_ROLE = 1;
/** The row is a delete marker among the versions of a name. */
export const MARKER_ROLE = 2;
/** Numbers of roles are below it. */
export const ROLES = 4;

/** The extra of an object's row is its role alone, for those who know of nothing else. */
export function onlyRoles(ring: PolicyIndex, { checksums }: ListQuery): boolean {
  return ring === CONTAINER_RING && checksums !== true;
}

export interface RowTotals {
  readonly rows: number;
  readonly bytes: number;
  /** Account only: sum over its containers. */
  readonly objects: number;
}

export interface Listing {
  /** In order: a row, or a common prefix (delimiter) as a bare string. */
  readonly items: readonly (ListedRow | string)[];
  readonly truncated: boolean;
}

/** Larger pages are cut to this; Swift's listing limit. */
export const MAX_PAGE = 10_000;
