/**
 * When V8 should collect garbage and does not do so by itself.
 *
 * - A start (modules, rings, tables) fills the young generation and leaves tens of megabytes behind,
 *   which V8 keeps until the process has been busy for long: an idle node would hold them for ever.
 * - Bodies pass through in buffers outside V8's heap, each held by an object of a few bytes. The young
 *   generation is full of those only after gigabytes, so the buffers of a hundred slow uploads pile up.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const AFTER_START_MS = 1000;
/**
 * A collection of the young generation takes about 1 ms: at 1 GB/s of traffic less than a tenth of the
 * time. Where less flows, it is worth one for less, but not more often than five times a second.
 *
 * After 32 MiB it came too late: where the heap is small, V8 marks all of it when about 35 MiB have been
 * added outside, and a node that sent 1 GiB did so 36 times, for half of its CPU.
 */
const COLLECT_EVERY_BYTES = 16 * 1024 * 1024;
const COLLECT_FROM_BYTES = 4 * 1024 * 1024;
const COLLECT_EVERY_MS = 200;

type Collection =
  | { readonly type: 'minor' }
  /** This flavour also makes the young generation small again. */
  | { readonly type: 'major'; readonly flavor: 'last-resort' };

let collector: ((collection: Collection) => void) | undefined;
let passedBytes = 0;
let collectedAtMs = 0;

function collect(collection: Collection): void {
  if (collector === undefined) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as (collection: Collection) => void;
  }
  collector(collection);
}

export function collectStartGarbage(): void {
  setTimeout(() => collect({ type: 'major', flavor: 'last-resort' }), AFTER_START_MS).unref();
}

/** To be told of every buffer that came from or goes to the network. */
export function bufferPassed(bytes: number): void {
  passedBytes += bytes;
  if (passedBytes < COLLECT_FROM_BYTES) return;
  const nowMs = performance.now();
  if (passedBytes < COLLECT_EVERY_BYTES && nowMs - collectedAtMs < COLLECT_EVERY_MS) return;
  passedBytes = 0;
  collectedAtMs = nowMs;
  collect({ type: 'minor' });
}
