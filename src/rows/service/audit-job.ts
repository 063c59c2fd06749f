/** Reads the rows of all devices again at a slow, steady rate, as the auditor does with the log. */
import type { Job, StepResult } from '#worker/job.ts';
import type { RowDevice } from './context.ts';
import { isUsable } from './keeper.ts';

const ROWS_PER_STEP = 500;
const STEP_WAIT_MS = 250;
const ROUND_WAIT_MS = 600_000;

export class RowAuditJob implements Job {
  readonly name = 'rows.audit';
  readonly #devices: () => ReadonlyMap<number, RowDevice>;
  #rounds = 0;

  constructor(devices: () => ReadonlyMap<number, RowDevice>) {
    this.#devices = devices;
  }

  facts(): Record<string, number> {
    return { rounds: this.#rounds };
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    let more = false;
    for (const target of this.#devices().values()) {
      if (signal.aborted || !isUsable(target)) continue;
      if (target.rows.audit(ROWS_PER_STEP)) more = true;
    }
    if (more) return { kind: 'idle', waitMs: STEP_WAIT_MS };
    this.#rounds++;
    return { kind: 'idle', waitMs: ROUND_WAIT_MS };
  }
}
