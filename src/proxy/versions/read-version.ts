/**
 * From a name, or one of its versions, to the object that is meant. A name that points at a version which
 * is not there (its deletion was broken off) is pointed at the next one by who finds it.
 */
import type { EntryState } from '#base/entry.ts';
import type { ObjectName } from '#base/names.ts';
import type { Found, Operation, VersionedName } from '../contract.ts';
import { exactly, isVersion, type Keeping, lookAt, placeOfVersion, shownAs } from './keeping.ts';
import { NULL_VERSION, nullName } from './names.ts';
import { repoint } from './repoint.ts';

const MAX_ATTEMPTS = 8;

/** Reads one object, in a place of its own, with its state. */
export type ReadAt<Value> = (operation: Operation, place: ObjectName) => Promise<Found<Value>>;

export async function readVersioned<Value>(
  keeping: Keeping,
  operation: Operation,
  { version, ...name }: VersionedName,
  read: ReadAt<Value>,
  stateOf: (value: Value) => EntryState,
  withState: (value: Value, state: EntryState) => Value,
): Promise<Found<Value>> {
  if (version === undefined) {
    return await readCurrent(keeping, operation, name, read, stateOf, withState);
  }
  const place = await placeOf(keeping, operation, name, version);
  const found = place && (await read(operation, place));
  if (found === undefined || !isVersion(stateOf(found), version)) return undefined;
  return withState(found, shownAs(stateOf(found), version));
}

async function readCurrent<Value>(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  read: ReadAt<Value>,
  stateOf: (value: Value) => EntryState,
  withState: (value: Value, state: EntryState) => Value,
): Promise<Found<Value>> {
  let asked = operation;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const entry = await read(asked, name);
    const id = entry && stateOf(entry).data?.versionId;
    if (entry === undefined) return undefined;
    if (id === undefined) return withState(entry, shownAs(stateOf(entry), NULL_VERSION));
    const place = placeOfVersion(name, id);
    const found = place && (await read(asked, place));
    if (found !== undefined) return withState(found, shownAs(stateOf(found), id));
    // Twice not there, and by a majority: nobody else is about to point the name elsewhere.
    if (attempt > 0) await repoint(keeping, exactly(operation), name, new Set([id]));
    if (asked.read === 'nearest') asked = exactly(operation);
  }
  return undefined;
}

/** Where this version is; undefined: there can't be such a one. */
export async function placeOf(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  version: string,
): Promise<ObjectName | undefined> {
  if (version !== NULL_VERSION) return placeOfVersion(name, version);
  const current = await lookAt(keeping, operation, name);
  return current.kind === 'own' ? name : nullName(name);
}
