/** The real effects of one process, put together. */
import type { Clock, Disk, Env, Log, Random } from '../env.ts';
import { Checkpointer } from './checkpointer.ts';
import { NodeClock } from './clock.ts';
import { NodeDisk } from './disk.ts';
import { createNodeLog, type LogLevel, type LogOptions } from './log.ts';
import { NodeNetwork } from './network.ts';
import { NodeRandom } from './random.ts';

export type { LogLevel };

export interface NodeEnvOptions {
  readonly logLevel: LogLevel;
  readonly logDestination?: LogOptions['destination'];
  /** In every log line: node, role, worker. */
  readonly facts?: Record<string, unknown>;
}

export interface NodeEnv extends Env {
  readonly network: NodeNetwork;
  /** Ends the checkpoint thread. A process that just exits need not call it. */
  close(): Promise<void>;
}

export function createNodeEnv(options: NodeEnvOptions): NodeEnv {
  const checkpointer = new Checkpointer();
  const clock: Clock = new NodeClock();
  const disk: Disk = new NodeDisk(checkpointer);
  const random: Random = new NodeRandom();
  const log: Log = createNodeLog({
    level: options.logLevel,
    destination: options.logDestination,
    facts: options.facts,
  });
  const network = new NodeNetwork(clock);
  return { clock, random, disk, network, log, close: () => checkpointer.close() };
}
