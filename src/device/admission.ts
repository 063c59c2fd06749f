/** What is checked of a write before it may wait for its commit. */

import type { EntryState } from '#base/entry.ts';
import { newestTimestamp } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import type { HybridClock } from '#base/hybrid-clock.ts';
import type { DeviceStatus, WriteRequest } from './contract.ts';
import { Stage } from './stage.ts';

/** A full disk must still be able to delete, and to free what has expired. */
export function statusesFor(state: EntryState, hasBody: boolean): readonly DeviceStatus[] {
  const kind = state.data?.kind;
  return (kind === 'deleted' || kind === 'expired') && !hasBody ? ['ok', 'full'] : ['ok'];
}

/** Moves the clock above everything in the state. @throws OperatingError `clock-drift` */
export function observeState(clock: HybridClock, state: EntryState): void {
  clock.observe(newestTimestamp(state));
  const source = state.data?.expiredSource;
  if (source !== undefined) clock.observe(source);
}

/**
 * A body must be what the state says, or a reader would be promised bytes that are not there.
 * @throws OperatingError `bad-body`, `bad-stage`
 */
export function checkBody(request: WriteRequest): void {
  const { body, state, key } = request;
  if (body === undefined) return;
  const expected = state.data?.body?.length;
  if (expected !== undefined && body.length !== expected) {
    throw new OperatingError('bad-body', 'the body has not the length that its state says', {
      length: body.length,
      expected,
    });
  }
  if (!(body instanceof Stage)) return;
  if (!body.finished) throw new OperatingError('bad-stage', 'the stage is not finished');
  if (body.key.policy !== key.policy || !body.key.hash.equals(key.hash)) {
    throw new OperatingError('bad-stage', 'the stage is of another key');
  }
}
