/**
 * What must hold of an object for a write to happen. In `strict` containers the conditional rounds
 * decide it: linearizable per key, against every other writer at every site.
 *
 * A condition may be asked several times (each round sees the newest state), so it is pure but for
 * noting why it refused, which its maker may do to tell a client more than `precondition-failed`.
 */
import type { EntryState } from '#base/entry.ts';

export interface Condition {
  /**
   * Whether the write may happen on what is there; undefined: no live object has the name. `known`: what
   * was found whatever it is, tombstones too, by the rounds or by a read before the body of a write is sent.
   */
  holds(current: EntryState | undefined, known?: EntryState): boolean;
  /**
   * In a container that is not `strict`, a read before the write is enough (Swift's promise: it holds
   * against full writes only). Without this such a write is refused: OperatingError `not-strict`.
   */
  readonly weakly?: boolean;
}

/** If-None-Match: *. */
export const IF_ABSENT: Condition = { holds: (current) => current === undefined };

/** If-Match: *. */
export const IF_PRESENT: Condition = { holds: (current) => current !== undefined };

/** If-Match: one of these, unquoted. */
export function ifMatch(...etags: readonly string[]): Condition {
  return { holds: (current) => current?.data !== undefined && etags.includes(current.data.etag) };
}

/** Nothing is asked, but the write is ordered among the conditional ones. */
export const ALWAYS: Condition = { holds: () => true };

/** For what both dialects and object lock ask of one write together. */
export function both(first: Condition, second: Condition): Condition {
  return {
    holds: (current, known) => first.holds(current, known) && second.holds(current, known),
    ...(first.weakly === true && second.weakly === true && { weakly: true }),
  };
}
