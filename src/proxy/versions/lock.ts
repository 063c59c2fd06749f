/**
 * Object lock: a version that is retained, or held, can't be deleted, and its retention not be weakened.
 * Both stand in metadata groups of the version: `retention` {mode, until: Unix seconds}, `hold` {status}.
 *
 * They are asked in the conditional rounds of the version itself, on the state that a majority agrees
 * on: a deletion and a retention that are under way at once at two sites follow one another.
 */
import type { EntryState } from '#base/entry.ts';
import type { Condition } from '../condition.ts';
import type { ContainerInfo } from '../contract.ts';

/** The container header; absent: no lock. JSON, see src/api/s3/lock-configuration.ts. */
export const LOCK_HEADER = 's3-object-lock';

export const RETENTION_MODES = ['GOVERNANCE', 'COMPLIANCE'] as const;
export type RetentionMode = (typeof RETENTION_MODES)[number];

export const RETENTION_GROUP = 'retention';
export const HOLD_GROUP = 'hold';

export interface Retention {
  readonly mode: RetentionMode;
  readonly untilSeconds: number;
}

export function locksObjects({ headers }: Pick<ContainerInfo, 'headers'>): boolean {
  return headers[LOCK_HEADER] !== undefined;
}

export function retentionOf({ groups }: Pick<EntryState, 'groups'>): Retention | undefined {
  const values = groups[RETENTION_GROUP]?.values;
  const mode = RETENTION_MODES.find((known) => known === values?.['mode']);
  const untilSeconds = Number(values?.['until']);
  return mode === undefined || !Number.isFinite(untilSeconds) ? undefined : { mode, untilSeconds };
}

/** The group's values; none: no retention. */
export function retentionValues(retention: Retention | undefined): Record<string, string> {
  if (retention === undefined) return {};
  return { mode: retention.mode, until: String(retention.untilSeconds) };
}

/** Undefined: never set. */
export function holdOf({ groups }: Pick<EntryState, 'groups'>): 'ON' | 'OFF' | undefined {
  const status = groups[HOLD_GROUP]?.values['status'];
  return status === 'ON' || status === 'OFF' ? status : undefined;
}

/** `bypass`: who asks may overrule GOVERNANCE, and says so. */
function isLocked(state: EntryState, nowSeconds: number, bypass: boolean): boolean {
  if (holdOf(state) === 'ON') return true;
  const retention = retentionOf(state);
  if (retention === undefined || retention.untilSeconds <= nowSeconds) return false;
  return retention.mode === 'COMPLIANCE' || !bypass;
}

/** Whether the retention may become this one. */
export function mayRetain(
  state: EntryState,
  wanted: Retention | undefined,
  nowSeconds: number,
  bypass: boolean,
): boolean {
  const present = retentionOf(state);
  if (present === undefined || present.untilSeconds <= nowSeconds) return true;
  const isStronger =
    wanted !== undefined &&
    wanted.untilSeconds >= present.untilSeconds &&
    (wanted.mode === present.mode || wanted.mode === 'COMPLIANCE');
  return isStronger || (present.mode === 'GOVERNANCE' && bypass);
}

/** Holds of what is not locked, and remembers that something was. */
export class Unlocked implements Condition {
  wasLocked = false;
  readonly #then: Condition | undefined;
  readonly #nowSeconds: () => number;
  readonly #bypass: boolean;

  constructor(then: Condition | undefined, nowSeconds: () => number, bypass: boolean) {
    this.#then = then;
    this.#nowSeconds = nowSeconds;
    this.#bypass = bypass;
  }

  holds(current: EntryState | undefined, known?: EntryState): boolean {
    this.wasLocked = current !== undefined && isLocked(current, this.#nowSeconds(), this.#bypass);
    return !this.wasLocked && this.#then?.holds(current, known) !== false;
  }
}
