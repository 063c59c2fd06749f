/**
 * The expirer: frees the body of a version whose delete-at passed `graceSeconds` ago, on this replica
 * alone; whom it asks before, expiry-check.ts says.
 *
 * Expiry belongs to a version; it is not a later deletion. The entry's kind becomes `expired` with
 * every timestamp unchanged, so that an overwrite or POST that this replica missed still wins when
 * it arrives. (A tombstone written at delete-at would delete the newer version everywhere.) The
 * grace is at least the drift limit: a clock that is hours ahead must not free what others still serve.
 */
import { expirySource, wantsBody } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { type Device, type Entry, isServing } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { ExpiryCheck } from './expiry-check.ts';
import type { Devices } from './guard.ts';
import type { Relister } from './relister.ts';

const DEFAULT_EXPIRY_GRACE_SECONDS = 6 * 3600;

export interface ExpirerOptions {
  readonly graceSeconds?: number;
  readonly idleMs?: number;
}

const BATCH = 128;

export function createExpirer(
  env: Env,
  devices: Devices,
  relister: Relister,
  check: Pick<ExpiryCheck, 'isOver'>,
  { graceSeconds = DEFAULT_EXPIRY_GRACE_SECONDS, idleMs = 30_000 }: ExpirerOptions = {},
): Job {
  let expired = 0;
  /** Entries at the head of a device's list that had to stay. */
  const stayed = new WeakMap<Device, number>();

  /** False: it has to stay for now. */
  async function expire(device: Device, entry: Entry): Promise<boolean> {
    const { key, path, state } = entry;
    // Also of a version that was freed before and brought back by a POST with another delete-at.
    if (state.data === undefined || !wantsBody(state)) return true;
    if (!(await check.isOver(device, entry))) return false;
    const expiredSource = expirySource(state).timestamp;
    const freed = { data: { ...state.data, kind: 'expired' as const, expiredSource }, groups: {} };
    await device.write({ key, path, state: freed, unlisted: true, intent: 'join' });
    expired++;
    const now = device.stat(key);
    if (now !== undefined) await relister.relist(device, now, 'expirer');
    return true;
  }

  /** True: there is more. */
  async function expireSome(device: Device, before: number): Promise<boolean> {
    const skip = stayed.get(device) ?? 0;
    const entries = device.expiring(before, BATCH, skip);
    const results = await Promise.allSettled(entries.map((entry) => expire(device, entry)));
    const failures = results.filter((result) => result.status === 'rejected');
    for (const { reason } of failures) {
      env.log.warn('object.expire-failed', { device: device.id, error: codeOf(reason) });
    }
    const kept = results.filter((result) => result.status === 'fulfilled' && !result.value).length;
    const isMore = entries.length === BATCH && failures.length === 0;
    stayed.set(device, isMore ? skip + kept : 0);
    return isMore;
  }

  async function step(): Promise<StepResult> {
    const before = Math.floor(env.clock.wallMicros() / 1e6) - graceSeconds;
    let more = false;
    for (const device of devices().values()) {
      // A full one most of all: what has expired is room.
      if (!isServing(device.status)) continue;
      if (await expireSome(device, before)) more = true;
    }
    return more ? { kind: 'more' } : { kind: 'idle', waitMs: idleMs };
  }

  return { name: 'object.expirer', step, facts: () => ({ expired }) };
}
