/**
 * A rows database that is put back from before a compaction: the log has no more of what came next, neither what
 * forgot rows nor what the sequences counted. It is made anew.
 */
import { describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { LogDevice } from '#device/open.ts';
import { DeviceFixture, FOLDER, keyOf } from '#device/testing/device-fixture.ts';
import { RowStore } from './row-store.ts';

const FILE = `${FOLDER}/rows.db`;
const KEY = keyOf(1, CONTAINER_RING);
const LIMITS = { segmentBytes: 20_000, compactStepBytes: 50_000 };

class Old {
  readonly fixture = new DeviceFixture('old rows', LIMITS);
  rows!: RowStore;

  async open(): Promise<LogDevice> {
    const { env } = this.fixture;
    const device = await this.fixture.open({
      openRows: (_, incarnation) => {
        this.rows = RowStore.open(env, { file: FILE, incarnation, digestKey: 'k' });
        return this.rows;
      },
    });
    this.rows.bind(device.rowLog);
    return device;
  }

  write(name: string, state: EntryState): Promise<unknown> {
    return this.rows.write({ key: KEY, path: '/a/c', name, state });
  }

  async forget(name: string): Promise<void> {
    const all = this.rows.changes(CONTAINER_RING, KEY.hash, 0, 1000);
    const rows = all.filter((row) => row.name === name);
    expect(await this.rows.forget(CONTAINER_RING, KEY.hash, rows)).toBe(1);
  }

  /** Until nothing is left of the first segments. */
  async churn(device: LogDevice): Promise<void> {
    for (let i = 0; i < 400; i++) await this.write('churn', this.fixture.live(i));
    for (let idle = 0; idle < 5; ) idle = (await device.compactStep()) ? 0 : idle + 1;
    await device.checkpoint();
    expect(await this.fixture.env.disk.list(`${FOLDER}/log`)).not.toContain('00000001.seg');
  }

  run(scenario: () => Promise<void>): Promise<void> {
    const { world } = this.fixture;
    return world.run(this.fixture.format().then(scenario));
  }
}

describe('a rows database from before a compaction', () => {
  it('does not bring back what was forgotten since', async () => {
    const old = new Old();
    const { fixture } = old;
    await old.run(async () => {
      const device = await old.open();
      await old.write('a', fixture.live(1));
      await device.checkpoint();
      const before = await fixture.env.disk.read(FILE);
      await old.write('a', fixture.tombstone());
      await old.forget('a');
      // Then what forgets it goes, too.
      for (let i = 0; i < 3; i++) await old.churn(device);
      await device.close();
      fixture.machine.disk.plant(FILE, before);
      const again = await old.open();
      expect(old.rows.read(CONTAINER_RING, KEY.hash, 'a')).toBeUndefined();
      const { items } = old.rows.list(CONTAINER_RING, KEY.hash, { limit: 10 });
      expect(items.map(([name]) => name)).toEqual(['churn']);
      await again.close();
    });
  });

  it('gives no sequence that peers know to other rows', async () => {
    const old = new Old();
    const { fixture } = old;
    await old.run(async () => {
      const device = await old.open();
      await old.write('a', fixture.live(1));
      await device.checkpoint();
      const before = await fixture.env.disk.read(FILE);
      await old.churn(device);
      const { incarnation } = old.rows;
      const { sequence } = old.rows.facts(CONTAINER_RING, KEY.hash)!;
      await device.close();
      fixture.machine.disk.plant(FILE, before);
      const again = await old.open();
      await old.write('c', fixture.live(1));
      const now = old.rows.facts(CONTAINER_RING, KEY.hash)!.sequence;
      expect(old.rows.incarnation !== incarnation || now > sequence).toBe(true);
      await again.close();
    });
  });

  it('is kept where it is only behind', async () => {
    const old = new Old();
    const { fixture } = old;
    await old.run(async () => {
      const device = await old.open();
      await old.churn(device);
      const { incarnation } = old.rows;
      const before = await fixture.env.disk.read(FILE);
      for (let i = 0; i < 200; i++) await old.write(`late ${i}`, fixture.live(i));
      await device.close();
      fixture.machine.disk.plant(FILE, before);
      const again = await old.open();
      expect(old.rows.incarnation).toBe(incarnation);
      expect(old.rows.facts(CONTAINER_RING, KEY.hash)!.totals.rows).toBe(201);
      await again.close();
    });
  });
});
