/**
 * Where everything of one `anello up` listens: BASE .. BASE+49, so that two clusters side by side are
 * two bases. Proxies BASE.., wire +10.., admin +20.., authority +30, identity +40.., identity's TLS +33..;
 * members of etcd +6.. for clients and +46.. among themselves.
 */
import { createServer } from 'node:net';
import { OperatingError } from '#base/errors.ts';

export const PORT_SPAN = 50;
const ETCD_CLIENT = 6;
const ETCD_PEER = 46;
const WIRE = 10;
const ADMIN = 20;
const AUTHORITY = 30;
const IDENTITY = 40;
const IDENTITY_TLS = 33;
/** Admin ports of proxy workers come from what the first of each kind leave free. */
const SPARE = [
  ...range(ADMIN + 6, 30),
  ...range(WIRE + 6, 20),
  ...range(AUTHORITY + 1, IDENTITY_TLS),
  ...range(ETCD_CLIENT + 3, WIRE),
  ...range(IDENTITY_TLS + 6, IDENTITY),
  ...range(ETCD_PEER + 3, 50),
];
const MAX_SITES = 6;

export interface NodePorts {
  readonly wire: number;
  readonly admin: number;
  readonly proxy?: number;
  readonly identity?: number;
  /** Asks for client certificates. */
  readonly identityTls?: number;
  readonly authority?: number;
  readonly workerAdmin: readonly number[];
}

export class PortPlan {
  readonly #base: number;
  #nodes = 0;
  #sites = 0;
  #spare = 0;

  constructor(base: number) {
    this.#base = base;
  }

  next(roles: {
    readonly proxy: boolean;
    readonly authority: boolean;
    readonly workers: number;
  }): NodePorts {
    const n = this.#nodes++;
    if (n >= MAX_SITES || this.#sites >= MAX_SITES) {
      throw new OperatingError(
        'wrong-use',
        `at most ${MAX_SITES} nodes fit into the ports of one cluster`,
      );
    }
    const site = roles.proxy ? this.#sites++ : undefined;
    const workerAdmin = Array.from({ length: roles.proxy ? roles.workers : 0 }, () =>
      this.#spareport(),
    );
    return {
      wire: this.#base + WIRE + n,
      admin: this.#base + ADMIN + n,
      ...(site !== undefined && {
        proxy: this.#base + site,
        identity: this.#base + IDENTITY + site,
        identityTls: this.#base + IDENTITY_TLS + site,
      }),
      ...(roles.authority && { authority: this.#base + AUTHORITY }),
      workerAdmin,
    };
  }

  #spareport(): number {
    const offset = SPARE[this.#spare++];
    if (offset === undefined)
      throw new OperatingError('wrong-use', 'too many workers for the ports of one cluster');
    return this.#base + offset;
  }
}

/** The three members of `--state etcd`. */
export function etcdPorts(base: number, member: number): { client: number; peer: number } {
  return { client: base + ETCD_CLIENT + member, peer: base + ETCD_PEER + member };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** @throws OperatingError `port-taken` for the first port that something else listens on */
export async function checkFree(host: string, ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    await new Promise<void>((resolve, reject) => {
      const probe = createServer();
      probe.once('error', (cause) =>
        reject(
          new OperatingError(
            'port-taken',
            `port ${port} is taken: choose another --port`,
            { port },
            { cause },
          ),
        ),
      );
      probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()));
    });
  }
}

export function portsOf(ports: NodePorts): number[] {
  const { workerAdmin, ...single } = ports;
  return [...Object.values(single), ...workerAdmin];
}
