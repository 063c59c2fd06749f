import { describe, expect, it } from 'vitest';
import { stillSource } from '#ring/testing/view-source.ts';
import { CONTAINER, TestCluster } from '../testing/test-cluster.ts';
import { BucketWalk } from './bucket-walk.ts';

const HEADER = 'x-container-sysmeta-job';

describe('a walk over the containers of a node', () => {
  it('that found nothing looks at nothing until a row has changed', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const { rows, device } = cluster.node('lngs');
    let looks = 0;
    const counted = {
      get summaryChanges() {
        return rows.summaryChanges;
      },
      ownStates: (...given: Parameters<typeof rows.ownStates>) => {
        looks++;
        return rows.ownStates(...given);
      },
    };
    const walk = new BucketWalk({
      cluster: stillSource(() => cluster.view),
      rows: () => new Map([[device, counted]]),
      isWanted: (headers) => headers[HEADER] !== undefined,
    });
    for (let n = 0; n < 3; n++) expect(walk.next()).toEqual({ found: [], done: true });
    expect(looks).toBe(1);

    const changes = { [HEADER]: 'on' };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, changes));
    // It is acknowledged by a majority, which this node may not be one of yet.
    await cluster.run(cluster.node('lngs').env.clock.sleep(1_000));
    for (let n = 0; n < 2; n++)
      expect(walk.next()).toMatchObject({ found: [{ ...CONTAINER, device }], done: true });
    expect(looks).toBe(3);
  });

  it('passes over one that was deleted, whose headers are kept for a row that comes late', async () => {
    const cluster = await TestCluster.start({ realRows: true });
    await cluster.createContainer();
    const operation = cluster.operation();
    const aMoment = () => cluster.run(cluster.node('lngs').env.clock.sleep(1_000));
    const changes = { [HEADER]: 'on' };
    await cluster.run(cluster.proxy.updateContainer(operation, CONTAINER, changes));
    await aMoment();
    const { rows, device } = cluster.node('lngs');
    const walk = new BucketWalk({
      cluster: stillSource(() => cluster.view),
      rows: () => new Map([[device, rows]]),
      isWanted: (headers) => headers[HEADER] !== undefined,
    });
    expect(walk.next().found).toHaveLength(1);
    await cluster.run(cluster.proxy.deleteContainer(cluster.operation(), CONTAINER));
    await aMoment();
    expect(walk.next()).toEqual({ found: [], done: true });
  });
});
