/** A cluster with all jobs at work that reclaims what is a minute old, not a week. */
import { hashPath } from '#base/hash.ts';
import {
  ACCOUNT_RING,
  accountPath,
  CONTAINER_RING,
  containerPath,
  objectPath,
  type PolicyIndex,
} from '#base/names.ts';
import type { PutRequest } from '#proxy/contract.ts';
import {
  CONTAINER,
  objectName,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from '#proxy/testing/test-cluster.ts';
import type { ContainerFacts } from '#rows/answers.ts';

export interface ReclaimOptions extends TestClusterOptions {
  readonly ageSeconds: number;
}

/** What has rows, by ring. */
export const PATHS = {
  [CONTAINER_RING]: containerPath(CONTAINER),
  [ACCOUNT_RING]: accountPath(CONTAINER.account),
} as Readonly<Record<PolicyIndex, string>>;

export class ReclaimCluster {
  readonly cluster: TestCluster;
  readonly #ageSeconds: number;

  constructor(cluster: TestCluster, ageSeconds: number) {
    this.cluster = cluster;
    this.#ageSeconds = ageSeconds;
    for (const node of this.nodes) this.#shorten(node);
  }

  static async start({ ageSeconds, ...options }: ReclaimOptions): Promise<ReclaimCluster> {
    const cluster = await TestCluster.start({ runJobs: true, ...options });
    const reclaim = new ReclaimCluster(cluster, ageSeconds);
    await cluster.createContainer();
    return reclaim;
  }

  get nodes(): readonly string[] {
    return [...this.cluster.nodes.keys()];
  }

  /** What of an object is at these nodes. */
  kinds(object: string, nodes = this.nodes): readonly (string | undefined)[] {
    return nodes.map((node) => this.cluster.entryAt(node, object)?.state.data?.kind);
  }

  /** Virtual time passes. */
  pass(milliseconds: number): Promise<void> {
    return this.cluster.world.runFor(milliseconds);
  }

  nowSeconds(): number {
    return Math.floor(this.cluster.node('lngs').env.clock.wallMicros() / 1e6);
  }

  put(object: string, overrides: Partial<PutRequest> = {}): Promise<unknown> {
    const { cluster } = this;
    const request = putRequest(Buffer.from(object), overrides);
    return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
  }

  remove(object: string): Promise<unknown> {
    const { cluster } = this;
    return cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName(object)));
  }

  /** A POST that takes the expiry away, as one replica alone has heard of it. */
  async retimeAt(node: string, object: string): Promise<void> {
    const system = { timestamp: this.cluster.node(node).clock.now(), values: {} };
    await this.cluster.run(
      this.cluster.device(node).write({
        key: this.cluster.keyOf(object),
        path: objectPath(objectName(object)),
        state: { groups: { system } },
        unlisted: true,
        intent: 'write',
      }),
    );
  }

  /** As this node's proxy reads it; undefined: 404. */
  async read(node: string, object: string): Promise<string | undefined> {
    const { proxy } = this.cluster.node(node);
    const operation = this.cluster.operation();
    const reader = await this.cluster.run(proxy.openObject(operation, objectName(object)));
    return reader?.inline?.toString();
  }

  hashOf(ring: PolicyIndex): Buffer {
    const { hashPrefix, hashSuffix } = this.cluster.view;
    return hashPath(hashPrefix, PATHS[ring]!, hashSuffix);
  }

  /** Names of the rows at a node, hidden ones too. */
  rowsAt(node: string, ring = CONTAINER_RING): string[] {
    const { rows } = this.cluster.node(node);
    const changes = rows.changes(ring, this.hashOf(ring), 0, 100);
    return changes.map(({ name }) => name).sort();
  }

  /** The same at each node. */
  rows(ring = CONTAINER_RING): string[][] {
    return this.nodes.map((node) => this.rowsAt(node, ring));
  }

  /** What the nodes know of the container. */
  containers(): readonly (ContainerFacts | undefined)[] {
    const hash = this.hashOf(CONTAINER_RING);
    return this.nodes.map((node) => this.cluster.node(node).rows.facts(CONTAINER_RING, hash));
  }

  /** All have the same rows. */
  get rowsAgree(): boolean {
    return new Set(this.containers().map((facts) => facts?.digest.toString('hex'))).size === 1;
  }

  async restart(node: string): Promise<void> {
    await this.cluster.restart(node);
    this.#shorten(node);
  }

  #shorten(node: string): void {
    this.cluster.node(node).service.budget.change({ reclaimAgeSeconds: this.#ageSeconds });
  }
}
