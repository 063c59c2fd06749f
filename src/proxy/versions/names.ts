/**
 * Where the versions of objects are kept: in one account of the store's own, one container for each
 * container that keeps versions. Each version is an object like any other, never overwritten.
 *
 *   /.s3-versions/ACCOUNT:BUCKET/v/KEY NUL WRITE   a version or delete marker, by the write id of its data
 *   /.s3-versions/ACCOUNT:BUCKET/n/KEY NUL         the null version, when it is not the current one
 *
 * NUL is below every character of a key, so versions list by key. A version's id is its time (as clients
 * see it, 14 hex digits of microseconds) and the write id of its data: ids of a name compare as their
 * versions follow one another, and the id alone finds the object.
 */
import type { ContainerName, ObjectName } from '#base/names.ts';
import { partsContainer } from '../multipart/names.ts';

export const VERSIONS_ACCOUNT = '.s3-versions';
/** Of accounts that belong to the store itself. */
const HIDDEN = '.s3-';

/** What S3 calls the version that was written without versioning. */
export const NULL_VERSION = 'null';

const VERSIONS = 'v/';
const NULLS = 'n/';
const NUL = '\0';
/** Above every write id, so above all versions of a key; below every other key. */
const AFTER_ALL = '~';
const MICROS_DIGITS = 14;
const VERSION_ID = /^([0-9a-f]{14})([0-9a-f]{16})$/;

export function isHiddenAccount(account: string): boolean {
  return account.startsWith(HIDDEN);
}

export function versionsContainer(bucket: ContainerName): ContainerName {
  return { account: VERSIONS_ACCOUNT, container: partsContainer(bucket).container };
}

export function versionName({ object, ...bucket }: ObjectName, writeId: string): ObjectName {
  return { ...versionsContainer(bucket), object: `${VERSIONS}${object}${NUL}${writeId}` };
}

export function nullName({ object, ...bucket }: ObjectName): ObjectName {
  return { ...versionsContainer(bucket), object: `${NULLS}${object}${NUL}` };
}

/** What the rows of versions, or of null versions, begin with. */
export function rowPrefix(what: 'versions' | 'nulls', keyPrefix: string): string {
  return (what === 'versions' ? VERSIONS : NULLS) + keyPrefix;
}

/** All rows of exactly this key begin with it. */
export function keyRows(what: 'versions' | 'nulls', key: string): string {
  return rowPrefix(what, key) + NUL;
}

/** A marker behind all rows of the key. */
export function afterKey(what: 'versions' | 'nulls', key: string): string {
  return keyRows(what, key) + AFTER_ALL;
}

/** Key and write id ('' of a null version) of a row in the container for versions. */
export function parseRow(object: string): { readonly key: string; readonly writeId: string } {
  const at = object.lastIndexOf(NUL);
  return { key: object.slice(VERSIONS.length, at), writeId: object.slice(at + 1) };
}

export function versionIdOf(clientMicros: number, writeId: string): string {
  return clientMicros.toString(16).padStart(MICROS_DIGITS, '0') + writeId;
}

/** Undefined: no id of a version. */
export function parseVersionId(
  id: string,
): { readonly clientMicros: number; readonly writeId: string } | undefined {
  const match = VERSION_ID.exec(id);
  return match === null
    ? undefined
    : { clientMicros: Number.parseInt(match[1]!, 16), writeId: match[2]! };
}
