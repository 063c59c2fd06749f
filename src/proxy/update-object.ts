/** POST of an object: replaces its user metadata and system values, without its body. */
import type { EntryState } from '#base/entry.ts';
import type { ProxyContext } from './context.ts';
import type { ContainerInfo, MetadataGroups } from './contract.ts';
import type { Place } from './placement.ts';
import { stamped } from './put-object.ts';
import type { Trace } from './trace.ts';
import { type Written, writeObject } from './write-object.ts';

export interface ObjectChange {
  readonly user: Readonly<Record<string, string>>;
  readonly system: Readonly<Record<string, string>>;
  /** Unix seconds; null: no expiry any more. */
  readonly deleteAt: number | null;
}

export interface ObjectUpdate {
  readonly trace: Trace;
  readonly place: Place;
  readonly container: ContainerInfo;
  /** As it was read. */
  readonly state: EntryState;
  readonly change: ObjectChange;
}

/**
 * Both groups are written, also when they are empty: a group without values is one that was cleared.
 * A content type that an earlier POST had set stays unless this one sets another.
 */
export function updateObject(context: ProxyContext, update: ObjectUpdate): Promise<Written> {
  const { trace, place, container, state, change } = update;
  const contentType = state.groups['system']?.values['content-type'];
  const kept: Record<string, string> =
    contentType === undefined ? {} : { 'content-type': contentType };
  const expiry: Record<string, string> =
    change.deleteAt === null ? {} : { 'delete-at': String(change.deleteAt) };
  const system = { ...kept, ...change.system, ...expiry };
  return writeObject(context, {
    trace,
    place,
    container,
    base: state,
    stateAt: (timestamp) => ({
      groups: {
        user: { timestamp, values: change.user },
        system: { timestamp, values: system },
      },
    }),
  });
}

/** Replaces single groups, as tags and ACLs are set. */
export function updateGroups(
  context: ProxyContext,
  update: Omit<ObjectUpdate, 'change'> & { readonly groups: MetadataGroups },
): Promise<Written> {
  const { trace, place, container, state, groups } = update;
  return writeObject(context, {
    trace,
    place,
    container,
    base: state,
    stateAt: (timestamp) => ({ groups: stamped(groups, timestamp) }),
  });
}
