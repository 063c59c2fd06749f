/** Comparisons of states by what `join` keeps by reference. */
import { type EntryState, join } from '#base/entry.ts';

/** Whether `joined`, which is join(before, ...), is no more than `before`. */
export function isSame(before: EntryState, joined: EntryState): boolean {
  if (before.data !== joined.data) return false;
  const names = Object.keys(before.groups);
  if (names.length !== Object.keys(joined.groups).length) return false;
  return names.every((name) => before.groups[name] === joined.groups[name]);
}

/** Whether `known` is `state` and more. */
export function isLess(state: EntryState, known: EntryState): boolean {
  return isSame(known, join(known, state)) && !isSame(state, join(state, known));
}

/** Whether some part of `state` is a part of `known`, or is missing there. */
export function contributes(state: EntryState, known: EntryState): boolean {
  if (!isSame(known, join(known, state))) return true;
  if (state.data !== undefined && state.data.timestamp === known.data?.timestamp) return true;
  return Object.entries(state.groups).some(([name, { timestamp }]) => {
    return known.groups[name]?.timestamp === timestamp;
  });
}
