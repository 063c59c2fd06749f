/** When a client that was told to slow down may come again: the header, or none. */
import { OperatingError } from '#base/errors.ts';

export function retryAfter(error: unknown): readonly string[] {
  if (!(error instanceof OperatingError)) return [];
  const seconds = error.facts['retryAfterSeconds'];
  return typeof seconds === 'number' ? ['Retry-After', String(seconds)] : [];
}
