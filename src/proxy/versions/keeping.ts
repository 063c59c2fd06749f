/** What all operations on versions share: the container they are kept in, and the look at a name's entry. */
import type { DataPart, EntryState } from '#base/entry.ts';
import { expirySource } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Condition } from '../condition.ts';
import type {
  ContainerInfo,
  ListedObject,
  ObjectReader,
  Operation,
  PutRequest,
  PutResult,
  Store,
} from '../contract.ts';
import { defaultEncryption } from '../encryption/default-encryption.ts';
import { type Current, contentOf, currentOf } from './current.ts';
import {
  keyRows,
  NULL_VERSION,
  nullName,
  parseRow,
  parseVersionId,
  versionIdOf,
  versionName,
  versionsContainer,
} from './names.ts';

export interface Keeping {
  readonly store: Store;
  readonly env: Pick<Env, 'clock' | 'random'>;
}

const WRITE_ID_BYTES = 8;
/** Of one listing of a key's versions. */
const PAGE = 10_000;
/** More versions of one key are refused to be listed rather than taken into memory. */
const MAX_VERSIONS_OF_KEY = 1_000_000;

export function newWriteId({ env }: Keeping): string {
  return env.random.bytes(WRITE_ID_BYTES).toString('hex');
}

export function nowSeconds({ env }: Keeping): number {
  return env.clock.wallMicros() / 1e6;
}

/** The same operation, of whose answer a majority is sure. */
export function exactly({ txn, signal, customerKey }: Operation): Operation {
  return { txn, signal, read: 'quorum', ...(customerKey !== undefined && { customerKey }) };
}

/** As a `newest` read: what is undecided is decided by it. */
export function newest(operation: Operation): Operation {
  return { ...exactly(operation), read: 'newest' };
}

export async function lookAt(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
): Promise<Current> {
  const known = await keeping.store.peekObject(exactly(operation), name);
  return currentOf(known, nowSeconds(keeping));
}

/** The same, after what is undecided has been decided: nobody sees an older state any more. */
export async function settle(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
): Promise<Current> {
  const known = await keeping.store.peekObject(newest(operation), name);
  return currentOf(known, nowSeconds(keeping));
}

/** The object that a version is; the id says which. Undefined: no id of a version. */
export function placeOfVersion(name: ObjectName, id: string): ObjectName | undefined {
  if (id === NULL_VERSION) return nullName(name);
  const parsed = parseVersionId(id);
  return parsed && versionName(name, parsed.writeId);
}

/** An id is of one write at one time: another time with the same write is no version. */
export function isVersion(state: EntryState, id: string): boolean {
  if (id === NULL_VERSION) return true;
  return parseVersionId(id)?.clientMicros === state.data?.clientMicros;
}

/** As callers see a version: it says its id. */
export function shownAs(state: EntryState, id: string): EntryState {
  return { ...state, data: { ...state.data!, versionId: id } };
}

/** PUT of a version, in a container that is made when it is not there. */
export async function keep(
  { store }: Keeping,
  operation: Operation,
  bucket: ContainerInfo,
  name: ObjectName,
  request: PutRequest,
): Promise<PutResult> {
  const container = versionsContainer(bucket.name);
  const info = await store.containerInfo(operation, container, false);
  if (info === undefined) {
    const { policy, mode } = bucket;
    await store.createContainer(operation, container, { policy: policy.index, mode, changes: {} });
  }
  const encryption = request.encryption ?? defaultEncryption(bucket);
  const counted = { ...request, encryption, bucket: bucket.name };
  const result = await store.putObject(operation, name, counted);
  if (result.kind !== 'no-container') return result;
  throw new OperatingError('unavailable', 'the container for versions could not be made');
}

/**
 * Leaves a tombstone where the null version is among the others, in a container that is made when it is not
 * there: a copy of it that is under way, the first thing of all to be kept there, must find it (seed 122).
 */
export async function endNull(
  { store }: Pick<Keeping, 'store'>,
  operation: Operation,
  { name: { account, container }, policy, mode }: ContainerInfo,
  place: ObjectName,
  condition?: Condition,
): ReturnType<Store['deleteObject']> {
  const kind = await store.deleteObject(operation, place, condition);
  if (kind !== 'no-container') return kind;
  const kept = versionsContainer({ account, container });
  await store.createContainer(operation, kept, { policy: policy.index, mode, changes: {} });
  return await store.deleteObject(operation, place, condition);
}

/** How often others may come between. */
const MAX_ARCHIVINGS = 16;

/**
 * The null version makes room for another one: it is copied to where versions are. Done once for an object
 * that is older than the versioning of its container, or written while that was suspended. The copy is only
 * made if nothing has happened in its place since before the name was looked at: whoever deletes the null
 * version leaves a tombstone there, so it does not come back by a copy that was under way.
 */
export async function archiveNull(
  keeping: Keeping,
  operation: Operation,
  bucket: ContainerInfo,
  name: ObjectName,
): Promise<string | undefined> {
  const { store } = keeping;
  const exact = exactly(operation);
  const place = nullName(name);
  let before = stampOf(await store.peekObject(exact, place));
  for (let attempt = 0; attempt < MAX_ARCHIVINGS; attempt++) {
    const reader = await store.openObject({ ...exact, asStored: true }, name);
    if (reader === undefined || reader.state.data?.versionId !== undefined) return undefined;
    const content = contentOf(reader.state);
    if (before === `live ${content}`) return content;
    let told = before;
    const condition: Condition = {
      holds: (_, known) => {
        told = stampOf(known);
        return told === before;
      },
    };
    const request = { ...requestOf(reader), condition };
    if ((await keep(keeping, exact, bucket, place, request)).kind === 'stored') return content;
    // As it was when that was decided: a quorum read may tell of a tombstone that most have forgotten, again and again.
    before = told;
  }
  throw new OperatingError('undecided', 'others write the same object all the time');
}

/** Another one after every write, also of a tombstone. */
function stampOf(known: EntryState | undefined): string {
  return known?.data === undefined ? '' : `${known.data.kind} ${contentOf(known)}`;
}

/** A PUT that makes the same object again, in another place. */
function requestOf(reader: ObjectReader): PutRequest {
  const { state, length } = reader;
  const data = state.data!;
  const { clientMicros, writeId, owner, etag, size, checksums, contentType } = data;
  const { user, system, ...others } = valuesOf(state);
  const { 'delete-at': _, ...kept } = system ?? {};
  const { deleteAt } = expirySource(state);
  return {
    body: reader.read(0, length),
    length,
    maxLength: length,
    contentType,
    user: user ?? {},
    system: kept,
    groups: others,
    clientMicros,
    writeId,
    finish: () => ({ etag, size, ...(checksums !== undefined && { checksums }) }),
    ...manifestOf(data),
    stored: { transform: data.body?.transform },
    ...(deleteAt !== undefined && { deleteAt }),
    ...(owner !== undefined && { owner }),
  };
}

function valuesOf({ groups }: EntryState): Record<string, Readonly<Record<string, string>>> {
  return Object.fromEntries(Object.entries(groups).map(([name, { values }]) => [name, values]));
}

function manifestOf({ manifest: kind, etag, size }: DataPart): Pick<PutRequest, 'manifest'> {
  return kind === 'static' || kind === 'multipart' ? { manifest: { kind, etag, size } } : {};
}

/** A version of a name as its row tells it. */
export interface KeptVersion {
  /** `null`, or its own. */
  readonly id: string;
  /** Where it stands among the versions of its name: greater is newer. */
  readonly order: string;
  readonly row: ListedObject;
}

export function keptVersion(row: ListedObject): KeptVersion {
  const { writeId } = parseRow(row.name);
  if (writeId !== '') {
    const id = versionIdOf(row.clientMicros, writeId);
    return { id, order: id, row };
  }
  return { id: NULL_VERSION, order: versionIdOf(row.clientMicros, ''), row };
}

/** All versions of a name but one in its own place, newest first. */
export async function versionsOf(
  { store }: Keeping,
  operation: Operation,
  { object, ...bucket }: ObjectName,
): Promise<KeptVersion[]> {
  const container = versionsContainer(bucket);
  const found: KeptVersion[] = [];
  for (const what of ['versions', 'nulls'] as const) {
    let marker: string | undefined;
    for (;;) {
      const page = await store.listObjects(operation, container, {
        limit: PAGE,
        prefix: keyRows(what, object),
        ...(marker !== undefined && { marker }),
      });
      for (const item of page?.items ?? []) {
        if (!('prefix' in item)) found.push(keptVersion(item));
      }
      marker = found.at(-1)?.row.name;
      if (page?.truncated !== true) break;
      checkNumber(found.length, object);
    }
  }
  return found.sort(newestFirst);
}

export function checkNumber(versions: number, key: string): void {
  if (versions <= MAX_VERSIONS_OF_KEY) return;
  throw new OperatingError('overloaded', 'the object has too many versions', { key });
}

export function newestFirst(a: KeptVersion, b: KeptVersion): number {
  return a.order > b.order ? -1 : a.order < b.order ? 1 : 0;
}
