/**
 * Compaction of this node's devices. They take turns, so that at most one device of the process is rewritten at a
 * time; one that fails holds up no other.
 */
import { isServing } from '#device/contract.ts';
import type { Job } from '#worker/job.ts';
import type { Devices } from './guard.ts';

const IDLE_MS = 10_000;

export function createCompaction(devices: Devices): Job {
  return {
    name: 'device.compaction',
    step: async () => {
      let more = false;
      const failures: unknown[] = [];
      for (const device of [...devices().values()]) {
        if (!isServing(device.status)) continue;
        try {
          more = (await device.compactStep()) || more;
        } catch (error) {
          failures.push(error);
        }
      }
      // Told, and followed by a growing wait, when there is nothing else to do.
      if (failures.length > 0 && !more) throw failures[0];
      return more ? { kind: 'more' } : { kind: 'idle', waitMs: IDLE_MS };
    },
  };
}
