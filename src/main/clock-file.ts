/**
 * The hybrid clock of one process with its durable bound: a file of one line per worker id, replaced
 * about once in 10 s. Damaged or lost: the wall clock plus the reserve, which is above any bound that
 * a run before can have reserved unless its clock was ahead of this one.
 */
import path from 'node:path';
import { OperatingError } from '#base/errors.ts';
import { HybridClock, RESERVE_MICROS } from '#base/hybrid-clock.ts';
import type { Env } from '#env/env.ts';

const FORMAT = 1;

export async function openClock(env: Env, folder: string, workerId: number): Promise<HybridClock> {
  const file = path.join(folder, `clock-${workerId}.json`);
  return new HybridClock({
    workerId,
    wallMicros: () => env.clock.wallMicros(),
    bound: await readBound(env, file),
    reserve: (bound) => {
      try {
        env.disk.replaceSync(file, Buffer.from(`${JSON.stringify({ format: FORMAT, bound })}\n`));
      } catch (cause) {
        // Without a bound no timestamp may be issued: writes through this process wait for better times.
        throw new OperatingError('unavailable', 'the clock cannot be saved', { file }, { cause });
      }
    },
  });
}

async function readBound(env: Env, file: string): Promise<number> {
  if ((await env.disk.stat(file)) === undefined) return 0;
  try {
    const value: unknown = JSON.parse((await env.disk.read(file)).toString());
    if (
      typeof value === 'object' &&
      value !== null &&
      'bound' in value &&
      Number.isSafeInteger(value.bound)
    ) {
      return value.bound as number;
    }
  } catch (error) {
    env.log.warn('clock.bound-unreadable', { file, reason: String(error) });
  }
  return env.clock.wallMicros() + RESERVE_MICROS;
}
