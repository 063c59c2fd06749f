/** What goes wrong, by its code: tests look at codes, never at messages. */
import { codeOf } from '../errors.ts';

/** The code that a call throws, or `none`. */
export function thrownCode(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    return codeOf(error);
  }
}

/** The code that a promise is rejected with, or `none`. */
export function rejectedCode(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'none', codeOf);
}
