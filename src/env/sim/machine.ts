/**
 * One machine: a disk, clocks and a network name that outlive the process, and the process itself in
 * incarnations. What belongs to a dead incarnation never happens any more: its timers don't fire, its
 * operations don't settle, its sockets are silent.
 */
import type { Env } from '../env.ts';
import { SimClock } from './clock.ts';
import { SimDisk } from './disk.ts';
import { Host, type Incarnation, type Unsynced } from './host.ts';
import { SimLog } from './log.ts';
import { SimNetwork } from './network.ts';
import { Volume, type VolumeOptions } from './volume.ts';
import type { SimWorld } from './world.ts';

export interface MachineOptions {
  /** Wall clock minus true time. */
  readonly skewMs?: number;
  readonly disk?: VolumeOptions;
}

/** Sums of times are not exact. */
const MIN_WAIT_MS = 1e-6;

export class Machine {
  readonly name: string;
  readonly world: SimWorld;
  /** The disk behind the process: contents and faults. */
  readonly disk: Volume;
  /** Wall clock minus true time; may be set at any moment. */
  skewMs: number;
  /** False after a power failure until the restart: then nobody answers, not even with a refusal. */
  hasPower = true;
  #stalledUntilMs = 0;
  #incarnation: Incarnation = { number: 1, alive: true };
  #env: Env;

  constructor(world: SimWorld, name: string, options: MachineOptions = {}) {
    this.world = world;
    this.name = name;
    this.skewMs = options.skewMs ?? 0;
    this.disk = new Volume(world, name, options.disk);
    this.#env = this.#boot();
  }

  get env(): Env {
    return this.#env;
  }

  get isUp(): boolean {
    return this.#incarnation.alive;
  }

  get incarnation(): Incarnation {
    return this.#incarnation;
  }

  /** The wall clock is set: forwards, or backwards. */
  jumpWallClock(ms: number): void {
    this.skewMs += ms;
  }

  /**
   * The process stands still for so long (a garbage collection, a suspended machine) and then goes on
   * as if nothing had been: timers are late, what arrived meanwhile comes at once.
   */
  stall(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.world.nowMs + ms);
  }

  /** Runs a task now, or when the stall is over; what waits keeps its order. */
  whenAwake(label: string, task: () => void): void {
    const waitMs = this.#stalledUntilMs - this.world.nowMs;
    if (waitMs < MIN_WAIT_MS) task();
    else this.world.schedule(waitMs, label, () => this.whenAwake(label, task));
  }

  /** Power failure: what was not synced is lost, or torn. Peers hear nothing. */
  crash(unsynced: Unsynced = 'random'): void {
    if (!this.hasPower) return;
    this.#end();
    this.hasPower = false;
    this.disk.crash(unsynced);
  }

  /** kill -9: the system goes on, so written bytes stay and peers see their connections break. */
  kill(): void {
    if (!this.isUp) return;
    this.#end();
    this.disk.endProcess();
    this.world.network.resetAll(this);
  }

  /** A new process on what is on disk; kills the old one where it still runs. */
  restart(): Env {
    this.kill();
    this.hasPower = true;
    this.#incarnation = { number: this.#incarnation.number + 1, alive: true };
    this.#env = this.#boot();
    this.world.network.retransmit();
    return this.#env;
  }

  #end(): void {
    this.#incarnation.alive = false;
    this.#stalledUntilMs = 0;
    this.world.network.stopListening(this);
  }

  #boot(): Env {
    const host = new Host(this, this.#incarnation);
    const { world, name } = this;
    return {
      clock: new SimClock(host),
      random: world.random(`${name} process ${this.#incarnation.number}`),
      disk: new SimDisk(host, this.disk),
      network: new SimNetwork(host, world.network),
      log: new SimLog(world.log, name, () => world.nowMs),
    };
  }
}
