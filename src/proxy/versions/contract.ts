/** What the dialects use of versions, beside the Store's own operations. */
import type { ContainerName } from '#base/names.ts';
import type { Condition } from '../condition.ts';
import type { Found, Operation, Store, VersionedName } from '../contract.ts';

/** The container header in which it stands; absent: the container has never kept versions. */
export const VERSIONING_HEADER = 's3-versioning';

export const VERSIONING_STATES = ['Enabled', 'Suspended'] as const;
export type Versioning = (typeof VERSIONING_STATES)[number];

export function versioningOf(
  info: { readonly headers: Readonly<Record<string, string>> } | undefined,
): Versioning | undefined {
  return VERSIONING_STATES.find((known) => known === info?.headers[VERSIONING_HEADER]);
}

export interface Removal {
  /** `locked`: retention or a hold forbids it (lock.ts). */
  readonly kind: 'deleted' | 'not-found' | 'no-container' | 'precondition-failed' | 'locked';
  /** Which version went, or the delete marker that was made. */
  readonly versionId?: string;
  /** A delete marker was made, or the version that went was one. */
  readonly deleteMarker?: boolean;
}

/** As an outcome of the Store's deleteObject, which knows no lock: what is locked was not deleted. */
export function deletionOf({ kind }: Removal): Awaited<ReturnType<Store['deleteObject']>> {
  return kind === 'locked' ? 'precondition-failed' : kind;
}

export interface ListedVersion {
  readonly key: string;
  readonly versionId: string;
  readonly isLatest: boolean;
  readonly isMarker: boolean;
  readonly clientMicros: number;
  readonly bytes: number;
  readonly etag: string;
  readonly contentType: string;
  /** As a ListedObject's. */
  readonly checksums?: Readonly<Record<string, string>> | undefined;
}

export interface VersionQuery {
  readonly limit: number;
  readonly prefix?: string;
  readonly delimiter?: string;
  /** Keys behind this one; with `versionMarker` also its own versions behind that one. */
  readonly keyMarker?: string;
  readonly versionMarker?: string;
}

export interface VersionPage {
  /** By key, then from the newest version to the oldest; `{ prefix }` where a delimiter rolled keys up. */
  readonly items: readonly (ListedVersion | { readonly prefix: string })[];
  readonly truncated: boolean;
}

export interface VersionedStore extends Store {
  /**
   * Deletes as S3 does: a version that is named is gone for good; without one, a container that keeps
   * versions gets a delete marker. `condition` is asked of what is to go.
   */
  removeObject(
    operation: Operation,
    name: VersionedName,
    condition?: Condition,
    options?: {
      /** The caller may overrule retention in the mode GOVERNANCE, and wants to. */
      readonly bypassGovernance?: boolean;
    },
  ): Promise<Removal>;
  /** Undefined: there is no such container. */
  listVersions(
    operation: Operation,
    bucket: ContainerName,
    query: VersionQuery,
  ): Promise<Found<VersionPage>>;
  /** The delete marker that hides a name, when one does. Asked of a name that was not found, it mends that. */
  markerOf(
    operation: Operation,
    name: VersionedName,
  ): Promise<Found<{ readonly versionId: string; readonly clientMicros: number }>>;
}
