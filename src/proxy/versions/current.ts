/**
 * The entry of a name in a container that keeps versions. It is either data of its own (the null version,
 * in the place where it was always), or says which version is current: a link with that version's ETag,
 * size and time, so that listings show it; or the tombstone that stands for a delete marker.
 *
 * It changes through conditional rounds only, so which version is current is linearizable, and who
 * points it elsewhere decides on what a majority agrees on.
 */
import { type EntryState, expirySource, isLive } from '#base/entry.ts';
import type { ObjectName } from '#base/names.ts';
import type { DeleteMarker, Operation, Store } from '../contract.ts';
import { NULL_VERSION, versionIdOf } from './names.ts';

export type Current =
  /** Nothing there: never written, or what there was has been deleted with all its versions. */
  | { readonly kind: 'none' }
  /** The null version in its own place. */
  | { readonly kind: 'own'; readonly state: EntryState }
  | { readonly kind: 'link' | 'marker'; readonly id: string };

export function currentOf(known: EntryState | undefined, nowSeconds: number): Current {
  const data = known?.data;
  if (data === undefined) return { kind: 'none' };
  const { versionId: id, deleteMarker, kind } = data;
  if (kind === 'deleted' || kind === 'gone') {
    return id !== undefined && deleteMarker ? { kind: 'marker', id } : { kind: 'none' };
  }
  // Also one that has expired: what comes after it is for its owner to say.
  if (id !== undefined) return { kind: 'link', id };
  return isLive(known, nowSeconds) ? { kind: 'own', state: known! } : { kind: 'none' };
}

/** Where it stands among the versions of the name; '' for nothing. */
export function orderOf(known: EntryState | undefined, nowSeconds: number): string {
  const current = currentOf(known, nowSeconds);
  if (current.kind === 'none') return '';
  if (current.kind !== 'own' && current.id !== NULL_VERSION) return current.id;
  const { clientMicros, writeId } = known!.data!;
  return versionIdOf(clientMicros, writeId);
}

export function isSameCurrent(a: Current, b: Current): boolean {
  if (a.kind === 'none' || b.kind === 'none') return a.kind === b.kind;
  if (a.kind === 'own' || b.kind === 'own') {
    return a.kind === 'own' && b.kind === 'own' && contentOf(a.state) === contentOf(b.state);
  }
  return a.kind === b.kind && a.id === b.id;
}

/** Equal for states that differ in nothing but the ballot of a round that asserted them again. */
export function contentOf({ data, groups }: EntryState): string {
  const values = Object.keys(groups)
    .sort()
    .map((name) => [name, Object.entries(groups[name]!.values).sort()]);
  return JSON.stringify([data?.writeId, data?.clientMicros, data?.versionId, values]);
}

/** A version, and what a listing shows of it. */
export interface Link {
  readonly kind: 'link';
  readonly id: string;
  readonly shown: {
    readonly clientMicros: number;
    readonly etag: string;
    readonly size: number;
    readonly contentType: string;
    readonly deleteAt?: number;
  };
}

/** What a name is to point at. */
export type Target =
  | Link
  | ({ readonly kind: 'marker' } & DeleteMarker)
  | { readonly kind: 'none' };

export function linkTo(id: string, state: EntryState): Link {
  const { clientMicros, etag, size, contentType } = state.data!;
  const { deleteAt } = expirySource(state);
  const expiry = deleteAt === undefined ? {} : { deleteAt };
  return { kind: 'link', id, shown: { clientMicros, etag, size, contentType, ...expiry } };
}

/** `may`: asked of the entry as a majority knows it. */
export async function pointAt(
  store: Store,
  operation: Operation,
  name: ObjectName,
  target: Target,
  may: (known: EntryState | undefined, live: EntryState | undefined) => boolean,
): Promise<'pointed' | 'refused' | 'no-container'> {
  const condition = {
    holds: (live: EntryState | undefined, known: EntryState | undefined) => may(known, live),
  };
  if (target.kind === 'link') {
    const { clientMicros, etag, size, contentType, deleteAt } = target.shown;
    const { kind } = await store.putObject(operation, name, {
      body: nothing(),
      length: 0,
      maxLength: 0,
      contentType,
      user: {},
      system: {},
      clientMicros,
      version: { id: target.id },
      finish: () => ({ etag, size }),
      condition,
      ...(deleteAt !== undefined && { deleteAt }),
    });
    return kind === 'stored' ? 'pointed' : kind === 'no-container' ? kind : 'refused';
  }
  const marker = target.kind === 'marker' ? target : undefined;
  const outcome = await store.deleteObject(operation, name, condition, marker);
  if (outcome === 'no-container') return outcome;
  return outcome === 'precondition-failed' ? 'refused' : 'pointed';
}

/** An empty body. */
export async function* nothing(): AsyncGenerator<Uint8Array> {
  yield* [];
}
