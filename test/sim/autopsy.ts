/**
 * What each device knows of a key after a broken promise: its entry, and the row and state of its
 * container at every replica. Asked of each process by itself, so that cuts and dead peers don't matter.
 */
import { decodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import { ACCOUNT_RING, CONTAINER_RING } from '#base/names.ts';
import { versionKey } from '#object/version.ts';
import { type ReportedSlot, slotsOf } from '#rows/row-state.ts';
import type { SimCluster, SimNode } from './cluster.ts';
import { replicaRows } from './replica-rows.ts';

const DEADLINE_MS = 1_000;

interface Subject {
  readonly path: string;
  readonly policy: number;
}

export class Autopsy {
  readonly #cluster: SimCluster;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** A few lines for a failure's report. */
  async of({ path, policy }: Subject): Promise<string[]> {
    const slash = path.lastIndexOf('/');
    const [container, name] = [path.slice(0, slash), path.slice(slash + 1)];
    return [
      ...(await this.#everyDevice(path, policy, (node, args) => this.#entry(node, args))),
      ...(await this.#everyDevice(container, CONTAINER_RING, (node, args) =>
        this.#row(node, { ...args, path: container, name }),
      )),
    ];
  }

  /** All rows of a container, as each device has them. */
  rowsOf(container: string): Promise<string[]> {
    return this.#everyDevice(container, CONTAINER_RING, async (node, args) => {
      const states = await this.#rows(node, { ...args, path: container });
      return states.length === 0 ? 'nothing' : states.join(', ');
    });
  }

  /** What each replica of the account shows of a container: one slot for each that has told of it. */
  slotsOf(account: string, container: string): Promise<string[]> {
    return this.#everyDevice(account, ACCOUNT_RING, async (node, args) => {
      const ask = (args: object): Promise<unknown> => this.#call(node, 'account.pull', args);
      const rows = await replicaRows(ask, { ...args, path: account });
      const state = rows.get(container);
      return state === undefined ? 'nothing' : slotsOf(state).map(slotText).join(', ');
    });
  }

  async #everyDevice(
    path: string,
    policy: number,
    ask: (node: SimNode, args: Address) => Promise<string>,
  ): Promise<string[]> {
    const { hashPrefix, hashSuffix, rings } = this.#cluster.view;
    const hash = hashPath(hashPrefix, path, hashSuffix);
    const ring = rings.get(policy)!;
    const primaries = ring.placement(ring.partitionOf(hash)).primaries.map(({ id }) => id);
    const lines = [`${path}: primaries ${primaries.join(' ')}`];
    for (const node of this.#cluster.nodes) {
      for (const device of node.shape.devices) {
        const args = { device, policy, hash, ringVersion: ring.version };
        const answer = await ask(node, args).catch((error: unknown) => `${error}`);
        const role = primaries.includes(device) ? 'primary' : 'other';
        lines.push(`  ${node.name} device ${device} (${role}): ${answer}`);
      }
    }
    return lines;
  }

  async #entry(node: SimNode, address: Address): Promise<string> {
    const reply = await this.#call(node, 'object.stat', { ...address, brief: false });
    const { state, complete, hasBody } = reply as Reply;
    const known = state === null ? 'nothing' : versionKey(decodeState(Buffer.from(state)));
    return `${known}, ${complete ? 'complete' : 'incomplete'}, ${hasBody ? 'with' : 'without'} body`;
  }

  async #row(node: SimNode, address: Address & { path: string; name: string }): Promise<string> {
    const { name, ...args } = address;
    return (await this.#rows(node, args, [name, ''])).join(', ');
  }

  async #rows(
    node: SimNode,
    address: Address & { path: string },
    names?: readonly string[],
  ): Promise<string[]> {
    const rows = await replicaRows((args) => this.#call(node, 'container.pull', args), address);
    return [...rows]
      .filter(([name]) => names?.includes(name) ?? true)
      .map(([name, state]) => `"${name}" ${versionKey(state)}`);
  }

  async #call(node: SimNode, method: string, args: unknown): Promise<unknown> {
    if (node.process === undefined) return Promise.reject(new Error('is down'));
    const options = { txn: 'autopsy', deadlineMs: DEADLINE_MS };
    return (await node.process.wire.call(node.name, method, args, options)).result;
  }
}

function slotText({ device, objects, bytes, newest, reported }: ReportedSlot): string {
  return `device ${device}: ${objects} objects, ${bytes} bytes, newest ${newest}, told ${reported}`;
}

interface Address {
  readonly device: number;
  readonly policy: number;
  readonly hash: Buffer;
  readonly ringVersion: number;
}

interface Reply {
  readonly state: Buffer | null;
  readonly complete: boolean;
  readonly hasBody: boolean;
}
