/**
 * What this node's repair does otherwise than the cluster says, kept over restarts: `repair.json` in the
 * node's data folder. A file that can't be read is told and left alone: limits are no reason not to start.
 */
import path from 'node:path';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { RepairBudget } from '#object/budget.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import {
  type BandwidthRule,
  type RepairChanges,
  type RepairLimits,
  repairChangesSchema,
} from '#ring/repair-limits.ts';

export class RepairSettings {
  readonly #env: Env;
  readonly #file: string;
  readonly #cluster: ClusterSource;
  readonly #budget: RepairBudget;

  constructor(env: Env, folder: string, cluster: ClusterSource, budget: RepairBudget) {
    this.#env = env;
    this.#cluster = cluster;
    this.#file = path.join(folder, 'repair.json');
    this.#budget = budget;
  }

  async load(): Promise<void> {
    try {
      const value: unknown = JSON.parse((await this.#env.disk.read(this.#file)).toString());
      this.#budget.change(repairChangesSchema.parse(value));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return;
      const facts = { file: this.#file, reason: messageOf(error) };
      this.#env.log.error('repair.settings-unusable', facts);
    }
  }

  get limits(): RepairLimits {
    return this.#budget.limits;
  }

  get changes(): RepairChanges {
    return this.#budget.changes;
  }

  /**
   * What is given changes; null takes back. In force when it resolves, and durable.
   * @throws OperatingError `unknown-site`
   */
  async change(given: RepairChanges): Promise<RepairLimits> {
    this.#checkSites(given.bandwidth ?? []);
    const merged = Object.entries({ ...this.#budget.changes, ...given });
    const changes = Object.fromEntries(merged.filter(([, value]) => value !== null));
    await this.#env.disk.replace(this.#file, Buffer.from(`${JSON.stringify(changes, null, 2)}\n`));
    this.#budget.change(changes);
    this.#env.log.info('repair.settings', changes);
    return this.#budget.limits;
  }

  /** A rule for a name that is mistyped would limit nothing, and nobody would notice. */
  #checkSites(rules: readonly BandwidthRule[]): void {
    const { nodes, settings } = this.#cluster.current();
    const described = settings?.sites.map(({ name }) => name) ?? [];
    const known = new Set([...described, ...[...nodes.values()].map(({ site }) => site)]);
    const wrong = rules.flatMap(({ between }) => between).find((s) => s !== '*' && !known.has(s));
    if (wrong === undefined) return;
    const names = [...known].sort().join(', ');
    const message = `there is no site "${wrong}"; there are ${names}, and * for any`;
    throw new OperatingError('unknown-site', message, { site: wrong });
  }
}
