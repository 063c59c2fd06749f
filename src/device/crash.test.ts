/**
 * Random operations against a model, cut short by power failures and kills: nothing acknowledged is
 * lost, nothing comes back that was never written, digests are what the entries add up to.
 */
import { describe, expect, it } from 'vitest';
import { EMPTY_STATE, type EntryState, join, newestTimestamp } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING } from '#base/names.ts';
import type { Prng } from '#env/sim/prng.ts';
import { BUCKET_BITS, type EntryKey } from './contract.ts';
import { ContributionHasher } from './contribution.ts';
import { bucketOf, DigestTable } from './digest-table.ts';
import type { LogDevice } from './open.ts';
import {
  bytes,
  DeviceFixture,
  FOLDER,
  IDENTITY,
  keyOf,
  pathOf,
  readAll,
} from './testing/device-fixture.ts';

const KEYS = 12;
const SEEDS = Number(process.env['DEVICE_SEEDS'] ?? 25);
const FIRST = Number(process.env['DEVICE_SEED'] ?? 0);
const ROUNDS = 5;

/** What is known of one key. */
interface Known {
  /** Joined state of all that was acknowledged. */
  acknowledged: EntryState;
  /** Asked for, and never answered (or with an error): may be there or not. */
  maybe: EntryState[];
  /** A drop was asked for and never answered. */
  maybeForgotten: boolean;
}

class Model {
  readonly keys = Array.from({ length: KEYS }, (): Known => fresh());
  readonly rows = Array.from({ length: 4 }, (): Known => fresh());
  readonly bodies = new Map<string, Buffer>();
}

function fresh(): Known {
  return { acknowledged: EMPTY_STATE, maybe: [], maybeForgotten: false };
}

class Driver {
  readonly #fixture: DeviceFixture;
  readonly #model: Model;
  readonly #random: Prng;
  readonly #device: LogDevice;

  constructor(fixture: DeviceFixture, model: Model, device: LogDevice, random: Prng) {
    this.#fixture = fixture;
    this.#model = model;
    this.#device = device;
    this.#random = random;
  }

  async run(steps: number): Promise<void> {
    const lanes = Array.from({ length: 4 }, async () => {
      for (let i = 0; i < steps; i++) await this.#step();
    });
    await Promise.all(lanes);
  }

  async #step(): Promise<void> {
    const number = this.#random.integer(KEYS);
    const choice = this.#random.integer(100);
    if (choice < 40) return this.#put(number);
    if (choice < 50) return this.#remove(number);
    if (choice < 60) return this.#post(number);
    if (choice < 68) return this.#row(this.#random.integer(4));
    if (choice < 76) return this.#read(number);
    if (choice < 84) return this.#markListed(number);
    if (choice < 88) return this.#forget(number);
    if (choice < 90) return this.#device.checkpoint();
    if (choice < 92) return this.#abandoned(number);
    await this.#device.compactStep();
  }

  async #put(number: number): Promise<void> {
    const length = this.#random.integer(this.#random.chance(0.2) ? 90_000 : 6000);
    const body = bytes(length, this.#random.integer(1000));
    const state = this.#fixture.live(length);
    this.#model.bodies.set(state.data!.writeId, body);
    const put = this.#random.chance(0.3) ? 'putStaged' : 'put';
    await this.#write(this.#model.keys[number]!, state, () =>
      this.#fixture[put](this.#device, number, body, state),
    );
  }

  async #remove(number: number): Promise<void> {
    const state = this.#fixture.tombstone();
    await this.#write(this.#model.keys[number]!, state, () =>
      this.#fixture.remove(this.#device, number, state),
    );
  }

  async #post(number: number): Promise<void> {
    const state = this.#fixture.metadata({ n: String(this.#random.integer(1000)) });
    const request = { key: keyOf(number), path: pathOf(number), state, unlisted: false };
    const intent = this.#random.chance(0.5) ? 'write' : 'join';
    await this.#write(this.#model.keys[number]!, state, () =>
      this.#device.write({ ...request, intent }),
    );
  }

  async #row(number: number): Promise<void> {
    const state = this.#fixture.live(1);
    await this.#write(this.#model.rows[number]!, state, async () => {
      await this.#device.rowLog.append({ ...rowOf(number), path: '/a/c', state });
      return { kind: 'stored' };
    });
  }

  async #write(
    known: Known,
    state: EntryState,
    write: () => Promise<{ kind: string }>,
  ): Promise<void> {
    if (known.maybeForgotten) return; // kept simple: nothing else while a key is being forgotten
    known.maybe.push(state);
    const outcome = await write();
    known.maybe = known.maybe.filter((other) => other !== state);
    if (outcome.kind === 'stored') known.acknowledged = join(known.acknowledged, state);
  }

  async #read(number: number): Promise<void> {
    const entry = this.#device.stat(keyOf(number));
    if (entry === undefined || entry.state.data?.kind !== 'live') return;
    const expected = this.#model.bodies.get(entry.state.data.writeId)!;
    expect(
      entry.hasBody,
      `a body that was written is there ${this.#fixture.world.log.format(30)}`,
    ).toBe(true);
    expect((await readAll(this.#device, entry)).equals(expected)).toBe(true);
  }

  async #abandoned(number: number): Promise<void> {
    const stage = await this.#device.stage(keyOf(number));
    await stage.write(bytes(this.#random.integer(300_000)));
    if (this.#random.chance(0.5)) await stage.abandon();
  }

  async #markListed(number: number): Promise<void> {
    const entry = this.#device.stat(keyOf(number));
    if (entry !== undefined) this.#device.markListed(keyOf(number), newestTimestamp(entry.state));
  }

  /** Only where nothing else is under way for the key, so that the model stays simple. */
  async #forget(number: number): Promise<void> {
    const known = this.#model.keys[number]!;
    const entry = this.#device.stat(keyOf(number));
    if (entry === undefined || known.maybe.length > 0 || known.maybeForgotten) return;
    this.#device.markListed(keyOf(number), newestTimestamp(entry.state));
    known.maybeForgotten = true;
    const before = known.acknowledged;
    const done = await this.#device.forget(this.#device.stat(keyOf(number))!);
    if (done && known.acknowledged === before) Object.assign(known, { acknowledged: EMPTY_STATE });
    else if (done) throw new Error('forgot an entry that had changed');
    known.maybeForgotten = false;
  }
}

function rowOf(number: number): { key: EntryKey; name: string } {
  return { key: keyOf(number, CONTAINER_RING), name: `row ${number}` };
}

/** The state found must be what was acknowledged, plus any of what may have happened. */
function checkKnown(known: Known, found: EntryState | undefined, what: string): void {
  const state = found ?? EMPTY_STATE;
  const all = known.maybe.reduce(join, known.acknowledged);
  const lost = !same(join(state, known.acknowledged), state) && !known.maybeForgotten;
  expect(lost, `${what}: an acknowledged state is lost`).toBe(false);
  const invented = !same(join(all, state), all);
  expect(invented, `${what}: a state came from nowhere`).toBe(false);
  // From now on it is there, and durable.
  Object.assign(known, { acknowledged: state, maybe: [], maybeForgotten: false });
}

function same(a: EntryState, b: EntryState): boolean {
  return encodeState(a).equals(encodeState(b));
}

async function checkAll(fixture: DeviceFixture, model: Model, device: LogDevice): Promise<void> {
  for (let number = 0; number < KEYS; number++) {
    const entry = device.stat(keyOf(number));
    checkKnown(model.keys[number]!, entry?.state, `key ${number}`);
    if (entry?.state.data?.kind !== 'live') continue;
    const expected = model.bodies.get(entry.state.data.writeId)!;
    expect(entry.hasBody, `key ${number}: its body is there ${fixture.world.log.format(30)}`).toBe(
      true,
    );
    expect(
      (await readAll(device, entry)).equals(expected),
      `key ${number}: its body is right`,
    ).toBe(true);
  }
  for (let number = 0; number < model.rows.length; number++) {
    checkKnown(model.rows[number]!, fixture.rows.get(rowOf(number)), `row ${number}`);
  }
  checkDigests(device);
}

function checkDigests(device: LogDevice): void {
  const hasher = new ContributionHasher(IDENTITY.clusterId);
  const table = new DigestTable();
  const entries = device.entries(0, Buffer.alloc(16), undefined, 1000);
  for (const entry of entries) {
    const contribution = hasher.of(entry.key, entry.state);
    const { live, bodiless } = entry;
    table.change(bucketOf(entry.key.hash), { contribution, live, bodiless }, 1);
  }
  const whole = 1 << BUCKET_BITS;
  expect(device.digests.summarise(0, 0, whole, 16)).toEqual(table.summarise(0, whole, 16));
}

/** Everything about all entries but what a rebuild sets conservatively. */
function picture(device: LogDevice): unknown[] {
  return device.entries(0, Buffer.alloc(16), undefined, 1000).map((entry) => ({
    path: entry.path,
    state: entry.stateBytes.toString('hex'),
    record: entry.record,
    body: entry.body,
    since: entry.since,
    contribution: entry.contribution.toString('hex'),
  }));
}

async function scenario(seed: number): Promise<void> {
  const fixture = new DeviceFixture(`crash ${seed}`, {
    inlineLimit: 30_000,
    compactStepBytes: 100_000,
  });
  const { world, machine } = fixture;
  const random = world.random('driver');
  const model = new Model();
  await world.run(fixture.format());
  for (let round = 0; round < ROUNDS; round++) {
    const device = await world.run(fixture.open());
    await world.run(checkAll(fixture, model, device));
    let ended = false;
    const end = (): void => {
      ended = true;
    };
    const driver = new Driver(fixture, model, device, random);
    let failure: unknown;
    driver.run(40).then(end, (error: unknown) => {
      if (!ended) failure = error;
      ended = true;
    });
    const kind = random.integer(3);
    if (kind > 0) {
      world.schedule(random.float() * 300, 'the end of the process', () => {
        if (ended) return;
        if (kind === 1) machine.crash();
        else machine.kill();
        end();
      });
    }
    await world.run(() => ended);
    if (failure !== undefined) throw failure;
    if (machine.isUp) await world.run(device.close());
    machine.restart();
  }
  const device = await world.run(fixture.open());
  await world.run(checkAll(fixture, model, device));
  const before = await world.run(checkpointed(device));
  await world.run(device.close());
  machine.disk.lose(`${FOLDER}/index.db`);
  const rebuilt = await world.run(fixture.open());
  expect(rebuilt.opened.rebuilt).toBe(true);
  expect(picture(rebuilt)).toEqual(before);
  await world.run(checkAll(fixture, model, rebuilt));
  await world.run(rebuilt.close());
}

async function checkpointed(device: LogDevice): Promise<unknown[]> {
  await device.checkpoint();
  return picture(device);
}

describe('a device whose process ends at any moment', () => {
  for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
    it(`keeps all that it acknowledged (seed ${seed})`, () => scenario(seed));
  }
});
