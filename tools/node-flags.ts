/**
 * V8 settings of every node process. Bodies pass through as buffers outside V8's heap; by default V8
 * marks its whole heap anew after every 32 MB of them, which took a third of an upload's CPU (35 full
 * collections for a GiB). Counted together with the heap, they cause none or two.
 *
 * The young generation is small on purpose: five processes share a machine.
 */
export const NODE_FLAGS: readonly string[] = [
  '--external-memory-accounted-in-global-limit',
  '--external-memory-max-growing-factor=1.5',
  '--max-semi-space-size=16',
  '--disable-warning=ExperimentalWarning',
];
