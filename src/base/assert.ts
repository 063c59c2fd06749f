/**
 * A programmer error: a state that the code says can't be. It is never caught to go on; the process
 * ends, and the log replays on the next start. Hostile input is not a programmer error: see errors.ts.
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new AssertionError(why);
}

/** For the `default` of an exhaustive switch over a union. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
