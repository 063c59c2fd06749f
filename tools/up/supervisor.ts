/**
 * The supervisor of `anello up`: starts the node processes of one machine's cluster, keeps
 * nodes.json current, starts again what dies, stops all on Ctrl-C.
 */
import { renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS, nodeEnvironment } from '../node-flags.ts';
import type { NodePlan } from './cluster-plan.ts';
import { type HeldPort, holdPort } from './held-port.ts';
import { INHERITED_FD, ManagedProcess } from './managed-process.ts';

const NODE_MAIN = fileURLToPath(new URL('../../src/main/node.ts', import.meta.url));
const HOST = '127.0.0.1';
const STOP_GRACE_MS = 10_000;

export class Supervisor {
  readonly #folder: string;
  readonly #plans: readonly NodePlan[];
  readonly #processes: readonly ManagedProcess[];
  /** Of the proxies: a restart refuses no client. */
  readonly #ports: readonly (HeldPort | undefined)[];

  constructor(folder: string, plans: readonly NodePlan[], report: (line: string) => void) {
    this.#folder = folder;
    this.#plans = plans;
    this.#ports = plans.map(({ ports }) =>
      ports.proxy === undefined ? undefined : holdPort(HOST, ports.proxy),
    );
    this.#processes = plans.map(
      (plan, n) =>
        new ManagedProcess({
          name: `node ${plan.name}`,
          command: process.execPath,
          args: [...NODE_FLAGS, NODE_MAIN, '--config', plan.configFile],
          logFile: path.join(plan.folder, 'node.log'),
          ...inheriting(this.#ports[n]),
          report,
          onChange: () => this.#writeNodes(),
        }),
    );
  }

  /** All nodes serve, or the first failure (then everything is stopped again). */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#processes.map((node) => node.start()));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((node) => node.stop(STOP_GRACE_MS)));
    for (const port of this.#ports) port?.close();
  }

  /** The file that scripts read; written whole, so that no reader sees half of it. */
  #writeNodes(): void {
    const nodes = this.#plans.map((plan, n) => ({
      name: plan.name,
      site: plan.site,
      roles: plan.roles,
      pid: this.#processes?.[n]?.pid ?? null,
      ports: plan.ports,
      devices: plan.devices.map((device) => device.path),
    }));
    const file = path.join(this.#folder, 'nodes.json');
    writeFileSync(`${file}.tmp`, `${JSON.stringify(nodes, null, 2)}\n`);
    renameSync(`${file}.tmp`, file);
  }
}

function inheriting(port: HeldPort | undefined) {
  if (port === undefined) return { env: nodeEnvironment() };
  return { inherit: [port.fd], env: nodeEnvironment({ ANELLO_PROXY_FD: String(INHERITED_FD) }) };
}
