/** A hundred processes poll one authority over a slow network: how soon they all run what was applied. */
import { createPublicKey, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SimWorld } from '#env/sim/world.ts';
import { BundleSource } from './bundle-source.ts';
import { readBundle } from './publisher.ts';
import { Reporter } from './reporter.ts';
import { startFixture } from './testing/fixture.ts';

const NODES = 100;
const ROUND_TRIP_MS = 100;

describe('roll-out', () => {
  it('a hundred nodes run the new ring, and have said so, within 5 s of apply', async () => {
    const world = new SimWorld({ seed: 1 });
    await world.run(
      (async () => {
        const { authority } = await startFixture(world);
        const { clock } = world.machine('authority').env;
        const { signingKey, clusterId } = await authority.store.knownCluster();
        const key = createPublicKey(signingKey);
        const open = async (n: number): Promise<BundleSource> => {
          const { env } = world.machine(`n${n}`);
          await clock.sleep(n * 9);
          const cluster = await BundleSource.open({
            env,
            file: '/bundle',
            clusterId,
            authorities: ['a'],
            verify: (bytes, signature) => verify(null, bytes, key, signature),
            fetchBundle: async (_, have) => {
              await env.clock.sleep(ROUND_TRIP_MS);
              return readBundle(authority.state, have);
            },
          });
          new Reporter({
            env,
            cluster,
            authorities: () => ['a'],
            report: () => ({
              process: `n${n}`,
              site: 'bari',
              roles: ['storage'],
              version: '0',
              bundleVersion: cluster.current().version,
              rings: {},
              devices: [],
            }),
            send: async (_, report) => {
              await env.clock.sleep(ROUND_TRIP_MS);
              await authority.reports.note(report);
            },
          });
          return cluster;
        };
        const sources = await Promise.all(Array.from({ length: NODES }, (_, n) => open(n)));
        const wish = { drain: ['bari-1'], addDevice: [], setWeight: [], remove: [], replicas: [] };
        const { plan } = await authority.rings.plan({ kind: 'request', request: wish });
        await clock.sleep(1000);
        const version = await authority.rings.apply(plan, { who: 'test' });
        const start = clock.monotonicMs();
        const known = async (): Promise<number> => {
          const reports = await authority.reports.all();
          return reports.filter(({ report }) => report.bundleVersion >= version).length;
        };
        while ((await known()) < NODES && clock.monotonicMs() - start < 10_000)
          await clock.sleep(50);
        const tookMs = clock.monotonicMs() - start;
        expect(sources.every((source) => source.current().version >= version)).toBe(true);
        expect(await known()).toBe(NODES);
        expect(tookMs).toBeLessThan(5000);
        for (const source of sources) source.close();
      })(),
    );
  });
});
