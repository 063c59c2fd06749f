/**
 * The row store on a real device in the simulator: random rows, compaction, power failures and kills
 * at random moments. Nothing acknowledged is lost, nothing forgotten comes back; totals, digest and listing
 * are what the rows add up to; a database rebuilt from the log alone says the same.
 */
import { describe, expect, it } from 'vitest';
import { type EntryState, join } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { LogDevice } from '#device/open.ts';
import { DeviceFixture, FOLDER, keyOf } from '#device/testing/device-fixture.ts';
import type { Prng } from '#env/sim/prng.ts';
import { RowStore } from './row-store.ts';

const SEEDS = Number(process.env['ROWS_SEEDS'] ?? 8);
const FIRST = Number(process.env['ROWS_SEED'] ?? 0);
const ROUNDS = 4;
const CONTAINERS = 3;
const NAMES = 8;

/** Joined acknowledged states, and those asked for without an answer, by container and name. */
class Model {
  readonly acknowledged = new Map<string, EntryState>();
  readonly asked = new Map<string, EntryState>();
  /** Rows with writes under way, or that are being forgotten: never both. */
  readonly busy = new Map<string, number>();
  /** What was forgotten counts again with the next write. */
  readonly forgotten = new Map<string, EntryState>();
}

class Scenario {
  readonly fixture: DeviceFixture;
  readonly random: Prng;
  readonly model = new Model();
  rows!: RowStore;

  constructor(seed: number) {
    this.fixture = new DeviceFixture(`rows ${seed}`, {
      compactStepBytes: 50_000,
      segmentBytes: 20_000,
    });
    this.random = this.fixture.world.random('driver');
  }

  async open(file = `${FOLDER}/rows.db`): Promise<LogDevice> {
    const { env } = this.fixture;
    const device = await this.fixture.open({
      openRows: (_, incarnation) => {
        this.rows = RowStore.open(env, { file, incarnation, digestKey: 'k' });
        return this.rows;
      },
    });
    this.rows.bind(device.rowLog);
    return device;
  }

  async drive(device: LogDevice, steps: number): Promise<void> {
    const lane = async (): Promise<void> => {
      for (let i = 0; i < steps; i++) await this.#step(device);
    };
    await Promise.all(Array.from({ length: 5 }, lane));
  }

  async #step(device: LogDevice): Promise<void> {
    const choice = this.random.integer(100);
    if (choice < 4) return device.checkpoint();
    if (choice < 12) return void (await device.compactStep());
    const container = this.random.integer(CONTAINERS);
    const name = this.random.chance(0.1) ? '' : `name ${this.random.integer(NAMES)}`;
    const state = this.#someState();
    const key = `${container} ${name}`;
    const { asked, acknowledged, busy, forgotten } = this.model;
    if (choice < 30) return this.#forget(container, name);
    if (busy.get(key) === -1) return;
    busy.set(key, (busy.get(key) ?? 0) + 1);
    const before = asked.get(key) ?? { groups: {} };
    asked.set(key, join(join(before, forgotten.get(key) ?? { groups: {} }), state));
    await this.rows.write({
      key: keyOf(container, CONTAINER_RING),
      path: `/a/${container}`,
      name,
      state,
    });
    acknowledged.set(key, join(acknowledged.get(key) ?? { groups: {} }, state));
    busy.set(key, busy.get(key)! - 1);
  }

  async #forget(container: number, name: string): Promise<void> {
    const key = `${container} ${name}`;
    const { asked, acknowledged, busy, forgotten } = this.model;
    const { hash } = keyOf(container, CONTAINER_RING);
    const row = this.rows
      .changes(CONTAINER_RING, hash, 0, 1000)
      .find((change) => change.name === name);
    if (row === undefined || (busy.get(key) ?? 0) !== 0) return;
    busy.set(key, -1);
    const before = acknowledged.get(key);
    acknowledged.delete(key);
    forgotten.set(key, join(forgotten.get(key) ?? { groups: {} }, row.state));
    const count = await this.rows.forget(CONTAINER_RING, hash, [row]);
    if (count === 1) asked.delete(key);
    else if (before !== undefined) acknowledged.set(key, before);
    busy.set(key, 0);
  }

  #someState(): EntryState {
    const choice = this.random.integer(10);
    if (choice < 6) return this.fixture.live(this.random.integer(1000));
    if (choice < 8) return this.fixture.tombstone();
    const timestamp = this.fixture.clock.now();
    return { groups: { system: { timestamp, values: { 'content-type': `t${timestamp}` } } } };
  }

  check(): void {
    for (let container = 0; container < CONTAINERS; container++) {
      const { hash } = keyOf(container, CONTAINER_RING);
      let rows = 0;
      let bytes = 0;
      for (let i = -1; i < NAMES; i++) {
        const name = i < 0 ? '' : `name ${i}`;
        const state = this.#checkRow(container, name, this.rows.read(CONTAINER_RING, hash, name));
        if (name === '' || state?.data?.kind !== 'live') continue;
        rows++;
        bytes += state.data.size;
      }
      const totals = this.rows.facts(CONTAINER_RING, hash)?.totals ?? { rows: 0, bytes: 0 };
      expect(totals).toMatchObject({ rows, bytes });
      expect(this.rows.list(CONTAINER_RING, hash, { limit: 100 }).items.length).toBe(rows);
    }
  }

  #checkRow(
    container: number,
    name: string,
    found: EntryState | undefined,
  ): EntryState | undefined {
    const key = `${container} ${name}`;
    const state = found ?? { groups: {} };
    const acknowledged = this.model.acknowledged.get(key) ?? { groups: {} };
    const all = join(this.model.asked.get(key) ?? { groups: {} }, acknowledged);
    expect(encodeState(join(state, acknowledged)), `${key} is kept`).toEqual(encodeState(state));
    expect(encodeState(join(all, state)), `${key} was written`).toEqual(encodeState(all));
    // What was found stays from now on, and nothing else was written.
    this.model.acknowledged.set(key, state);
    this.model.asked.set(key, state);
    this.model.busy.delete(key);
    return found;
  }

  picture(): unknown[] {
    const all = this.rows.containers(CONTAINER_RING, Buffer.alloc(16), undefined, 100);
    return all.map(({ path, totals, total, digest }) => {
      return { path, totals, total, digest: digest.toString('hex') };
    });
  }
}

async function run(seed: number): Promise<void> {
  const scenario = new Scenario(seed);
  const { world, machine } = scenario.fixture;
  await world.run(scenario.fixture.format());
  for (let round = 0; round < ROUNDS; round++) {
    const device = await world.run(scenario.open());
    scenario.check();
    let ended = false;
    let failure: unknown;
    scenario.drive(device, 25).then(
      () => {
        ended = true;
      },
      (error: unknown) => {
        if (!ended) failure = error;
        ended = true;
      },
    );
    const kind = scenario.random.integer(3);
    if (kind > 0) {
      world.schedule(scenario.random.float() * 200, 'the end of the process', () => {
        if (ended) return;
        if (kind === 1) machine.crash();
        else machine.kill();
        ended = true;
      });
    }
    await world.run(() => ended);
    if (failure !== undefined) throw failure;
    if (machine.isUp) await world.run(device.close());
    machine.restart();
  }
  const device = await world.run(scenario.open());
  scenario.check();
  const before = scenario.picture();
  await world.run(device.close());
  const again = await world.run(scenario.open(`${FOLDER}/rebuilt.db`));
  scenario.check();
  expect(scenario.picture()).toEqual(before);
  await world.run(again.close());
}

describe('rows on a device that crashes', () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    it(`keep what was acknowledged (seed ${seed})`, () => run(seed));
  }
});
