/**
 * Points a name at its newest version after the one it pointed at has gone. Whoever deletes a version, and
 * whoever finds a name that points at nothing, does it; doing it twice changes nothing.
 *
 * Two that delete neighbouring versions at once can't leave the name pointing at nothing: each deletes
 * first and looks at the name then, and who has pointed it at a version looks once more which is the
 * newest. That second look also finds one whose writer kept it after the first, saw the version that is
 * gone now as the newer one, and so left the name to it.
 */
import { OperatingError } from '#base/errors.ts';
import type { ObjectName } from '#base/names.ts';
import type { Operation } from '../contract.ts';
import { type Current, currentOf, isSameCurrent, linkTo, pointAt, type Target } from './current.ts';
import {
  exactly,
  isVersion,
  type Keeping,
  lookAt,
  nowSeconds,
  placeOfVersion,
  versionsOf,
} from './keeping.ts';

/** How often others may come between. */
const MAX_ATTEMPTS = 16;

/** `gone`: versions that are not there any more. @throws OperatingError `undecided` */
export async function repoint(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  gone: ReadonlySet<string>,
): Promise<void> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const current = await lookAt(keeping, operation, name);
    if (current.kind === 'own') return;
    if (current.kind !== 'none' && !gone.has(current.id)) return;
    const target = await nextOf(keeping, operation, name, current, gone);
    if (current.kind === 'none' && target.kind !== 'link') return;
    const done = await pointFrom(keeping, operation, name, current, target);
    if (done === 'no-container') return;
    if (done === 'refused') continue;
    if (await staysAt(keeping, operation, name, { from: current, target, gone })) return;
  }
  throw new OperatingError('undecided', 'others write the versions of this name all the time');
}

/**
 * After a name was pointed from one version at the next: looks again which that is, and points the name
 * there. False: the name is to be looked at anew.
 */
export async function staysAt(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  move: {
    readonly from: Current;
    readonly target: Target;
    readonly gone: ReadonlySet<string>;
  },
): Promise<boolean> {
  let { target } = move;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const next = await nextOf(keeping, operation, name, move.from, move.gone);
    if (isSameCurrent(next, target)) return true;
    if ((await pointFrom(keeping, operation, name, target, next)) !== 'pointed') return false;
    target = next;
  }
  return false;
}

/** Only from what was seen: who came between is looked at anew. */
function pointFrom(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  seen: Current,
  target: Target,
): Promise<'pointed' | 'refused' | 'no-container'> {
  return pointAt(keeping.store, operation, name, target, (known) =>
    isSameCurrent(currentOf(known, nowSeconds(keeping)), seen),
  );
}

/** The newest version that is there, and older than the one that was current. */
export async function nextOf(
  keeping: Keeping,
  operation: Operation,
  name: ObjectName,
  current: Current,
  gone: ReadonlySet<string>,
): Promise<Target> {
  // What is newer than the current version is being written: its writer points the name at it.
  const below = current.kind === 'link' || current.kind === 'marker' ? current.id : '~';
  const exact = exactly(operation);
  for (const { id, order, row } of await versionsOf(keeping, exact, name)) {
    if (gone.has(id) || (order >= below && current.kind !== 'own')) continue;
    if (row.role === 'marker') return { kind: 'marker', id };
    const state = await keeping.store.statObject(exact, placeOfVersion(name, id)!);
    if (state !== undefined && isVersion(state, id)) return linkTo(id, state);
  }
  return { kind: 'none' };
}
