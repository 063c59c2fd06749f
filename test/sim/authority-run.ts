/**
 * A real authority drives ring changes of real storage nodes, and dies again and again while it does:
 * before or after each of the transactions that a change takes. Another one goes on; clients write all
 * the time. What is left out is HTTP between them: bundles and reports are handed over as calls.
 */

import { createPublicKey, verify } from 'node:crypto';
import type { Authority } from '#authority/authority.ts';
import { BundleSource } from '#authority/bundle-source.ts';
import { readBundle } from '#authority/publisher.ts';
import { Reporter } from '#authority/reporter.ts';
import { description, openAuthority, startFixture } from '#authority/testing/fixture.ts';
import { Mortal } from '#authority/testing/mortal.ts';
import { OperatingError } from '#base/errors.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import type { Machine } from '#env/sim/machine.ts';
import { SimWorld } from '#env/sim/world.ts';
import { askMoves } from '#object/move-reports.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { Endpoint } from '#wire/endpoint.ts';
import { JobRunner } from '#worker/runner.ts';
import { SHARED_KEY, SimCluster, type SimNode } from './cluster.ts';
import { MIN_CLOCK_ERROR_MS } from './plan.ts';
import { CLUSTER_ID, WIRE_PORT } from './shape.ts';
import { Tap } from './tap.ts';

const NAME = 'authority';
const WAY_MS = 20;
/** What supervisors need to start a process anew. */
const RESTART_MS = 2_000;
/** Deaths come at this transaction of a life, the next life's at the next. */
const MOST_STEPS = 7;

export class AuthorityRun {
  readonly world: SimWorld;
  readonly cluster: SimCluster;
  deaths = 0;
  readonly #machine: Machine;
  readonly #wire: Endpoint;
  readonly #sources = new Map<string, BundleSource>();
  /** Nodes that no authority reaches. */
  readonly #cut = new Set<string>();
  #serving: Authority | undefined;
  #lives = 0;
  #mortal: Mortal | undefined;
  #mayDie = true;

  private constructor(world: SimWorld, cluster: SimCluster) {
    this.world = world;
    this.cluster = cluster;
    this.#machine = world.machine(NAME);
    const { env } = this.#machine;
    const wallMicros = (): number => env.clock.wallMicros();
    this.#wire = new Endpoint({
      env,
      clock: new HybridClock({ workerId: 9_999, wallMicros, bound: 0, reserve: () => undefined }),
      cluster: { clusterId: CLUSTER_ID, sharedKey: SHARED_KEY },
      self: { node: NAME, site: 'lngs' },
      peers: { lookup: (peer) => cluster.locate(peer) },
    });
  }

  /** Three sites with two nodes each, and their first rings. */
  static start(seed: number): Promise<AuthorityRun> {
    const world = new SimWorld({ seed, maxEvents: 5_000_000 });
    return world.run(AuthorityRun.#begin(world));
  }

  static async #begin(world: SimWorld): Promise<AuthorityRun> {
    const wanted = description(1, (node) => `${node}:${WIRE_PORT}`);
    const { authority, view } = await startFixture(world, wanted);
    const nodes = wanted.nodes.map(({ name, site }, n) => {
      return { name, site, devices: [n], skewMs: 0 };
    });
    const sites = [...new Set(nodes.map(({ site }) => site))];
    const drawn = { sites, nodes, wanMs: 10, hasSkew: false, rings: new RingSet() };
    const shape = { ...drawn, view: await view() };
    const cluster = new SimCluster(world, shape, new Tap(), MIN_CLOCK_ERROR_MS);
    const run = new AuthorityRun(world, cluster);
    await cluster.create();
    for (const node of cluster.nodes) await run.#follow(node, authority);
    await authority.leadership.stop();
    await run.#live();
    return run;
  }

  /** @throws OperatingError `silent`: none serves just now */
  get authority(): Authority {
    if (this.#serving !== undefined) return this.#serving;
    throw new OperatingError('silent', 'no authority answers');
  }

  /** The node hears of nothing new, or does again. */
  cut(node: string, isCut: boolean): void {
    if (isCut) this.#cut.add(node);
    else this.#cut.delete(node);
  }

  versionAt(node: string): number {
    return this.#sources.get(node)!.current().version;
  }

  /** The one that lives goes on for good. */
  spare(): void {
    this.#mayDie = false;
    this.#mortal?.dieAt(Number.POSITIVE_INFINITY, false);
  }

  sleep(ms: number): Promise<void> {
    return this.#machine.env.clock.sleep(ms);
  }

  async #live(): Promise<void> {
    const life = this.#lives++;
    const mortal = new Mortal(() => this.#died());
    this.#mortal = mortal;
    // Every other one is another process, which must wait until the dead one's lease has ended.
    const address = `https://${life % 2 === 0 ? 'first' : 'second'}:7600`;
    const cluster = stillSource(() => this.#sources.get('lngs-1')!.current());
    const { env } = this.#machine;
    const moves = () => askMoves(env, this.#wire, cluster);
    const wishes = { address, wrap: mortal.wrap, askMoves: moves };
    const authority = await openAuthority(this.#machine, wishes);
    // As identity does in a node's process: overdue leases end where somebody watches.
    authority.state.watch({ prefix: '' }, 1, {
      onEvents: () => undefined,
      onCompacted: () => undefined,
    });
    await authority.leadership.start();
    this.#serving = authority;
    new JobRunner(env, { ...authority.conductor.job, step: () => this.#step(authority, mortal) });
    if (this.#mayDie) mortal.dieAt(life % MOST_STEPS, life % 2 === 1);
  }

  /** A dead process does nothing any more. */
  #step(authority: Authority, mortal: Mortal) {
    if (mortal.isDead) return new Promise<never>(() => undefined);
    return authority.conductor.step();
  }

  #died(): void {
    this.deaths++;
    this.#serving = undefined;
    this.world.schedule(RESTART_MS, 'authority restarts', () => void this.#live());
  }

  /** As main/foundation.ts does it. */
  async #follow(node: SimNode, first: Authority): Promise<void> {
    const { env } = node.machine;
    const { signingKey, clusterId } = await first.store.knownCluster();
    const key = createPublicKey(signingKey);
    const source = await BundleSource.open({
      env,
      file: '/data/bundle',
      clusterId,
      authorities: [NAME],
      verify: (bytes, signature) => verify(null, bytes, key, signature),
      fetchBundle: async (_, have) => readBundle((await this.#reached(node, first)).state, have),
    });
    source.subscribe((view) => {
      this.cluster.view = view;
      node.source.publish(view);
    });
    this.#sources.set(node.name, source);
    new Reporter({
      env,
      cluster: source,
      authorities: () => [NAME],
      report: () => ({
        process: node.name,
        site: node.shape.site,
        roles: ['storage', 'proxy'],
        version: '0',
        bundleVersion: source.current().version,
        rings: {},
        devices: [],
      }),
      send: async (_, report) => (await this.#reached(node, first)).reports.note(report),
    });
  }

  async #reached(node: SimNode, first: Authority): Promise<Authority> {
    await node.machine.env.clock.sleep(WAY_MS);
    if (this.#cut.has(node.name)) throw new OperatingError('silent', 'cut off');
    return this.#lives === 0 ? first : this.authority;
  }
}
