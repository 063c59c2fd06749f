/** What every node process is started with: flags of V8, and the environment of glibc's allocator. */

/**
 * V8 settings of every node process. Bodies pass through as buffers outside V8's heap; by default V8
 * marks its whole heap anew after every 32 MB of them, which took a third of an upload's CPU (35 full
 * collections for a GiB). Counted together with the heap, they cause none or two, if the heap may double
 * before it is marked: by itself V8 lets a small one grow by 8 MB, and a refill of 4 GiB in several streams
 * marked it 200 times on each node, for more than half of its CPU.
 *
 * The young generation is small on purpose: five processes share a machine.
 */
export const NODE_FLAGS: readonly string[] = [
  '--external-memory-accounted-in-global-limit',
  '--external-memory-max-growing-factor=1.5',
  '--heap-growing-percent=100',
  '--max-semi-space-size=16',
  '--disable-warning=ExperimentalWarning',
];

/**
 * glibc keeps what was freed: in an arena for each thread, and behind thresholds that it raises after
 * the first large buffer. With two arenas and fixed thresholds, a hundred slow uploads leave a quarter
 * less memory behind, at no cost in CPU that could be measured.
 */
export function nodeEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '1048576', ...process.env, ...more };
}
