import { describe, expect, it } from 'vitest';
import type { Device } from '#device/contract.ts';
import { createCompaction } from './compaction.ts';

const { signal } = new AbortController();

/** `steps`: what its steps answer; none left: nothing to do. */
function deviceOf(id: number, steps: (boolean | Error)[]): Device {
  const compactStep = async (): Promise<boolean> => {
    const next = steps.shift() ?? false;
    if (next instanceof Error) throw next;
    return next;
  };
  return { id, status: 'ok', compactStep } as unknown as Device;
}

describe('compaction', () => {
  it('of one device that fails holds up no other, and is told when there is nothing else to do', async () => {
    const bad = Array.from({ length: 9 }, () => new Error('a bad sector'));
    const good = [true, true];
    const devices = new Map([
      [1, deviceOf(1, bad)],
      [2, deviceOf(2, good)],
    ]);
    const job = createCompaction(() => devices);
    expect(await job.step(signal)).toEqual({ kind: 'more' });
    expect(await job.step(signal)).toEqual({ kind: 'more' });
    expect(good).toEqual([]);
    await expect(job.step(signal)).rejects.toThrow('a bad sector');
  });
});
