/** Which of the bodies that wait are fetched, and when. */

import { describe, expect, it } from 'vitest';
import { DeviceFixture, keyOf, pathOf } from '#device/testing/device-fixture.ts';
import type { ClusterSource, ClusterView } from '#ring/cluster.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { type Caller, WireError } from '#wire/contract.ts';
import { BodyPuller } from './body-puller.ts';
import { RepairBudget } from './budget.ts';
import type { BodiesArgs } from './calls.ts';
import { PeerBoard } from './peer-board.ts';

const SOURCE = { device: 1, node: 'lngs-1' };
const OVERTAKEN = 300;
const LEFT = 5;

describe('bodies that wait', () => {
  it('are fetched when all that waited before them came otherwise', async () => {
    const fixture = new DeviceFixture();
    const asked = new Set<string>();
    let answer = (): void => undefined;
    const first = new Promise<void>((resolve) => (answer = resolve));
    const caller: Caller = {
      call: async (_node, _method, args) => {
        for (const { hash } of (args as BodiesArgs).wishes) asked.add(hash.toString('hex'));
        await first;
        throw new WireError('remote', 'not here');
      },
    };
    const whole = async (): Promise<void> => {
      await fixture.format();
      const device = await fixture.open();
      const view = { rings: new Map(), nodes: new Map() } as unknown as ClusterView;
      const cluster: ClusterSource = stillSource(() => view);
      const { env } = fixture;
      const budget = new RepairBudget(env, cluster, { site: 'bari' });
      budget.change({ concurrency: 1 });
      const board = new PeerBoard(() => env.clock.monotonicMs());
      const devices = () => new Map([[device.id, device]]);
      const puller = new BodyPuller({ env, caller, cluster, devices, board, budget });
      const lack = async (number: number): Promise<void> => {
        const request = { key: keyOf(number), path: pathOf(number), unlisted: false };
        await device.write({ ...request, state: fixture.live(100), intent: 'join' });
        puller.enqueue({ device: device.id, ...keyOf(number), sources: [SOURCE] });
      };
      // The first is under way, the others wait for it; all but the last are overwritten meanwhile.
      for (let n = 0; n <= OVERTAKEN + LEFT; n++) await lack(n);
      for (let n = 1; n <= OVERTAKEN; n++) await fixture.remove(device, n);
      answer();
      await env.clock.sleep(5_000);
      const wanted = [0, ...Array.from({ length: LEFT }, (_, i) => OVERTAKEN + 1 + i)];
      expect([...asked]).toEqual(wanted.map((n) => keyOf(n).hash.toString('hex')));
      expect(puller.waiting).toBe(0);
      puller.close();
      await device.close();
    };
    await fixture.world.run(whole());
  });
});
