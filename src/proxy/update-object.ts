/** POST of an object: replaces its user metadata and system values, without its body. */
import type { EntryState } from '#base/entry.ts';
import type { Timestamp } from '#base/timestamp.ts';
import { both, type Condition, IF_PRESENT } from './condition.ts';
import type { ProxyContext } from './context.ts';
import type { ContainerInfo, MetadataGroups } from './contract.ts';
import { stamped } from './new-state.ts';
import type { Place } from './placement.ts';
import type { OwnWrite } from './round-record.ts';
import type { Trace } from './trace.ts';
import { type Refused, type Written, writeObject } from './write-object.ts';

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
  readonly own: OwnWrite;
  readonly condition?: Condition;
}

/**
 * Both groups are written, also when they are empty: a group without values is one that was cleared.
 * A content type that an earlier POST had set stays unless this one sets another.
 */
export function updateObject(
  context: ProxyContext,
  update: ObjectUpdate & { readonly change: ObjectChange },
): Promise<Written | Refused> {
  const { user, deleteAt, system } = update.change;
  return write(context, update, (timestamp, current) => {
    const contentType = current.groups['system']?.values['content-type'];
    const values: Record<string, string> = {
      ...(contentType !== undefined && { 'content-type': contentType }),
      ...system,
      ...(deleteAt !== null && { 'delete-at': String(deleteAt) }),
    };
    return { user: { timestamp, values: user }, system: { timestamp, values } };
  });
}

/** Replaces single groups, as tags and ACLs are set. */
export function updateGroups(
  context: ProxyContext,
  update: ObjectUpdate & { readonly groups: MetadataGroups },
): Promise<Written | Refused> {
  return write(context, update, (timestamp) => stamped(update.groups, timestamp));
}

function write(
  context: ProxyContext,
  { trace, place, container, state, own, condition }: ObjectUpdate,
  groupsAt: (timestamp: Timestamp, current: EntryState) => EntryState['groups'],
): Promise<Written | Refused> {
  return writeObject(context, {
    trace,
    place,
    container,
    base: state,
    own,
    stateAt: (timestamp, current = state) => ({ groups: groupsAt(timestamp, current) }),
    ...(condition && { condition: both(IF_PRESENT, condition) }),
  });
}
