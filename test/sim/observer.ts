/**
 * Looks at every replica when the faults have stopped (promise 10): a machine of its own that asks the
 * storage nodes over the wire, so it sees what other processes would see.
 */
import {
  bodyLength,
  bodyVersion,
  type DataPart,
  dataTimestamp,
  isDead,
  isFreed,
} from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { hashPath } from '#base/hash.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import {
  ACCOUNT_RING,
  accountPath,
  CONTAINER_RING,
  type ContainerName,
  containerPath,
} from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { DevicesReply, StatReply } from '#object/calls.ts';
import { Endpoint } from '#wire/endpoint.ts';
import type { SimCluster } from './cluster.ts';
import { differByReclaim, replicaRows } from './replica-rows.ts';
import { ACCOUNT } from './session.ts';
import { CLUSTER_ID } from './shape.ts';
import type { Workload } from './workload.ts';

const DEADLINE_MS = 10_000;
const OBSERVER_ID = 60_000;

interface KnownObject {
  readonly policy: number;
  readonly mode: string;
  readonly path: string;
  /** A write of it was acknowledged. */
  readonly isKnown: boolean;
  /** The write that this content type names. */
  readonly writeAt: (
    contentType: string,
  ) => { readonly id: number | string; readonly outcome: string } | undefined;
  /** The post of metadata at this timestamp. */
  readonly postAt?: (timestamp: Timestamp) => { readonly outcome: string } | undefined;
}

/** What is not of the usual clients. */
export interface Further {
  readonly policy: number;
  readonly containers: readonly ContainerName[];
  readonly objects: readonly Omit<KnownObject, 'policy' | 'mode'>[];
}

export class Observer {
  readonly #cluster: SimCluster;
  readonly #wire: Endpoint;

  get #hasReplicator(): boolean {
    const jobs = this.#cluster.nodes.flatMap((node) => node.process?.storage.jobs() ?? []);
    return jobs.some((job) => /replicat|handover/.test(job.name));
  }

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
    const { env } = cluster.world.machine('observer');
    const wallMicros = (): number => env.clock.wallMicros();
    const options = { workerId: OBSERVER_ID, wallMicros, bound: 0, reserve: () => undefined };
    this.#wire = new Endpoint({
      env,
      clock: new HybridClock(options),
      cluster: { clusterId: CLUSTER_ID, sharedKey: Buffer.alloc(32, 7) },
      self: { node: 'observer', site: cluster.shape.sites[0]! },
      peers: { lookup: (peer) => cluster.locate(peer) },
    });
  }

  /**
   * What is not as it should be, in words; empty: everything has converged. Keys whose newest write was
   * never acknowledged, and of whose body no device has a copy, go to `orphans` instead, where nothing that was
   * is hidden, the box is not strict, or a witness knows states without bodies (README, "Known").
   */
  async differences(workload: Workload, orphans: Set<string>): Promise<string[]> {
    const found: string[] = [];
    orphans.clear();
    for (const node of this.#cluster.nodes) found.push(...(await this.#devices(node.name)));
    if (found.length > 0) return found;
    try {
      return await this.#contents(workload, orphans);
    } catch (error) {
      return [`a replica can not be asked: ${error}`];
    }
  }

  async #contents(workload: Workload, orphans: Set<string>): Promise<string[]> {
    const found: string[] = [];
    for (const box of workload.boxes) {
      for (const { key: path, floor } of box.keys) {
        const { policy, mode } = box;
        const writeAt = (type: string) => workload.writeAt(path, type);
        const postAt = (timestamp: Timestamp) => workload.postAt(path, timestamp);
        const isKnown = floor.dataWrite !== undefined;
        const known = { policy, mode, path, isKnown, writeAt, postAt };
        found.push(...(await this.#object(known, orphans)));
      }
    }
    for (const { name } of workload.boxes) {
      const path = containerPath({ account: ACCOUNT, container: name });
      found.push(...(await this.#rows(CONTAINER_RING, 'container', path)));
    }
    found.push(...(await this.#rows(ACCOUNT_RING, 'account', accountPath(ACCOUNT))));
    if (found.length === 0) {
      // Stand-ins keep the older version of an orphan: its primaries never have all that they have.
      for (const { keys, policy } of workload.boxes)
        for (const { key } of keys)
          if (!orphans.has(key)) found.push(...(await this.#handoffs(policy, key)));
      found.push(...(await this.#formerRows(workload)));
    }
    return found;
  }

  /** The same of something else in strict containers; in words. */
  async differencesOf(
    { policy, containers, objects }: Further,
    orphans: Set<string>,
  ): Promise<string[]> {
    const found: string[] = [];
    orphans.clear();
    try {
      for (const object of objects)
        found.push(...(await this.#object({ ...object, policy, mode: 'strict' }, orphans)));
      for (const name of containers)
        found.push(...(await this.#rows(CONTAINER_RING, 'container', containerPath(name))));
      if (found.length > 0) return found;
      for (const { path } of objects)
        if (!orphans.has(path)) found.push(...(await this.#handoffs(policy, path)));
    } catch (error) {
      return [`a replica can not be asked: ${error}`];
    }
    return found;
  }

  /** Nobody but the primaries knows anything of it any more. */
  async #handoffs(policy: number, path: string): Promise<string[]> {
    const { hash, ringVersion, primaries } = this.#place(policy, path);
    const isPrimary = new Set(primaries.map(({ id }) => id));
    const found: string[] = [];
    for (const { name, shape } of this.#cluster.nodes) {
      for (const device of shape.devices) {
        if (isPrimary.has(device)) continue;
        const args = { device, policy, hash, ringVersion, brief: true };
        const { version } = (await this.#call(name, 'object.stat', args)) as StatReply;
        if (version !== '') found.push(`${path} is still on device ${device}: ${version}`);
      }
    }
    return found;
  }

  /** Nor of the rows of containers and of the account. */
  async #formerRows(workload: Workload): Promise<string[]> {
    const containers = workload.boxes.map(({ name }) => {
      return [CONTAINER_RING, containerPath({ account: ACCOUNT, container: name })] as const;
    });
    const found: string[] = [];
    for (const [ring, path] of [...containers, [ACCOUNT_RING, accountPath(ACCOUNT)] as const]) {
      const { hash, primaries } = this.#place(ring, path);
      const isPrimary = new Set(primaries.map(({ id }) => id));
      for (const { process, shape } of this.#cluster.nodes) {
        for (const device of shape.devices) {
          const total = process?.storage.open().get(device)?.rows.facts(ring, hash)?.total ?? 0;
          if (!isPrimary.has(device) && total > 0)
            found.push(`${total} rows of ${path} are still on device ${device}`);
        }
      }
    }
    return found;
  }

  async #devices(node: string): Promise<string[]> {
    const found: string[] = [];
    let reply: DevicesReply;
    try {
      reply = (await this.#call(node, 'device.status', {})) as DevicesReply;
    } catch (error) {
      return [`${node} does not answer: ${error}`];
    }
    const expected = this.#cluster.nodes.find(({ name }) => name === node)!.shape.devices;
    if (reply.devices.length !== expected.length) found.push(`${node} serves not all its devices`);
    for (const { id, status, complete, facts } of reply.devices) {
      if (status !== 'ok') found.push(`device ${id} is ${status}`);
      for (const [ring, share] of Object.entries(complete)) {
        if (share < 1) found.push(`device ${id} is complete for ${share} of ring ${ring}`);
      }
      if (facts.unlisted > 0) found.push(`device ${id} has ${facts.unlisted} unlisted entries`);
    }
    return found;
  }

  /** All primaries know one state, and have its body where they should. */
  async #object(
    { policy, mode, path, isKnown, writeAt, postAt }: KnownObject,
    orphans: Set<string>,
  ): Promise<string[]> {
    const { hash, ringVersion, primaries, copies } = this.#place(policy, path);
    const replies: { device: number; reply: StatReply }[] = [];
    for (const { id, node } of primaries) {
      const args = { device: id, policy, hash, ringVersion, brief: false };
      replies.push({
        device: id,
        reply: (await this.#call(node, 'object.stat', args)) as StatReply,
      });
    }
    const found: string[] = [];
    const versions = new Set(replies.map(({ reply }) => reply.version));
    const states = replies.flatMap(({ reply }) => (reply.state === null ? [] : [reply.state]));
    if (versions.size > 1 && !this.#isReclaimedBySome(versions, states)) {
      const all = replies.map(({ device, reply }) => `${device}: ${reply.version || 'nothing'}`);
      found.push(`${path} differs: ${all.join(', ')}`);
    }
    const known = states.map((bytes) => decodeState(Buffer.from(bytes)));
    const freed = new Set(known.filter(isFreed).map(dataTimestamp));
    const mayBeOrphan = mode !== 'strict' || copies < primaries.length || !isKnown;
    for (const [i, { device, reply }] of replies.entries()) {
      if (reply.state === null || (reply.hasBody && i < copies)) continue;
      const state = decodeState(Buffer.from(reply.state));
      const { data } = state;
      if (data === undefined || bodyLength(state) === 0) continue;
      const write = writeAt(data.contentType);
      // What nobody was told of: the version, or the post that revives what the others have expired.
      const { system } = state.groups;
      const revival = system && freed.has(data.timestamp) && postAt?.(system.timestamp);
      const isUndecided = [write, revival || undefined].some((one) => one?.outcome === 'undecided');
      if (mayBeOrphan && isUndecided && (await this.#isLost(policy, path, data))) orphans.add(path);
      // Only a replicator brings a body home from a handoff; that it can be read is checked in the end.
      if (i >= copies || !this.#hasReplicator) continue;
      found.push(`${path} has no body on device ${device} (put ${write?.id}, ${write?.outcome})`);
    }
    return orphans.has(path) ? [] : found;
  }

  /** It is the newest that any device knows, stand-ins too, and none has its body. */
  async #isLost(policy: number, path: string, data: DataPart): Promise<boolean> {
    const { hash, ringVersion } = this.#place(policy, path);
    for (const { name, shape } of this.#cluster.nodes) {
      for (const device of shape.devices) {
        const args = { device, policy, hash, ringVersion, brief: false };
        const { state, hasBody } = (await this.#call(name, 'object.stat', args)) as StatReply;
        const other = state === null ? undefined : decodeState(Buffer.from(state)).data;
        if (other === undefined) continue;
        if (other.timestamp > data.timestamp) return false;
        if (hasBody && bodyVersion(other) === bodyVersion(data)) return false;
      }
    }
    return true;
  }

  /**
   * A deletion that one replica learnt of late is young there for another reclaim age (days), while those
   * that had it for long have forgotten it; they don't take it back.
   */
  #isReclaimedBySome(versions: ReadonlySet<string>, states: readonly Uint8Array[]): boolean {
    const isOne = versions.size === 2 && versions.has('');
    if (!this.#cluster.mayReclaim || !isOne) return false;
    return states.every((bytes) => isDead(decodeState(Buffer.from(bytes))));
  }

  async #rows(ringNumber: number, prefix: string, path: string): Promise<string[]> {
    const { hash, ringVersion, primaries } = this.#place(ringNumber, path);
    const digests = new Map<string, number[]>();
    const to = Buffer.from(hash);
    to[15] = to[15]! + 1;
    for (const { id, node } of primaries) {
      const args = { device: id, ringVersion, from: hash, to: to[15] === 0 ? null : to, limit: 1 };
      const reply = (await this.#call(node, `${prefix}.containers`, args)) as {
        containers: { digest: Uint8Array }[];
      };
      const [own] = reply.containers;
      const digest = own === undefined ? 'nothing' : Buffer.from(own.digest).toString('hex');
      digests.set(digest, [...(digests.get(digest) ?? []), id]);
    }
    if (digests.size <= 1) return [];
    const replicas = this.#cluster.mayReclaim
      ? await Promise.all(
          primaries.map(({ id, node }) => {
            const address = { device: id, ringVersion, hash, path };
            return replicaRows((args) => this.#call(node, `${prefix}.pull`, args), address);
          }),
        )
      : [];
    if (replicas.length > 0 && differByReclaim(ringNumber, replicas)) return [];
    const all = [...digests].map(([digest, ids]) => `${ids.join(' and ')}: ${digest}`);
    return [`rows of ${path} differ: ${all.join(', ')}`];
  }

  #place(ringNumber: number, path: string) {
    const { hashPrefix, hashSuffix, rings } = this.#cluster.view;
    const hash = hashPath(hashPrefix, path, hashSuffix);
    const ring = rings.get(ringNumber)!;
    const { primaries } = ring.placement(ring.partitionOf(hash));
    return { hash, ringVersion: ring.version, primaries, copies: ring.copies };
  }

  async #call(node: string, method: string, args: unknown): Promise<unknown> {
    const options = { txn: 'observer', deadlineMs: DEADLINE_MS };
    return (await this.#wire.call(node, method, args, options)).result;
  }
}
