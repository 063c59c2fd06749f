/**
 * Of one device alone: its log, what compaction leaves of it, and an index that is lost or old. In a
 * cluster the other replicas would mend most of what goes wrong here before anybody sees it.
 */
import assert from 'node:assert/strict';
import { newestTimestamp } from '#base/entry.ts';
import type { LogDevice } from '#device/open.ts';
import {
  bytes,
  type DeviceFixture,
  FOLDER,
  keyOf,
  readAll,
  withDevice,
} from '#device/testing/device-fixture.ts';

export interface LogScenario {
  readonly name: string;
  readonly mutants: readonly string[];
  readonly run: (fixture: DeviceFixture, device: LogDevice) => Promise<void>;
}

const LIMITS = { segmentBytes: 64 * 1024, compactStepBytes: 16 * 1024 };
const INDEX = `${FOLDER}/index.db`;
const KEY = 5;
const IDLE_STEPS = 5;
/** Within this the index has what was written. */
const FLUSHED_MS = 5_000;

export function playOnDevice({ run }: LogScenario): Promise<void> {
  return withDevice(run, { limits: LIMITS });
}

async function compactAll(device: LogDevice): Promise<void> {
  for (let idle = 0; idle < IDLE_STEPS; ) idle = (await device.compactStep()) ? 0 : idle + 1;
}

/** Versions of a few other keys, so that most of these segments is dead. */
async function churn(fixture: DeviceFixture, device: LogDevice, rounds = 20): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      [0, 1, 2].map((number) => fixture.put(device, number, bytes(9_000, round + number))),
    );
  }
}

/** The first segment holds the key, and is needed for so much else that it is never rewritten. */
async function putInAFullSegment(fixture: DeviceFixture, device: LogDevice): Promise<void> {
  await fixture.put(device, KEY, bytes(3_000));
  for (let number = 20; number < 26; number++) await fixture.put(device, number, bytes(9_000));
  await churn(fixture, device, 3);
}

function listed(device: LogDevice): void {
  device.markListed(keyOf(KEY), newestTimestamp(device.stat(keyOf(KEY))!.state));
}

/** Started again without its index, which is made anew from the log. */
async function rebuilt(fixture: DeviceFixture, device: LogDevice): Promise<LogDevice> {
  await device.close();
  fixture.machine.disk.lose(INDEX);
  return fixture.open();
}

export const LOG_SCENARIOS: readonly LogScenario[] = [
  {
    name: 'a deletion outlasts what it deletes in the log',
    mutants: ['drop-a-tombstone-ignoring-since'],
    run: async (fixture, device) => {
      await putInAFullSegment(fixture, device);
      await fixture.remove(device, KEY);
      listed(device);
      // As when everybody has known of it for long.
      assert.ok(await device.forget(device.stat(keyOf(KEY))!));
      await churn(fixture, device);
      await compactAll(device);
      const again = await rebuilt(fixture, device);
      const kind = again.stat(keyOf(KEY))?.state.data?.kind;
      assert.notEqual(kind, 'live', 'a deleted version came back');
      await again.close();
    },
  },
  {
    name: 'what was forgotten stays forgotten while the log has it',
    mutants: ['drop-a-forget-record-ignoring-since'],
    run: async (fixture, device) => {
      await putInAFullSegment(fixture, device);
      listed(device);
      assert.ok(await device.forget(device.stat(keyOf(KEY))!));
      await churn(fixture, device);
      await compactAll(device);
      const again = await rebuilt(fixture, device);
      assert.equal(again.stat(keyOf(KEY)), undefined, 'a forgotten version came back');
      await again.close();
    },
  },
  {
    name: 'an index older than a compaction finds what was moved',
    mutants: ['keep-the-old-log-position-on-equal-state'],
    run: async (fixture, device) => {
      const { disk } = fixture.env;
      const body = bytes(3_000, 7);
      await fixture.put(device, KEY, body);
      // The first segment is full, then all of it but the key is written again; nothing else is rewritten.
      for (let number = 20; number < 26; number++) await fixture.put(device, number, bytes(9_000));
      for (let number = 30; number < 36; number++) await fixture.put(device, number, bytes(9_000));
      for (let number = 20; number < 26; number++) await fixture.put(device, number, bytes(9_000));
      await fixture.env.clock.sleep(FLUSHED_MS);
      const old = await disk.read(INDEX);
      await compactAll(device);
      assert.ok(!(await disk.list(`${FOLDER}/log`)).includes('00000001.seg'));
      await device.close();
      fixture.machine.disk.plant(INDEX, old);
      const again = await fixture.open();
      const entry = again.stat(keyOf(KEY));
      const found = entry && (await readAll(again, entry).catch(() => undefined));
      assert.ok(found?.equals(body), 'a body that was moved is not found');
      await again.close();
    },
  },
  {
    name: 'an index older than a reclaim brings nothing back',
    mutants: ['believe-an-index-of-before'],
    run: async (fixture, device) => {
      await fixture.put(device, KEY, bytes(3_000));
      await fixture.env.clock.sleep(FLUSHED_MS);
      const old = await fixture.env.disk.read(INDEX);
      await fixture.remove(device, KEY);
      listed(device);
      assert.ok(await device.forget(device.stat(keyOf(KEY))!));
      // What forgets it goes, too.
      for (let round = 0; round < 3; round++) {
        await churn(fixture, device);
        await compactAll(device);
      }
      await device.close();
      fixture.machine.disk.plant(INDEX, old);
      const again = await fixture.open();
      assert.equal(again.stat(keyOf(KEY)), undefined, 'a deleted version came back');
      await again.close();
    },
  },
  {
    name: 'a segment is needed until the index that does without it is durable',
    mutants: ['unlink-before-the-checkpoint'],
    run: async (fixture, device) => {
      await fixture.put(device, KEY, bytes(3_000));
      await device.checkpoint();
      // From now on somebody reads the index all the time, and no checkpoint is complete.
      const { disk } = fixture.machine;
      disk.settings = { ...disk.settings, checkpointBusyProbability: 1 };
      await fixture.remove(device, KEY);
      listed(device);
      const tombstone = device.stat(keyOf(KEY))!;
      for (let round = 0; round < 4; round++) {
        await churn(fixture, device);
        await compactAll(device);
        if (round === 1) assert.ok(await device.forget(tombstone));
      }
      fixture.machine.crash('lost');
      fixture.machine.restart();
      const again = await fixture.open();
      assert.ok(!again.opened.rebuilt, 'the index had to be made anew');
      const kind = again.stat(keyOf(KEY))?.state.data?.kind;
      assert.notEqual(kind, 'live', 'a deleted version came back');
      await again.close();
    },
  },
];
