/**
 * The status of a device and what may be done in it. It gets worse at once and by any error; only
 * `full` gets better by itself, when there is room again. Everything else waits for a new start, because
 * what happened to the bytes under way cannot be known; where nothing happened to them, the same process
 * may open the device again (`curable`).
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';
import type { DeviceStatus } from './contract.ts';
import { isExhaustion, statusError, statusOf } from './errors.ts';

const RANK: Readonly<Record<DeviceStatus, number>> = {
  ok: 0,
  full: 1,
  'read-only': 2,
  failed: 3,
  missing: 4,
};

/** The index is not what it was: it is rebuilt by opening the device. */
export const INDEX_DAMAGED = 'index-damaged';
/** The process had no descriptors or memory left. */
const EXHAUSTED = 'exhausted';
/** Neither says anything of bytes that were being written or synced. */
const CURABLE: readonly string[] = [INDEX_DAMAGED, EXHAUSTED];

/** Reads that fail for the disk's sake: so many, and the device is no disk to rely on. */
const MAX_READ_ERRORS = 8;

export class Health {
  readonly #log: Log;
  readonly #told: (status: DeviceStatus, reason: string) => void;
  #status: DeviceStatus = 'ok';
  #reason = '';
  #readErrors = 0;

  constructor(log: Log, told: (status: DeviceStatus, reason: string) => void) {
    this.#log = log;
    this.#told = told;
  }

  get status(): DeviceStatus {
    return this.#status;
  }

  get reason(): string {
    return this.#reason;
  }

  /** Out of service, and as good as before when it is closed and opened. */
  get curable(): boolean {
    return this.#status === 'failed' && CURABLE.includes(this.#reason);
  }

  /** Reads are served as long as the bytes are believed to be there. */
  get readable(): boolean {
    return RANK[this.#status] <= RANK['read-only'];
  }

  /** Anything can be written, at least what makes room. */
  get writable(): boolean {
    return RANK[this.#status] <= RANK.full;
  }

  error(): OperatingError {
    return statusError(this.#status, { reason: this.#reason });
  }

  /** Takes an error of the disk or the databases; returns what callers get. */
  take(error: unknown): OperatingError {
    const status = statusOf(error);
    const cause = error instanceof OperatingError ? error.cause : undefined;
    const reason = `${codeOf(error)}: ${messageOf(cause ?? error)}`;
    this.worsen(status, isExhaustion(error) ? EXHAUSTED : reason);
    return statusError(status, { reason: messageOf(error) });
  }

  worsen(status: DeviceStatus, reason: string): void {
    const isWorse = RANK[status] > RANK[this.#status];
    // A sync that fails behind that is for ever.
    const isIncurable = status === this.#status && this.curable && !CURABLE.includes(reason);
    if (isWorse || isIncurable) this.#set(status, reason);
  }

  /** There is room again. */
  recover(): void {
    if (this.#status === 'full') this.#set('ok', 'there is room again');
  }

  readFailed(error: unknown): void {
    this.#readErrors++;
    if (this.#readErrors >= MAX_READ_ERRORS)
      this.worsen('failed', `reads fail: ${messageOf(error)}`);
  }

  #set(status: DeviceStatus, reason: string): void {
    this.#status = status;
    this.#reason = reason;
    const level = status === 'ok' ? 'info' : status === 'full' ? 'warn' : 'error';
    this.#log[level]('device.status', { status, reason });
    this.#told(status, reason);
  }
}
