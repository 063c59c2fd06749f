/** For tests of the wire: endpoints on the machines of a simulated world. */
import { HybridClock } from '#base/hybrid-clock.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { BodyReader, BodySource, PeerDirectory } from '../contract.ts';
import { Endpoint, type EndpointOptions } from '../endpoint.ts';

const PORT = 7400;
/** A prime length, so that a body shifted by any round number is noticed. */
const PATTERN = Buffer.from(Array.from({ length: 65_521 }, (_, i) => (i * 2_654_435_761) >>> 24));
export const TEST_CLUSTER = { clusterId: 'test', sharedKey: Buffer.alloc(32, 7) };

export type NodeOptions = Partial<Pick<EndpointOptions, 'limits' | 'cluster' | 'versions'>>;

export class SimCluster {
  readonly world: SimWorld;
  readonly #sites = new Map<string, string>();
  readonly #endpoints = new Map<string, Endpoint>();
  #nextWorker = 1;

  constructor(seed = 1) {
    this.world = new SimWorld({ seed });
  }

  readonly peers: PeerDirectory = {
    lookup: (node) => {
      const site = this.#sites.get(node);
      return site === undefined ? undefined : { address: { host: node, port: PORT }, site };
    },
  };

  /** Starts a process on its machine and listens. */
  async start(node: string, site = 'here', options: NodeOptions = {}): Promise<Endpoint> {
    const machine = this.world.machine(node);
    const env = machine.isUp && !this.#endpoints.has(node) ? machine.env : machine.restart();
    const clock = new HybridClock({
      workerId: this.#nextWorker++,
      wallMicros: () => env.clock.wallMicros(),
      bound: 0,
      reserve: () => undefined,
    });
    this.#sites.set(node, site);
    const endpoint = new Endpoint({
      env,
      clock,
      cluster: TEST_CLUSTER,
      self: { node, site },
      peers: this.peers,
      ...options,
    });
    this.#endpoints.set(node, endpoint);
    await this.world.run(endpoint.listen({ host: '0.0.0.0', port: PORT }));
    return endpoint;
  }

  /** A node that the directory knows, but that does not run. */
  announce(node: string, site = 'here'): void {
    this.world.machine(node);
    this.#sites.set(node, site);
  }
}

export async function readAll(body: BodyReader | undefined): Promise<Buffer> {
  const pieces: Buffer[] = [];
  if (body !== undefined) for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** A body of `length` bytes that can be recognised, in chunks. */
export async function* bodyOf(length: number, chunkBytes = 64 * 1024): BodySource {
  for (let at = 0; at < length; at += chunkBytes) {
    yield patternAt(at, Math.min(chunkBytes, length - at));
  }
}

export function patternAt(start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let filled = 0; filled < length; ) {
    const from = (start + filled) % PATTERN.length;
    filled += PATTERN.copy(bytes, filled, from, from + length - filled);
  }
  return bytes;
}
