/**
 * The auditor: reads everything on this node's devices again, each device at a rate of its own, so that
 * one cycle takes `cycleMs` (30 days). What a cycle has to read is known, so the rate follows from it;
 * small devices are read faster than they need be, once in two days. A person may set another rate, or ask
 * for a whole cycle now.
 *
 * What is damaged the device sees to (src/device/audit.ts); bodies are fetched again at once, by whoever
 * hears of the damage (`onDamage` in src/main/devices.ts).
 */
import { codeOf } from '#base/errors.ts';
import { type AuditFacts, type Device, isServing } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { Job, StepResult } from '#worker/job.ts';
import type { Devices } from './guard.ts';

export interface AuditorOptions {
  /** Everything is read once in this time. */
  readonly cycleMs?: number;
  readonly minBytesPerSecond?: number;
}

const DAY_MS = 24 * 3600 * 1000;
const DEFAULT_CYCLE_MS = 30 * DAY_MS;
const DEFAULT_MIN_RATE = 16 * 1024;
/** A device that is read faster than it need be begins a cycle at most so many times in `cycleMs`. */
const MAX_CYCLES = 30;
/** Steps are this far apart at a low rate, and as large as that makes them. */
const STEP_MS = 10_000;
const MIN_STEP_BYTES = 64 * 1024;
const MAX_STEP_BYTES = 1024 * 1024;
/** A device that is nearly empty when it starts would else wait for most of a day before it is asked how large it is. */
const MAX_WAIT_MS = 600_000;
const IDLE_MS = 60_000;
const RETRY_MS = 5_000;
/** How often a device is looked for that is to be read now and is away. */
const AWAITED_MS = 500;

export interface AuditReport extends AuditFacts {
  /** Share of the device that this cycle has read. */
  readonly share: number;
  /** What it reads now: asked for, or as the cycle needs. */
  readonly rate: number;
  /** A whole cycle was asked for and is under way. */
  readonly urgent: boolean;
}

export class Auditor implements Job {
  readonly name = 'object.auditor';
  readonly #env: Env;
  readonly #devices: Devices;
  readonly #cycleMs: number;
  readonly #minRate: number;
  /** Monotonic time of the next step, by device. */
  readonly #due = new Map<number, number>();
  /** Devices that are to be read as fast as they can. */
  readonly #urgent = new Set<number>();
  /** Of those, the ones whose new cycle has not begun: a step of the old one may be under way. */
  readonly #restarts = new Set<number>();
  /** Devices that were here at some time: one that is being opened anew is meant too. */
  readonly #known = new Set<number>();
  /** Ends the present wait of the job. */
  wake: () => void = () => undefined;
  /** Told of devices that somebody wants read now: what else is audited goes round with them. */
  onRun: (devices: readonly number[]) => void = () => undefined;
  #bytes = 0;

  constructor(
    env: Env,
    devices: Devices,
    { cycleMs = DEFAULT_CYCLE_MS, minBytesPerSecond = DEFAULT_MIN_RATE }: AuditorOptions = {},
  ) {
    this.#env = env;
    this.#devices = devices;
    this.#cycleMs = cycleMs;
    this.#minRate = minBytesPerSecond;
  }

  facts(): Record<string, number> {
    const reports = [...this.#devices().values()].map((device) => this.report(device));
    return {
      bytes: this.#bytes,
      found: reports.reduce((sum, { found }) => sum + found, 0),
      share: Math.min(1, ...reports.map(({ share }) => share)),
    };
  }

  report(device: Device): AuditReport {
    const facts = device.audit.facts();
    const share = Math.min(1, facts.readBytes / Math.max(1, facts.totalBytes));
    const urgent = this.#urgent.has(device.id);
    return { ...facts, share, rate: this.#rate(facts), urgent };
  }

  /** A whole cycle of these devices (undefined: all), from its beginning, as fast as it can. */
  run(device: number | undefined): void {
    for (const one of this.#devices().keys()) this.#known.add(one);
    const chosen = [...this.#known].filter((id) => device === undefined || id === device);
    for (const id of chosen) {
      this.#urgent.add(id);
      this.#restarts.add(id);
      this.#due.delete(id);
    }
    this.wake();
    this.onRun(chosen);
  }

  /** Bytes a second; undefined: as the cycle needs. */
  async setRate(device: number | undefined, bytesPerSecond: number | undefined): Promise<void> {
    for (const one of this.#chosen(device)) {
      await one.audit.setRate(bytesPerSecond);
      this.#due.delete(one.id);
    }
    this.wake();
  }

  async step(signal: AbortSignal): Promise<StepResult> {
    for (const device of this.#devices().values()) {
      if (signal.aborted) break;
      this.#known.add(device.id);
      if (this.#now() < (this.#due.get(device.id) ?? 0)) continue;
      const waitMs = await this.#step(device);
      this.#due.set(device.id, this.#now() + waitMs);
    }
    return this.#isPressed() ? { kind: 'more' } : { kind: 'idle', waitMs: this.#waitMs() };
  }

  /** One that is away, or out of service, can't be hurried: asked about without a wait it would keep a core busy. */
  #isPressed(): boolean {
    const now = this.#now();
    const here = [...this.#devices().keys()];
    return here.some((id) => this.#urgent.has(id) && (this.#due.get(id) ?? now) <= now);
  }

  /** How long to wait before the device's next step. */
  async #step(device: Device): Promise<number> {
    if (!isServing(device.status)) return RETRY_MS;
    const urgent = this.#urgent.has(device.id);
    const rate = this.#rate(device.audit.facts());
    const wanted = urgent ? MAX_STEP_BYTES : (rate * STEP_MS) / 1000;
    try {
      if (this.#restarts.delete(device.id)) await device.audit.restart();
      const limit = Math.max(MIN_STEP_BYTES, Math.min(MAX_STEP_BYTES, wanted));
      const { bytes, cycleDone } = await device.audit.step(Math.ceil(limit));
      this.#bytes += bytes;
      if (cycleDone) this.#urgent.delete(device.id);
      if (cycleDone) return this.#restMs();
      const waitMs = (Math.max(bytes, MIN_STEP_BYTES / 4) / rate) * 1000;
      return urgent ? 0 : Math.min(MAX_WAIT_MS, waitMs);
    } catch (error) {
      // The device says by its status what is wrong; the others go on.
      const facts = { device: device.id, error: codeOf(error) };
      this.#env.log.warn('object.audit-failed', facts);
      return urgent ? RETRY_MS / 10 : RETRY_MS;
    }
  }

  #rate({ totalBytes, bytesPerSecond }: AuditFacts): number {
    if (bytesPerSecond !== undefined) return Math.max(1, bytesPerSecond);
    const within = (ms: number): number => (totalBytes * 1000) / ms;
    const small = Math.min(this.#minRate, within(this.#restMs()));
    return Math.max(1, small, within(this.#cycleMs));
  }

  #restMs(): number {
    return Math.min(DAY_MS, this.#cycleMs / MAX_CYCLES);
  }

  #waitMs(): number {
    const now = this.#now();
    const here = [...this.#devices().keys()];
    const waits = here.map((id) => (this.#due.get(id) ?? now) - now);
    // One that is being opened anew is read as soon as it is there: who asked waits for it.
    const isAwaited = [...this.#urgent].some((id) => !here.includes(id));
    return Math.max(1, Math.min(isAwaited ? AWAITED_MS : IDLE_MS, ...waits));
  }

  #chosen(device: number | undefined): Device[] {
    return [...this.#devices().values()].filter(({ id }) => device === undefined || id === device);
  }

  #now(): number {
    return this.#env.clock.monotonicMs();
  }
}
