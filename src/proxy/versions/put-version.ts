/**
 * Writing a version: first the version itself, an object of its own, then the name is pointed at it. The
 * second step is the write: it is conditional and linearizable, and until it is done no listing shows the
 * version and nobody reads it. A crash between leaves an object that nothing refers to.
 *
 * Of two writers at once the version with the later time is the current one, whoever points the name
 * last; the other is one that was overwritten at once. A write that begins after another was acknowledged
 * has the later time: it looks at the name first, and its clock has then seen the other's.
 */
import type { EntryState } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import { type Condition, IF_ABSENT } from '../condition.ts';
import type { BodyFacts, ContainerInfo, Operation, PutRequest, PutResult } from '../contract.ts';
import {
  contentOf,
  currentOf,
  type Link,
  linkTo,
  nothing,
  orderOf,
  pointAt,
  type Target,
} from './current.ts';
import {
  archiveNull,
  type Keeping,
  keep,
  lookAt,
  newest,
  newWriteId,
  nowSeconds,
  placeOfVersion,
} from './keeping.ts';
import { versionIdOf, versionName } from './names.ts';
import { readVersioned } from './read-version.ts';
import { repoint } from './repoint.ts';

/** How often the null version may have to make room anew. */
const MAX_ATTEMPTS = 8;
const NOT_STORED = { etag: '', size: 0, clientMicros: 0 };

export interface VersionWrite {
  readonly operation: Operation;
  readonly bucket: ContainerInfo;
  readonly name: ObjectName;
  readonly condition: Condition | undefined;
}

/** @throws OperatingError as the Store's putObject */
export async function putVersion(
  keeping: Keeping,
  write: VersionWrite,
  request: PutRequest,
): Promise<PutResult> {
  const { operation, bucket, name, condition } = write;
  if (condition?.holds(await currentState(keeping, write)) === false) {
    return { kind: 'precondition-failed', ...NOT_STORED };
  }
  const archived = await makeRoom(keeping, write);
  const writeId = request.writeId ?? newWriteId(keeping);
  const { condition: _, finish, clientMicros: __, ...rest } = request;
  let facts: BodyFacts = {};
  const kept = await keep(keeping, operation, bucket, versionName(name, writeId), {
    ...rest,
    writeId,
    finish: () => {
      facts = finish?.() ?? {};
      return facts;
    },
    // Chosen by the caller: another attempt of this write may have kept it before.
    ...(request.writeId !== undefined && { condition: IF_ABSENT }),
  });
  if (kept.kind !== 'stored') return await again(keeping, write, writeId, archived);
  const { etag, size } = kept;
  const versionId = versionIdOf(kept.clientMicros, writeId);
  const contentType = facts.contentType ?? request.contentType;
  const { deleteAt } = request;
  const shown = { clientMicros: kept.clientMicros, etag, size, contentType };
  const target: Link = {
    kind: 'link',
    id: versionId,
    shown: { ...shown, ...(deleteAt !== undefined && { deleteAt }) },
  };
  const isOwn = request.writeId === undefined;
  const outcome = await publish(keeping, write, target, archived, isOwn);
  return outcome === 'pointed' ? { ...kept, versionId } : { kind: outcome, ...NOT_STORED };
}

/** An earlier attempt of this write (a repeated completion of an upload) has kept the version. */
async function again(
  keeping: Keeping,
  write: VersionWrite,
  writeId: string,
  archived: string | undefined,
): Promise<PutResult> {
  const place = versionName(write.name, writeId);
  const state = await keeping.store.statObject(newest(write.operation), place);
  if (state === undefined) throw new OperatingError('undecided', 'it was deleted again meanwhile');
  const { etag, size, clientMicros } = state.data!;
  const versionId = versionIdOf(clientMicros, writeId);
  const outcome = await publish(keeping, write, linkTo(versionId, state), archived, false);
  const made = { etag, size, clientMicros, versionId };
  return outcome === 'pointed' ? { kind: 'stored', ...made } : { kind: outcome, ...NOT_STORED };
}

/** A delete marker. @throws OperatingError as the Store's deleteObject */
export async function putMarker(
  keeping: Keeping,
  write: VersionWrite,
): Promise<{ readonly kind: Published; readonly versionId: string }> {
  const { operation, bucket, name } = write;
  const archived = await makeRoom(keeping, write);
  const writeId = newWriteId(keeping);
  const place = versionName(name, writeId);
  const { clientMicros } = await keep(keeping, operation, bucket, place, markerRequest(writeId));
  const versionId = versionIdOf(clientMicros, writeId);
  const target = { kind: 'marker', id: versionId } as const;
  return { kind: await publish(keeping, write, target, archived, true), versionId };
}

export function markerRequest(writeId: string): PutRequest {
  return {
    body: nothing(),
    length: 0,
    maxLength: 0,
    contentType: '',
    user: {},
    system: {},
    writeId,
    version: { deleteMarker: true },
  };
}

/** What conditions are asked of: a name that points at a version has that one's metadata elsewhere. */
export async function seenThrough(
  keeping: Keeping,
  write: Pick<VersionWrite, 'operation' | 'name' | 'condition'>,
): Promise<(live: EntryState | undefined) => EntryState | undefined> {
  if (write.condition === undefined) return (live) => live;
  const seen = await currentState(keeping, write);
  const id = seen?.data?.versionId;
  return (live) => (id !== undefined && live?.data?.versionId === id ? seen : live);
}

/** The version that is current, with all its metadata. */
function currentState(
  keeping: Keeping,
  { operation, name }: Pick<VersionWrite, 'operation' | 'name'>,
): Promise<EntryState | undefined> {
  return readVersioned<EntryState>(
    keeping,
    newest(operation),
    name,
    (asked, place) => keeping.store.statObject(asked, place),
    (state) => state,
    (_, state) => state,
  );
}

/** What of a null version in its own place has been kept elsewhere; undefined: there is none. */
async function makeRoom(
  keeping: Keeping,
  { operation, bucket, name }: VersionWrite,
): Promise<string | undefined> {
  const current = await lookAt(keeping, operation, name);
  if (current.kind !== 'own') return undefined;
  return await archiveNull(keeping, operation, bucket, name);
}

export type Published = 'pointed' | 'precondition-failed' | 'no-container';

type Verdict = 'go' | 'linked' | 'older' | 'archive' | 'failed' | 'conflict';

/**
 * Points the name at what was kept, unless something newer is current already. What is not wanted is
 * deleted again, before anybody is told so; but only if it is this attempt's alone (`isOwn`): another
 * completion of the same upload may be about to point the name at it.
 */
async function publish(
  keeping: Keeping,
  write: VersionWrite,
  target: Exclude<Target, { readonly kind: 'none' }>,
  archived: string | undefined,
  isOwn: boolean,
): Promise<Published> {
  const { operation, bucket, name, condition } = write;
  let room = archived;
  const shown = await seenThrough(keeping, write);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    let verdict: Verdict = 'go';
    const done = await pointAt(keeping.store, operation, name, target, (known, live) => {
      verdict = judge(target.id, known, nowSeconds(keeping), room);
      if (verdict === 'older' && isOwn && condition !== undefined) verdict = 'conflict';
      const asked = verdict === 'go' || verdict === 'conflict' || verdict === 'archive';
      if (asked && condition?.holds(shown(live)) === false) verdict = 'failed';
      return verdict === 'go';
    }).catch((error: unknown) => dropIfRefused(keeping, write, target.id, error));
    if (done === 'pointed') return 'pointed';
    if (done === 'no-container') return await dropped(keeping, write, target.id, 'no-container');
    switch (verdict as Verdict) {
      case 'go':
      case 'linked':
      case 'older':
        return 'pointed';
      case 'archive':
        room = await archiveNull(keeping, operation, bucket, name);
        break;
      case 'failed':
        if (!isOwn) return 'precondition-failed';
        return await dropped(keeping, write, target.id, 'precondition-failed');
      case 'conflict':
        await drop(keeping, write, target.id);
        throw new OperatingError('undecided', 'another write came between');
    }
  }
  throw new OperatingError('undecided', 'others write the same object; the outcome is not known');
}

/** Pure: what to do with a version of this id, where `known` is what the name's entry says. */
function judge(
  id: string,
  known: EntryState | undefined,
  seconds: number,
  archived: string | undefined,
): Verdict {
  const current = currentOf(known, seconds);
  if (current.kind !== 'none' && current.kind !== 'own' && current.id === id) return 'linked';
  // Between them there was another one: this version was overwritten at once.
  if (orderOf(known, seconds) > id) return 'older';
  if (current.kind === 'own' && contentOf(current.state) !== archived) return 'archive';
  return 'go';
}

async function dropped(
  keeping: Keeping,
  write: VersionWrite,
  id: string,
  outcome: Published,
): Promise<Published> {
  await drop(keeping, write, id);
  return outcome;
}

/** Before the write is told to have failed, what it has kept is gone. */
async function drop(keeping: Keeping, write: VersionWrite, id: string): Promise<void> {
  const { operation, name } = write;
  await keeping.store.deleteObject(operation, placeOfVersion(name, id)!);
  await repoint(keeping, operation, name, new Set([id]));
}

async function dropIfRefused(
  keeping: Keeping,
  write: VersionWrite,
  id: string,
  error: unknown,
): Promise<never> {
  if (codeOf(error) === 'quota-exceeded') await drop(keeping, write, id);
  throw error;
}
