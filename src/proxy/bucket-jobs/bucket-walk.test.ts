import { describe, expect, it } from 'vitest';
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
      cluster: { current: () => cluster.view, subscribe: () => () => undefined },
      rows: () => new Map([[device, counted]]),
      isWanted: (headers) => headers[HEADER] !== undefined,
    });
    for (let n = 0; n < 3; n++) expect(walk.next()).toEqual({ found: [], done: true });
    expect(looks).toBe(1);

    const changes = { [HEADER]: 'on' };
    await cluster.run(cluster.proxy.updateContainer(cluster.operation(), CONTAINER, changes));
    for (let n = 0; n < 2; n++)
      expect(walk.next()).toMatchObject({ found: [{ ...CONTAINER, device }], done: true });
    expect(looks).toBe(3);
  });
});
