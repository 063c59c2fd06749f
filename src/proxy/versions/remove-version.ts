/**
 * Deleting as S3 does. A version that is named goes for good: its object is deleted (under the caller's
 * condition, such as that it is not locked), and if it was the current one the name is pointed at the
 * newest that is left. Without a version, a delete marker is put before them all.
 */
import { type EntryState, isLive } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Condition } from '../condition.ts';
import type { ContainerInfo, Operation, VersionedName } from '../contract.ts';
import type { Removal, Versioning } from './contract.ts';
import { currentOf, pointAt, type Target } from './current.ts';
import {
  endNull,
  exactly,
  isVersion,
  type Keeping,
  keep,
  lookAt,
  newWriteId,
  nowSeconds,
  placeOfVersion,
  settle,
} from './keeping.ts';
import { holdOf, locksObjects, retentionOf, Unlocked } from './lock.ts';
import { NULL_VERSION, nullName } from './names.ts';
import { markerRequest, putMarker, seenThrough } from './put-version.ts';
import { nextOf, repoint, staysAt } from './repoint.ts';

const MAX_ATTEMPTS = 16;

export interface VersionRemoval {
  readonly operation: Operation;
  readonly bucket: ContainerInfo;
  readonly versioning: Versioning;
  readonly name: VersionedName;
  readonly condition: Condition | undefined;
  readonly bypassGovernance: boolean;
}

/** @throws OperatingError `unavailable`, `undecided` */
export async function removeVersion(keeping: Keeping, removal: VersionRemoval): Promise<Removal> {
  const { name, versioning } = removal;
  if (name.version === NULL_VERSION) return await removeNull(keeping, removal);
  if (name.version !== undefined) return await removeKept(keeping, removal, name.version);
  if (versioning === 'Suspended') return await hideByNull(keeping, removal);
  const { kind, versionId } = await putMarker(keeping, removal);
  return kind === 'pointed' ? { kind: 'deleted', versionId, deleteMarker: true } : { kind };
}

async function removeKept(keeping: Keeping, removal: VersionRemoval, id: string): Promise<Removal> {
  const { operation, name } = removal;
  const place = placeOfVersion(name, id);
  if (place === undefined) return { kind: 'not-found' };
  const state = await keeping.store.statObject(exactly(operation), place);
  const isOther = state !== undefined && !isVersion(state, id);
  const kind = isOther ? 'not-found' : await removeAt(keeping, removal, place, state);
  if (kind === 'locked' || kind === 'precondition-failed') return { kind };
  // Also of one that is not there: perhaps deleted by one who could not finish.
  await repoint(keeping, operation, name, new Set([id]));
  if (state === undefined || isOther) return { kind: 'not-found' };
  const deleteMarker = state.data?.deleteMarker === true;
  return { kind: 'deleted', versionId: id, ...(deleteMarker && { deleteMarker }) };
}

/**
 * Leaves a tombstone also where a majority knows nothing: a write that had no answer may be known to a single
 * replica, and listed (seed 126); who is about to make a null marker finds that it has been deleted.
 */
async function removeAt(
  keeping: Keeping,
  removal: VersionRemoval,
  place: ObjectName,
  state: EntryState | undefined,
): Promise<Removal['kind']> {
  const unlocked = unlockedOf(keeping, removal, state);
  const asked = state === undefined ? undefined : removal.condition;
  const { operation, bucket, name } = removal;
  const condition = unlocked ?? asked;
  const kind =
    name.version === NULL_VERSION
      ? await endNull(keeping, operation, bucket, place, condition)
      : await keeping.store.deleteObject(operation, place, condition);
  return unlocked?.wasLocked ? 'locked' : kind;
}

/** Undefined: neither the container nor the version has ever had a lock. */
function unlockedOf(
  keeping: Keeping,
  { bucket, condition, bypassGovernance }: VersionRemoval,
  state: EntryState | undefined,
): Unlocked | undefined {
  const hasLock = state && (retentionOf(state) !== undefined || holdOf(state) !== undefined);
  if (!hasLock && !locksObjects(bucket)) return undefined;
  const asked = state === undefined ? undefined : condition;
  return new Unlocked(asked, () => nowSeconds(keeping), bypassGovernance);
}

/** The null version stands in its own place, or among the others. */
async function removeNull(keeping: Keeping, removal: VersionRemoval): Promise<Removal> {
  const { operation, name } = removal;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    let current = await lookAt(keeping, operation, name);
    // A link that does not last yet could give way to the null version, which would be copied again (seed 122).
    // Where it is the null version itself the round below decides: also of one whose bytes nobody has (seed 127).
    if (current.kind !== 'own') current = await settle(keeping, operation, name);
    if (current.kind !== 'own') return await removeKept(keeping, removal, NULL_VERSION);
    // What stands among the others is an older one that this one has replaced.
    const target: Target = await nextOf(keeping, operation, name, current, new Set([NULL_VERSION]));
    const condition = unlockedOf(keeping, removal, current.state) ?? removal.condition;
    let failed = false;
    const done = await pointAt(keeping.store, operation, name, target, (known, live) => {
      const isOwn = currentOf(known, nowSeconds(keeping)).kind === 'own';
      failed = isOwn && condition?.holds(live) === false;
      return isOwn && !failed;
    });
    if (failed) {
      const isLock = condition instanceof Unlocked && condition.wasLocked;
      return { kind: isLock ? 'locked' : 'precondition-failed' };
    }
    if (done === 'no-container') return { kind: done };
    if (done === 'refused') continue;
    // Also where nothing is: a copy that is under way must find that something has happened.
    await endNull(keeping, operation, removal.bucket, nullName(name));
    const move = { from: current, target, gone: new Set([NULL_VERSION]) };
    if (!(await staysAt(keeping, operation, name, move)) && target.kind !== 'none') {
      await heal(keeping, operation, name, target.id);
    }
    return { kind: 'deleted', versionId: NULL_VERSION };
  }
  throw new OperatingError('undecided', 'others write the same object; the outcome is not known');
}

/** If the version that was pointed at has been deleted meanwhile. */
async function heal(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  id: string,
): Promise<void> {
  const exact = exactly(operation);
  const state = await keeping.store.statObject(exact, placeOfVersion(name, id)!);
  if (state === undefined) await repoint(keeping, exact, name, new Set([id]));
}

/** Suspended: the delete marker is the null version, and takes the place of the one before. */
async function hideByNull(
  keeping: Keeping,
  { operation, bucket, name, condition: asked }: VersionRemoval,
): Promise<Removal> {
  let clientMicros = 0;
  const onMade = (micros: number): void => {
    clientMicros = micros;
  };
  const target: Target = { kind: 'marker', id: NULL_VERSION, onMade };
  const shown = await seenThrough(keeping, { operation, name, condition: asked });
  let refused = false;
  const done = await pointAt(keeping.store, operation, name, target, (_, live) => {
    refused = asked?.holds(shown(live)) === false;
    return !refused;
  });
  if (refused) return { kind: 'precondition-failed' };
  if (done !== 'pointed') return { kind: 'no-container' };
  await keepNullMarker(keeping, operation, bucket, name, clientMicros);
  return { kind: 'deleted', versionId: NULL_VERSION, deleteMarker: true };
}

/** Listed at the tombstone's time; not where a null version came after it, or was deleted since. */
async function keepNullMarker(
  keeping: Keeping,
  operation: Operation,
  bucket: ContainerInfo,
  name: ObjectName,
  clientMicros: number,
): Promise<void> {
  const condition: Condition = {
    holds: (_, known) => known?.data === undefined || known.data.clientMicros < clientMicros,
  };
  const request = { ...markerRequest(newWriteId(keeping)), clientMicros, condition };
  await keep(keeping, operation, bucket, nullName(name), request);
}

/**
 * A name that a marker hides which is not there. One of its own was kept before the name was hidden, so its
 * deletion was broken off; the null one is kept after that, so it is kept now.
 */
export async function mendHidden(
  keeping: Keeping,
  operation: Operation,
  bucket: ContainerInfo,
  name: ObjectName,
): Promise<void> {
  const exact = exactly(operation);
  const known = await keeping.store.peekObject(exact, name);
  const current = currentOf(known, nowSeconds(keeping));
  if (current.kind !== 'marker') return;
  const place = placeOfVersion(name, current.id);
  const state = place && (await keeping.store.statObject(exact, place));
  const isNull = current.id === NULL_VERSION;
  if (isNull && state?.data?.deleteMarker !== true) {
    await keepNullMarker(keeping, exact, bucket, name, known!.data!.clientMicros);
  } else if (!isNull && state === undefined) {
    await repoint(keeping, exact, name, new Set([current.id]));
  }
}

/**
 * A null version among the others, which one in its own place has replaced. By now that one may itself
 * have made room for a version, or been hidden: what is there then is not older, and stays.
 */
export async function forgetNull(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  beforeMicros: number,
): Promise<void> {
  const place = nullName(name);
  const known = await keeping.store.peekObject(exactly(operation), place);
  if (!isLive(known, nowSeconds(keeping))) return;
  await keeping.store.deleteObject(operation, place, {
    holds: (live) => live?.data !== undefined && live.data.clientMicros < beforeMicros,
  });
}
