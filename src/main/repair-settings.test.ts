/** What a node's repair is told for itself: checked, kept over restarts, taken back. */

import { expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { RepairBudget } from '#object/budget.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { RepairSettings } from './repair-settings.ts';

const nodes = ['lngs', 'bari'].map((site) => ({
  ...{ name: `${site}-1`, site, zone: 'z1' },
  wire: { host: '10.0.0.1', port: 7400 },
}));
const view: Partial<ClusterView> = { nodes: new Map(nodes.map((node) => [node.name, node])) };
const cluster = stillSource(() => view as ClusterView);
const between = (a: string, b: string) => [
  { between: [a, b] as [string, string], bytesPerSecond: 2_000 },
];

it('keeps what it is told, and refuses rules for sites that are not there', async () => {
  const world = new SimWorld({ seed: 1 });
  const { env } = world.machine('n');
  const open = async (): Promise<RepairSettings> => {
    const budget = new RepairBudget(env, cluster, { site: 'bari' });
    const settings = new RepairSettings(env, '/data', cluster, budget);
    await settings.load();
    return settings;
  };
  const whole = async (): Promise<void> => {
    await env.disk.mkdir('/data');
    const settings = await open();
    await settings.change({ bandwidth: between('lngs', '*') });
    const wrong = settings.change({ bandwidth: between('lngs', 'barri'), concurrency: 9 });
    await expect(wrong).rejects.toMatchObject({
      code: 'unknown-site',
      message: 'there is no site "barri"; there are bari, lngs, and * for any',
    });
    for (const now of [settings, await open()])
      expect(now.changes).toEqual({ bandwidth: between('lngs', '*') });
    await settings.change({ bandwidth: null });
    expect((await open()).changes).toEqual({});
  };
  await world.run(whole());
});
