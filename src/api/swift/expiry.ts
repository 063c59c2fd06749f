/** X-Delete-At and X-Delete-After: when an object is to be gone, in unix seconds. */
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';

/** Ten digits, as Swift keeps it: the year 2286. */
const MAX_DELETE_AT = 9_999_999_999;

/** Undefined: no expiry. @throws Refusal 400 for what is no integer or lies in the past */
export function deleteAt(request: SwiftRequest): number | undefined {
  const at = request.header('x-delete-at');
  const after = request.header('x-delete-after');
  if (at === undefined && after === undefined) return undefined;
  const now = Math.floor(request.service.env.clock.wallMicros() / 1e6);
  if (after !== undefined) {
    const seconds = integer(after, 'X-Delete-After');
    if (seconds <= 0) throw refuse('bad-request', 'X-Delete-After in past');
    return Math.min(now + seconds, MAX_DELETE_AT);
  }
  const seconds = integer(at!, 'X-Delete-At');
  if (seconds <= now) throw refuse('bad-request', 'X-Delete-At in past');
  return Math.min(seconds, MAX_DELETE_AT);
}

function integer(text: string, name: string): number {
  if (!/^\s*-?\d{1,20}\s*$/.test(text)) throw refuse('bad-request', `Non-integer ${name}`);
  return Number(text);
}
