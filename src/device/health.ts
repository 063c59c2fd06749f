/**
 * The status of a device and what may be done in it. It gets worse at once and by any error; only
 * `full` gets better by itself, when there is room again. Everything else waits for a new start, because
 * what happened to the bytes under way cannot be known.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Log } from '#env/env.ts';
import type { DeviceStatus } from './contract.ts';
import { statusError, statusOf } from './errors.ts';

const RANK: Readonly<Record<DeviceStatus, number>> = {
  ok: 0,
  full: 1,
  'read-only': 2,
  failed: 3,
  missing: 4,
};

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
    this.worsen(status, `${codeOf(error)}: ${messageOf(cause ?? error)}`);
    return statusError(status, { reason: messageOf(error) });
  }

  worsen(status: DeviceStatus, reason: string): void {
    if (RANK[status] > RANK[this.#status]) this.#set(status, reason);
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
