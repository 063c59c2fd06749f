/** Promises and accepts of conditional rounds, as one replica keeps them. */
import { describe, expect, it } from 'vitest';
import type { EntryState } from '#base/entry.ts';
import { makeTimestamp, microsOf, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import type { WriteOutcome } from './contract.ts';
import type { LogDevice } from './log-device.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  pathOf,
  readAll,
  withDevice,
} from './testing/device-fixture.ts';

const HOUR_MS = 3_600_000;

function promise(device: LogDevice, number: number, ballot: Timestamp) {
  return device.promise(keyOf(number), pathOf(number), ballot);
}

function accept(device: LogDevice, number: number, state: EntryState, body?: Buffer) {
  const request = { key: keyOf(number), path: pathOf(number), state, unlisted: true } as const;
  return device.write({ ...request, intent: 'accept', ...(body && { body }) });
}

function join(device: LogDevice, number: number, state: EntryState): Promise<WriteOutcome> {
  const request = { key: keyOf(number), path: pathOf(number), state, unlisted: true } as const;
  return device.write({ ...request, intent: 'join' });
}

/** What a round would write at its ballot. */
function record(fixture: DeviceFixture, at: Timestamp, base = ZERO_TIMESTAMP): EntryState {
  return fixture.live(5, { at, base });
}

describe('a promise', () => {
  it('tells the state, refuses lower ballots, and is higher than what it promises', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(5));
      const [low, ballot] = [fixture.clock.now(), fixture.clock.now()];
      const given = await promise(device, 1, ballot);
      expect(given).toMatchObject({ kind: 'promised', certain: true });
      expect(given.entry?.state.data?.size).toBe(5);
      expect(await promise(device, 1, low)).toMatchObject({ kind: 'refused', newest: ballot });
      expect(await promise(device, 1, ballot)).toMatchObject({ kind: 'refused' });
      expect((await fixture.put(device, 1, bytes(5))).kind).toBe('use-rounds');
      await device.close();
    }));

  it('survives that its row in the index is nobody’s any more (brief seed 908620)', () =>
    withDevice(async (fixture, device) => {
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      await device.close();
      const database = fixture.env.disk.openDatabase(`${FOLDER}/index.db`);
      database.exec("UPDATE promises SET hash = x'07'");
      database.close();
      const again = await fixture.open();
      expect(again.opened.rebuilt).toBe(true);
      expect(await promise(again, 1, ballot)).toMatchObject({ kind: 'refused', newest: ballot });
      await again.close();
    }));

  it.each(['kill', 'crash'] as const)('survives a %s once it was answered', (how) =>
    withDevice(async (fixture, device) => {
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      if (how === 'kill') fixture.machine.kill();
      else fixture.machine.crash('lost');
      fixture.machine.restart();
      const again = await fixture.open();
      expect(await promise(again, 1, ballot)).toMatchObject({ kind: 'refused', newest: ballot });
      expect((await fixture.put(again, 1, bytes(5), fixture.live(5))).kind).toBe('use-rounds');
      await again.close();
    }),
  );

  it('survives the loss of the index', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(5));
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      expect(again.opened.rebuilt).toBe(true);
      expect(again.isCertain(keyOf(1))).toBe(true);
      expect(await accept(again, 1, record(fixture, ballot), bytes(5))).toMatchObject({
        kind: 'stored',
      });
      await again.close();
    }));

  it('is forgotten after an hour, and then a floor stands for it', () =>
    withDevice(async (fixture, device) => {
      const ballot = fixture.clock.now();
      const late = fixture.clock.now();
      await promise(device, 1, ballot);
      await device.compactStep();
      expect((await fixture.put(device, 1, bytes(5))).kind).toBe('use-rounds');
      await fixture.env.clock.sleep(HOUR_MS + 1_000);
      await device.compactStep();
      expect(await accept(device, 1, record(fixture, ballot), bytes(5))).toMatchObject({
        kind: 'superseded',
      });
      await join(device, 1, fixture.live(5, { at: makeTimestamp(microsOf(ballot) - 1, 9) }));
      expect(device.isCertain(keyOf(1))).toBe(false);
      expect((await promise(device, 1, ballot)).kind).toBe('refused');
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      await again.compactStep();
      expect(again.isCertain(keyOf(1))).toBe(false);
      expect((await fixture.put(again, 1, bytes(5), fixture.live(5, { at: late }))).kind).toBe(
        'stored',
      );
      expect(again.isCertain(keyOf(1))).toBe(true);
      await again.close();
    }));
});

describe('an accept', () => {
  it('is stored under its promise, once', () =>
    withDevice(async (fixture, device) => {
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      const state = record(fixture, ballot);
      expect(await accept(device, 1, state, bytes(5))).toEqual({ kind: 'stored', newest: ballot });
      expect((await accept(device, 1, state, bytes(5))).kind).toBe('superseded');
      expect(device.isCertain(keyOf(1))).toBe(true);
      await device.close();
    }));

  it('fails under a higher promise, also where the record itself was joined', () =>
    withDevice(async (fixture, device) => {
      const [ballot, higher] = [fixture.clock.now(), fixture.clock.now()];
      await promise(device, 1, ballot);
      await promise(device, 1, higher);
      const state = record(fixture, ballot);
      await join(device, 1, state);
      expect(await accept(device, 1, state, bytes(5))).toEqual({
        kind: 'superseded',
        newest: higher,
      });
      await device.close();
    }));

  it('fails where nothing was promised: whoever lost the promise may have acknowledged since', () =>
    withDevice(async (fixture, device) => {
      const state = record(fixture, fixture.clock.now());
      expect((await accept(device, 1, state, bytes(5))).kind).toBe('superseded');
      await join(device, 1, state);
      expect((await accept(device, 1, state, bytes(5))).kind).toBe('superseded');
      await device.close();
    }));

  it('counts where the record was joined under its own promise', () =>
    withDevice(async (fixture, device) => {
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      const state = record(fixture, ballot);
      await join(device, 1, state);
      expect((await accept(device, 1, state, bytes(5))).kind).toBe('stored');
      expect(device.stat(keyOf(1))!.hasBody).toBe(true);
      await device.close();
    }));

  it('keeps the body of the version that it stamps anew, also when the index is rebuilt', () =>
    withDevice(async (fixture, device) => {
      await fixture.put(device, 1, bytes(70_000));
      const { data } = device.stat(keyOf(1))!.state;
      const ballot = fixture.clock.now();
      await promise(device, 1, ballot);
      const body = { length: 70_000, written: data!.timestamp };
      const state = {
        data: { ...data!, timestamp: ballot, base: data!.timestamp, body },
        groups: {},
      };
      expect((await accept(device, 1, state)).kind).toBe('stored');
      expect((await readAll(device, device.stat(keyOf(1))!)).equals(bytes(70_000))).toBe(true);
      await device.close();
      fixture.machine.disk.lose(`${FOLDER}/index.db`);
      const again = await fixture.open();
      expect(again.stat(keyOf(1))!.state.data?.timestamp).toBe(ballot);
      expect((await readAll(again, again.stat(keyOf(1))!)).equals(bytes(70_000))).toBe(true);
      await again.close();
    }));
});

describe('a state is uncertain', () => {
  it('where it came under a promise that had not seen it, until a higher one is accepted', () =>
    withDevice(async (fixture, device) => {
      const early = fixture.live(5);
      const [ballot, next] = [fixture.clock.now(), fixture.clock.now()];
      await promise(device, 1, ballot);
      expect(device.isCertain(keyOf(1))).toBe(true);
      await join(device, 1, early);
      expect(device.isCertain(keyOf(1))).toBe(false);
      expect(await promise(device, 1, next)).toMatchObject({ kind: 'promised', certain: false });
      expect(device.isCertain(keyOf(1))).toBe(false);
      await accept(device, 1, record(fixture, next, early.data!.timestamp), bytes(5));
      expect(device.isCertain(keyOf(1))).toBe(true);
      await device.close();
    }));

  it('below the floor of a device that was made complete again', () =>
    withDevice(async (fixture, device) => {
      const late = fixture.live(5);
      await join(device, 1, fixture.live(5));
      expect(device.isCertain(keyOf(1))).toBe(true);
      await device.completeness.mark(0, 0, 2 ** 20, false);
      await device.completeness.mark(0, 0, 2 ** 20, true);
      expect(device.isCertain(keyOf(1))).toBe(false);
      expect(device.isCertain(keyOf(2))).toBe(true);
      expect((await fixture.put(device, 2, bytes(5), late)).kind).toBe('use-rounds');
      expect((await fixture.put(device, 2, bytes(5))).kind).toBe('stored');
      await device.close();
    }));
});
