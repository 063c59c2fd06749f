/**
 * How many connections a listener may hold. Connections and the devices' files come out of one limit: who
 * opened all that are allowed would leave none for a new segment or blob, and a device that can't open its
 * files is out of service.
 */
import { readFileSync } from 'node:fs';

/** Where the system does not tell: what Linux gives a process at least. */
const LEAST = 1024;
/** Of all descriptors. Five listeners of a process together leave at least a quarter. */
const PUBLIC_SHARE = 1 / 2;
const OTHER_SHARE = 1 / 16;

export interface ConnectionLimits {
  /** Of the proxy's port. */
  readonly proxy: number;
  /** Of each other port. */
  readonly other: number;
}

export function connectionLimits(descriptors = descriptorLimit()): ConnectionLimits {
  return {
    proxy: Math.floor(descriptors * PUBLIC_SHARE),
    other: Math.floor(descriptors * OTHER_SHARE),
  };
}

function descriptorLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? LEAST);
  } catch {
    return LEAST;
  }
}
