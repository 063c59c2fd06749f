/** One life of a process on a simulated machine, and what its effects stand on. */
import type { Timer } from '../env.ts';
import type { Machine } from './machine.ts';

/**
 * What became of bytes that were written but not synced: `random`: each sector on its own, by seed
 * (torn writes); `lost`: none survived; `kept`: all did.
 */
export type Unsynced = 'random' | 'lost' | 'kept';

/** One life of the process. */
export interface Incarnation {
  readonly number: number;
  alive: boolean;
}

/** What the effects of one incarnation stand on. */
export class Host {
  readonly machine: Machine;
  readonly incarnation: Incarnation;

  constructor(machine: Machine, incarnation: Incarnation) {
    this.machine = machine;
    this.incarnation = incarnation;
  }

  get alive(): boolean {
    return this.incarnation.alive;
  }

  /** Like SimWorld.schedule, but dies with the process and waits while it stalls. */
  schedule(delayMs: number, label: string, task: () => void): Timer {
    const { machine, incarnation } = this;
    const full = `${machine.name} ${label}`;
    let wanted = true;
    const run = (): void => {
      if (incarnation.alive && wanted) task();
    };
    const event = machine.world.schedule(delayMs, full, () => machine.whenAwake(full, run));
    return {
      cancel: () => {
        wanted = false;
        event.task = undefined;
      },
    };
  }

  /** For what a dead process's objects are asked at once. */
  assertAlive(): void {
    if (!this.alive) throw machineDown(this.machine.name);
  }
}

export function machineDown(name: string): Error {
  return Object.assign(new Error(`${name}: this process has ended`), { code: 'EPROCESSENDED' });
}
