/** A cluster with all jobs at work that reclaims what is a minute old, not a week. */
import {
  objectName,
  putRequest,
  TestCluster,
  type TestClusterOptions,
} from '#proxy/testing/test-cluster.ts';

export interface ReclaimOptions extends TestClusterOptions {
  readonly ageSeconds: number;
}

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

  put(object: string): Promise<unknown> {
    const { cluster } = this;
    const request = putRequest(Buffer.from(object));
    return cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(object), request));
  }

  remove(object: string): Promise<unknown> {
    const { cluster } = this;
    return cluster.run(cluster.proxy.deleteObject(cluster.operation(), objectName(object)));
  }

  async restart(node: string): Promise<void> {
    await this.cluster.restart(node);
    this.#shorten(node);
  }

  #shorten(node: string): void {
    this.cluster.node(node).service.budget.change({ reclaimAgeSeconds: this.#ageSeconds });
  }
}
