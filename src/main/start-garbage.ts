/**
 * What a start leaves behind. Loading modules, rings and tables fills V8's young generation and makes
 * tens of megabytes of garbage, which V8 keeps until the process has been busy for long: an idle node
 * would hold it for ever. One full collection, a moment after the start, gives it back.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const AFTER_MS = 1000;

interface CollectOptions {
  readonly type: 'major';
  /** The only one after which V8 also makes its young generation small. */
  readonly flavor: 'last-resort';
}

export function collectStartGarbage(): void {
  setTimeout(() => {
    setFlagsFromString('--expose-gc');
    const collect: (options: CollectOptions) => void = runInNewContext('gc');
    collect({ type: 'major', flavor: 'last-resort' });
  }, AFTER_MS).unref();
}
