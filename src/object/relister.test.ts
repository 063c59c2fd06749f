/** What becomes of an object that is not listed, by what the container's replicas say. */
import { describe, expect, it } from 'vitest';
import { CONTAINER, objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { Relister } from './relister.ts';
import type { RowDelivery, RowSender } from './row-sender.ts';

/** By replica; undefined: it does not answer. */
type Said = readonly (RowDelivery | undefined)[];

const HELD: RowDelivery = { outcome: 'stored', complete: true };
const ELSEWHERE: RowDelivery = { outcome: 'container-mismatch', complete: true };

async function relist(said: Said): Promise<string> {
  const cluster = await TestCluster.startWithContainer();
  const put = putRequest(Buffer.from('x'));
  await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName('a'), put));
  const sender = {
    send: async ({ device }: { device: number }) => {
      const delivery = said[device];
      if (delivery === undefined) throw new Error('unreachable');
      return delivery;
    },
  } as unknown as RowSender;
  const relister = new Relister(
    sender,
    stillSource(() => cluster.view),
  );
  const device = cluster.device('lngs');
  return cluster.run(relister.relist(device, cluster.entryAt('lngs', 'a')!, CONTAINER.container));
}

describe('an object that is not listed', () => {
  it.each<[string, Said]>([
    ['listed', [HELD, HELD, undefined]],
    ['failed', [HELD, undefined, undefined]],
    ['failed', [HELD, ELSEWHERE, undefined]],
    ['elsewhere', [ELSEWHERE, ELSEWHERE, undefined]],
  ])('is %s by a majority', async (outcome, said) => {
    expect(await relist(said)).toBe(outcome);
  });

  it('is not in another policy by the word of a replica that has forgotten', async () => {
    const forgetful = { ...ELSEWHERE, complete: false };
    expect(await relist([ELSEWHERE, forgetful, undefined])).toBe('failed');
  });
});
