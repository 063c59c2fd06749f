/**
 * The updater: sends rows again that stayed unlisted, because the node stopped between commit and
 * row, no container replica was reachable, or the write came to a handoff.
 *
 * It goes round and round over them. Were it to begin with the oldest each time, as many as one step takes
 * whose container can't be reached for days would hold up the rows of all others on the device.
 */
import type { Device } from '#device/contract.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { Devices } from './guard.ts';
import type { Relister } from './relister.ts';
import type { Retirer } from './retirer.ts';

export interface UpdaterOptions {
  /** Younger entries are probably under way: their own write lists them. */
  readonly olderThanMs?: number;
  readonly idleMs?: number;
}

const BATCH = 256;

export function createUpdater(
  devices: Devices,
  relister: Relister,
  retirer: Retirer,
  { olderThanMs = 10_000, idleMs = 5_000 }: UpdaterOptions = {},
): Job {
  let listed = 0;
  let failed = 0;
  /** How many of the oldest this round could not list, by device. */
  const stuck = new Map<number, number>();

  async function update(device: Device): Promise<boolean> {
    const skip = stuck.get(device.id) ?? 0;
    const entries = device.unlisted(BATCH, olderThanMs, skip);
    const done = await Promise.all(
      entries.map(async (entry) => {
        const outcome = await relister.relist(device, entry, 'updater');
        return outcome === 'elsewhere' ? await retirer.retire(device, entry) : outcome === 'listed';
      }),
    );
    const count = done.filter(Boolean).length;
    listed += count;
    failed += entries.length - count;
    stuck.set(device.id, entries.length < BATCH ? 0 : skip + entries.length - count);
    return count > 0 && entries.length === BATCH;
  }

  async function step(): Promise<StepResult> {
    let more = false;
    for (const device of devices().values()) {
      if (device.status === 'ok' && (await update(device))) more = true;
    }
    return more ? { kind: 'more' } : { kind: 'idle', waitMs: idleMs };
  }

  return { name: 'object.updater', step, facts: () => ({ listed, failed }) };
}
