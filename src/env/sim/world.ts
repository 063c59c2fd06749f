/**
 * A whole cluster in one process on virtual time.
 *
 * The world runs one event, lets every promise that follows from it settle, then runs the next one. All
 * that can happen is an event: timers, disk operations that complete, bytes that arrive. So a run is a
 * function of its seed, and a failure that prints its seed can be replayed.
 *
 * Draining the promises: Node empties its microtask and tick queues before each immediate callback, so
 * "one event per immediate" is a barrier that can't be too short. They are queued in bursts, because a
 * turn of the event loop for each would cost more than the event.
 */
import type { SimEvent } from './event-queue.ts';
import { EventQueue } from './event-queue.ts';
import { Fabric } from './fabric.ts';
import { LogBook } from './log.ts';
import { Machine, type MachineOptions } from './machine.ts';
import { Prng } from './prng.ts';
import { Trace } from './trace.ts';

export interface WorldOptions {
  readonly seed: number | string;
  /** The wall clock at virtual time 0, ms since 1970. */
  readonly startWallMs?: number;
  /** A run that reaches this many events without its end is hung. */
  readonly maxEvents?: number;
}

/** 2026-01-01. */
const DEFAULT_START_WALL_MS = 1_767_225_600_000;
const DEFAULT_MAX_EVENTS = 20_000_000;
const BURST = 64;

export class SimWorld {
  readonly seed: number | string;
  readonly startWallMs: number;
  readonly log = new LogBook();
  readonly trace = new Trace();
  readonly network: Fabric;
  readonly #queue = new EventQueue();
  readonly #machines = new Map<string, Machine>();
  readonly #maxEvents: number;
  #nowMs = 0;
  #sequence = 0;
  #running = false;

  constructor(options: WorldOptions) {
    this.seed = options.seed;
    this.startWallMs = options.startWallMs ?? DEFAULT_START_WALL_MS;
    this.#maxEvents = options.maxEvents ?? DEFAULT_MAX_EVENTS;
    this.network = new Fabric(this);
  }

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get eventCount(): number {
    return this.trace.count;
  }

  /** Creates it the first time. */
  machine(name: string, options?: MachineOptions): Machine {
    const known = this.#machines.get(name);
    if (known !== undefined) return known;
    const machine = new Machine(this, name, options);
    this.#machines.set(name, machine);
    return machine;
  }

  find(name: string): Machine | undefined {
    return this.#machines.get(name);
  }

  machines(): Machine[] {
    return [...this.#machines.values()];
  }

  /** A stream of its own for each name. */
  random(stream: string): Prng {
    return new Prng(this.seed, stream);
  }

  /** Equal for two runs of one seed. */
  traceHash(): string {
    return this.trace.hash();
  }

  /** How many events are waiting, cancelled ones too. */
  get eventsAhead(): number {
    return this.#queue.length;
  }

  schedule(delayMs: number, label: string, task: () => void): SimEvent {
    const event = {
      timeMs: this.#nowMs + Math.max(0, delayMs),
      sequence: this.#sequence++,
      label,
      task,
    };
    // What waits for ever never happens, not even when nothing else is left.
    if (Number.isFinite(event.timeMs)) this.#queue.push(event);
    return event;
  }

  /**
   * Lets the world go on until a virtual time (a number, absolute), until a predicate is true (asked
   * after every event), or until a promise settles, whose result it returns.
   * @throws what the promise rejects with, or an event throws; SimStuckError when nothing is left to
   * happen, or too much happened, before the end
   */
  async run<Result = void>(until: Until<Result>): Promise<Result> {
    if (this.#running) throw new Error('the world is running already');
    this.#running = true;
    try {
      if (typeof until === 'number') {
        await this.#loop(() => false, until);
        return undefined as Result;
      }
      if (typeof until === 'function') {
        await this.#loop(until, Number.POSITIVE_INFINITY);
        return undefined as Result;
      }
      let settled = false;
      const done = (): void => {
        settled = true;
      };
      until.then(done, done);
      await this.#loop(() => settled, Number.POSITIVE_INFINITY);
      return await until;
    } finally {
      this.#running = false;
    }
  }

  runFor(ms: number): Promise<void> {
    return this.run(this.#nowMs + ms);
  }

  /** Frees what the garbage collector does not know to be large; nothing can run any more. */
  dispose(): void {
    for (const machine of this.#machines.values()) machine.disk.dispose();
  }

  /** For a failure's message: seed, hash, the last events and log lines. */
  describe(lines = 60): string {
    return [
      `seed ${this.seed}, virtual time ${this.#nowMs.toFixed(3)} ms, ${this.eventCount} events, trace ${this.traceHash()}`,
      'last events:',
      ...this.trace.tail(20).map((label) => `  ${label}`),
      'log:',
      this.log.format(lines),
    ].join('\n');
  }

  #loop(isDone: () => boolean, untilMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const last = this.eventCount + this.#maxEvents;
      const step = (index: number): void => {
        if (ended) return;
        try {
          ended = isDone() || !this.#runNext(untilMs, last);
        } catch (error) {
          ended = true;
          reject(error);
          return;
        }
        if (ended) resolve();
        else if (index === BURST - 1) burst();
      };
      const burst = (): void => {
        for (let i = 0; i < BURST; i++) setImmediate(step, i);
      };
      burst();
    });
  }

  /** False when nothing is to happen before `untilMs`. */
  #runNext(untilMs: number, lastEvent: number): boolean {
    let event = this.#queue.peek();
    while (event !== undefined && event.task === undefined) {
      this.#queue.pop();
      event = this.#queue.peek();
    }
    if (event === undefined || event.timeMs > untilMs) {
      if (untilMs === Number.POSITIVE_INFINITY) throw this.#stuck('nothing is left to happen');
      this.#nowMs = Math.max(this.#nowMs, untilMs);
      return false;
    }
    if (this.eventCount >= lastEvent) throw this.#stuck('too many events');
    this.#queue.pop();
    this.#nowMs = event.timeMs;
    const task = event.task!;
    event.task = undefined;
    this.trace.add(event.timeMs, event.label, event.sequence);
    task();
    return true;
  }

  #stuck(why: string): SimStuckError {
    return new SimStuckError(`${why}\n${this.describe()}`);
  }
}

export type Until<Result> = number | (() => boolean) | PromiseLike<Result>;

export class SimStuckError extends Error {
  override readonly name = 'SimStuckError';
}
