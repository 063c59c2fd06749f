/** What repair may receive: by pair of sites, by the hour, changed while somebody waits. */

import { describe, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { objectName, putRequest, TestCluster } from '#proxy/testing/test-cluster.ts';
import type { RepairChanges } from '#ring/repair-limits.ts';
import { stillSource } from '#ring/testing/view-source.ts';
import { RepairBudget } from './budget.ts';

const KIB = 1024;
const HOUR_MS = 3_600_000;
const SITES = ['lngs', 'bari', 'padova', 'turin'];

const ok = (): string => 'ok';

type Rules = NonNullable<RepairChanges['bandwidth']>;

/** The budget of bari, alone at its site, and how long something took. */
async function setUp(bandwidth: Rules) {
  const cluster = await TestCluster.start();
  const { env } = cluster.node('bari');
  const source = stillSource(() => cluster.view);
  const budget = new RepairBudget(env, source, { site: 'bari' });
  budget.change({ bandwidth });
  const took = async (work: Promise<unknown>): Promise<number> => {
    const startMs = env.clock.monotonicMs();
    await cluster.run(work);
    return env.clock.monotonicMs() - startMs;
  };
  const receive = async (node: string, pieces: number): Promise<void> => {
    for (let i = 0; i < pieces; i++) await budget.receive(node, 10 * KIB);
  };
  return { cluster, env, budget, took, receive };
}

describe('the bandwidth of repair', () => {
  it('is that of the pair of sites: one does not wait for the other', async () => {
    const { took, receive, budget } = await setUp([
      { between: ['lngs', 'bari'], bytesPerSecond: 10 * KIB },
      { between: ['padova', 'bari'], bytesPerSecond: 100 * KIB },
    ]);
    const slow = receive('lngs', 5);
    expect(await took(receive('padova', 21))).toBeLessThan(2_500);
    expect(budget.received()).toMatchObject({ padova: 210 * KIB, lngs: 30 * KIB });
    expect(await took(slow)).toBeGreaterThan(1_000);
    expect(await took(receive('bari', 1_000))).toBeLessThan(100); // within the site there is no rule
  });

  it('follows the hours, also for who waits already', async () => {
    const { cluster, env, budget } = await setUp([]);
    const minute = Math.floor(env.clock.wallMicros() / 60_000_000) % 1_440;
    const clock = (at: number): string => {
      const hours = String(Math.floor(at / 60) % 24).padStart(2, '0');
      return `${hours}:${String(at % 60).padStart(2, '0')}`;
    };
    const hours = `${clock(minute + 2)}-${clock(minute + 60)}`;
    budget.change({ bandwidth: [{ between: ['*', 'bari'], bytesPerSecond: 10 * KIB, hours }] });
    const refused = (): Promise<string> =>
      cluster.run(budget.receive('lngs', KIB).then(ok, codeOf));
    expect(await refused()).toBe('line-closed'); // rules, but none for now: nothing moves
    await cluster.world.runFor(125_000);
    expect(await refused()).toBe('ok');
    await cluster.run(budget.receive('lngs', 3_600 * 10 * KIB)); // an hour's worth: owed until it closes
    const waiting = budget.receive('lngs', KIB).then(ok, codeOf);
    expect(await cluster.run(waiting)).toBe('line-closed');
  });

  it('that is closed at this hour holds up nothing from other sites', async () => {
    const cluster = await TestCluster.startWithContainer({ blank: ['bari'] });
    cluster.kill('bari');
    const names = Array.from({ length: 8 }, (_, i) => `o${i}`);
    for (const [i, name] of names.entries()) {
      const request = putRequest(Buffer.alloc(i === 0 ? 2 * KIB * KIB : KIB, 7));
      await cluster.run(cluster.proxy.putObject(cluster.operation(), objectName(name), request));
    }
    await cluster.restart('bari');
    const minute = Math.floor(cluster.node('bari').env.clock.wallMicros() / 60_000_000) + 60;
    const clock = (at: number): string =>
      `${String(Math.floor(at / 60) % 24).padStart(2, '0')}:${String(at % 60).padStart(2, '0')}`;
    const rule = { bytesPerSecond: 1_000 * KIB, hours: `${clock(minute)}-${clock(minute + 60)}` };
    const { budget, puller } = cluster.node('bari').service;
    const lacking = (): number =>
      names.filter((name) => cluster.entryAt('bari', name)?.hasBody !== true).length;
    budget.change({ concurrency: 1, bandwidth: [{ between: ['*', 'bari'], ...rule }] });
    await cluster.world.runFor(60_000); // until it is connected again
    await cluster.runJob('bari', 'object.rejoin');
    await cluster.runJob('bari', 'object.bodies');
    await cluster.world.runFor(10_000);
    expect(lacking()).toBe(names.length);
    expect(puller.waiting).toBe(0);
    budget.change({ bandwidth: [{ between: ['lngs', 'bari'], ...rule }] });
    await cluster.runJob('bari', 'object.bodies');
    await cluster.world.runFor(30_000);
    expect(lacking()).toBe(0);
    expect(budget.received()['lngs'] ?? 0).toBe(0);
  });

  it('is changed while it runs: who waits goes on at the new rate', async () => {
    const { cluster, budget, took } = await setUp([
      { between: ['lngs', 'bari'], bytesPerSecond: KIB },
    ]);
    await cluster.run(budget.receive('lngs', 3_600 * KIB)); // an hour's worth is owed now
    const waiting = budget.receive('lngs', 1);
    await cluster.world.runFor(1_000);
    budget.change({ bandwidth: [{ between: ['lngs', 'bari'], bytesPerSecond: 3_600 * KIB }] });
    expect(await took(waiting)).toBeLessThan(HOUR_MS / 1_000);
  });

  it('holds for what stand-ins hand over, too', async () => {
    const cluster = await TestCluster.startWithContainer({ sites: SITES, runJobs: true });
    const body = Buffer.alloc(50 * KIB, 7);
    cluster.kill('padova');
    const names = Array.from({ length: 8 }, (_, i) => `o${i}`);
    for (const name of names) {
      const operation = cluster.operation();
      await cluster.run(cluster.proxy.putObject(operation, objectName(name), putRequest(body)));
    }
    await cluster.world.runFor(20_000);
    await cluster.restart('padova');
    const { service } = cluster.node('padova');
    service.budget.change({ bandwidth: [{ between: ['*', 'padova'], bytesPerSecond: 10 * KIB }] });
    const arrived = (): number =>
      names.filter((name) => cluster.entryAt('padova', name)?.hasBody === true).length;
    await cluster.world.runFor(15_000);
    // The first passes and is paid for behind, one more comes every five seconds.
    expect(arrived()).toBeLessThan(6);
    await cluster.world.runFor(120_000);
    expect(arrived()).toBe(names.length);
    for (const name of names) expect(cluster.entryAt('turin', name)).toBeUndefined();
  });
});
