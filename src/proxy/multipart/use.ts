/**
 * What was made of an upload. Linearizable reads: what they tell of stays. What an undecided write has left on a minority
 * they need not tell of; who must know asks with `decides` (Uploads.abort). The null version is looked for in its own place
 * first, from where it may move. A change of metadata gives the object a write id of its own, so where the id is
 * another one, the manifest itself tells (simulator with uploads, seed 3: the parts of an object that had been given
 * tags were swept).
 */
import { type EntryState, isLive } from '#base/entry.ts';
import type { ContainerName, ObjectName } from '#base/names.ts';
import type { Env } from '#env/env.ts';
import type { Operation, Store } from '../contract.ts';
import { parsePath, readManifest } from '../manifest-format.ts';
import { nullName, versionName } from '../versions/names.ts';
import { uploadOfPart, writeIdOf } from './names.ts';

/** As much of an upload as both of its records tell. */
export interface NamedUpload {
  readonly bucket: ContainerName;
  readonly uploadId: string;
  readonly record: { readonly key: string };
}

/** Whether the object of that key, or a version of it, is made of this upload's parts. */
export async function isUsed(
  store: Store,
  clock: Env['clock'],
  operation: Operation,
  upload: NamedUpload,
): Promise<boolean> {
  const { uploadId } = upload;
  const newest: Operation = { ...operation, read: 'newest' };
  for (const place of placesOf(upload)) {
    const state = await store.statObject(newest, place);
    if (madeBy(state, uploadId, clock.wallMicros() / 1e6)) return true;
    if (state?.data?.manifest !== 'multipart') continue;
    if ((await partsIn(store, newest, place, uploadId)).size > 0) return true;
  }
  return false;
}

/** The names of the parts that it is made of; none: nothing is. */
export async function usedParts(
  store: Store,
  operation: Operation,
  upload: NamedUpload,
): Promise<ReadonlySet<string>> {
  const newest: Operation = { ...operation, read: 'newest' };
  for (const place of placesOf(upload)) {
    const used = await partsIn(store, newest, place, upload.uploadId);
    if (used.size > 0) return used;
  }
  return new Set();
}

/** Whether a state is what was made of it, as it was made. */
export function madeBy(
  state: EntryState | undefined,
  uploadId: string,
  nowSeconds: number,
): boolean {
  if (!isLive(state, nowSeconds)) return false;
  const data = state?.data;
  return data?.manifest === 'multipart' && data.writeId === writeIdOf(uploadId);
}

async function partsIn(
  store: Store,
  operation: Operation,
  place: ObjectName,
  uploadId: string,
): Promise<Set<string>> {
  const reader = await store.openObject(operation, place);
  if (reader?.state.data?.manifest !== 'multipart') return new Set();
  const { parts } = await readManifest(reader);
  const objects = parts.map(({ path }) => parsePath(path)?.object ?? '');
  return new Set(objects.filter((object) => uploadOfPart(object) === uploadId));
}

/** As the object, as its null version, as a version. */
function placesOf({ bucket, uploadId, record }: NamedUpload): ObjectName[] {
  const name = { ...bucket, object: record.key };
  return [name, nullName(name), versionName(name, writeIdOf(uploadId))];
}
