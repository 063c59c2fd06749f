/** What earlier code has written stays readable, byte for byte, and what is damaged stays damaged. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeState } from '#base/entry-codec.ts';
import { codeOf } from '#base/errors.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { DeviceCheck } from './check.ts';
import { DeviceInspector } from './inspect.ts';
import type { LogDevice } from './open.ts';
import { bytes, DeviceFixture, FOLDER, keyOf, readAll } from './testing/device-fixture.ts';
import { expectBytes } from './testing/expect-bytes.ts';

const GOLDEN = path.resolve(import.meta.dirname, '../../test/golden/device/v1');
const LAST = `${FOLDER}/log/00000002.seg`;

interface Expected {
  readonly entries: readonly { path: string; state: string; unlisted: boolean; hasBody: boolean }[];
  readonly digest: string;
  readonly complete: readonly { from: number; to: number }[];
  readonly row: string;
}
const expected = JSON.parse(readFileSync(path.join(GOLDEN, 'expected.json'), 'utf8')) as Expected;

async function withGolden(
  scenario: (fixture: DeviceFixture) => Promise<void>,
  lastSegment?: string,
): Promise<void> {
  const fixture = new DeviceFixture('golden', { inlineLimit: 2000, stageMemory: 0 });
  const whole = async (): Promise<void> => {
    await plant(fixture, path.join(GOLDEN, 'device'), FOLDER);
    if (lastSegment !== undefined) {
      const bad = readFileSync(path.join(GOLDEN, `00000002-${lastSegment}.seg`));
      fixture.machine.disk.plant(LAST, bad);
    }
    await scenario(fixture);
  };
  await fixture.world.run(whole());
}

async function plant(fixture: DeviceFixture, from: string, to: string): Promise<void> {
  await fixture.env.disk.mkdir(to);
  for (const name of readdirSync(from)) {
    const file = path.join(from, name);
    if (statSync(file).isDirectory()) await plant(fixture, file, `${to}/${name}`);
    else fixture.machine.disk.plant(`${to}/${name}`, readFileSync(file));
  }
}

function describeEntries(device: LogDevice): Expected['entries'] {
  return device.entries(0, Buffer.alloc(16), undefined, 100).map((entry) => ({
    path: entry.path,
    state: encodeState(entry.state).toString('hex'),
    unlisted: entry.unlisted,
    hasBody: entry.hasBody,
  }));
}

describe('the golden device of version 1', () => {
  it('is read completely: entries, bodies, rows, promises, completeness, digests', () =>
    withGolden(async (fixture) => {
      const device = await fixture.open();
      expect(device.opened).toMatchObject({ rebuilt: true, tailCut: false, damaged: 0 });
      expect(describeEntries(device)).toEqual(expected.entries);
      expectBytes(await readAll(device, device.stat(keyOf(1))!), bytes(1500, 1));
      expectBytes(await readAll(device, device.stat(keyOf(3))!), bytes(70_000, 3));
      expect(device.completeness.ranges(0)).toEqual(expected.complete);
      expect(device.digests.summarise(0, 0, 1 << 20, 1)[0]!.sum.toString('hex')).toBe(
        expected.digest,
      );
      const row = fixture.rows.get({ key: keyOf(7, CONTAINER_RING), name: 'öbject 1' });
      expect(encodeState(row!).toString('hex')).toBe(expected.row);
      const late = await fixture.put(device, 6, bytes(1), fixture.live(1));
      expect(late.kind).toBe('use-rounds');
      await device.close();
    }));

  it('passes the offline check', () =>
    withGolden(async (fixture) => {
      const inspector = await DeviceInspector.open(fixture.env.disk, FOLDER);
      const report = await new DeviceCheck(inspector).run();
      expect(report).toMatchObject({
        segments: 2,
        clean: true,
        blobs: 1,
        orphans: 0,
        problems: [],
      });
      expect(report.records).toMatchObject({
        blob: 1,
        forget: 1,
        promise: 1,
        row: 1,
        tombstone: 1,
      });
      await inspector.close();
    }));
});

describe('golden damage of version 1', () => {
  const open = async (fixture: DeviceFixture, name: string): Promise<LogDevice> => {
    const device = await fixture.open();
    const inspector = await DeviceInspector.open(fixture.env.disk, FOLDER);
    expect(device.id, name).toBe(7);
    await inspector.close();
    return device;
  };

  it('an unfinished last batch is cut off: it was never acknowledged', () =>
    withGolden(async (fixture) => {
      const device = await open(fixture, 'torn');
      expect(device.opened).toMatchObject({ tailCut: false, damaged: 0 });
      expect(device.stat(keyOf(9))).toBeUndefined();
      await device.close();
    }, 'torn'));

  it('a flipped byte in a body costs that body', () =>
    withGolden(async (fixture) => {
      const device = await open(fixture, 'flipped-body');
      expect(device.opened).toMatchObject({ tailCut: false, damaged: 1 });
      expect(device.stat(keyOf(9))).toMatchObject({ hasBody: false });
      await device.close();
    }, 'flipped-body'));

  async function expectProblems(fixture: DeviceFixture): Promise<void> {
    const inspector = await DeviceInspector.open(fixture.env.disk, FOLDER);
    const report = await new DeviceCheck(inspector).run();
    expect(report.problems.length).toBeGreaterThan(0);
    await inspector.close();
  }

  it('a flipped head costs one record and the completeness', () =>
    withGolden(async (fixture) => {
      await expectProblems(fixture);
      const device = await open(fixture, 'flipped-head');
      expect(device.opened).toMatchObject({ tailCut: false, damaged: 1 });
      expect(describeEntries(device)).toHaveLength(expected.entries.length - 1);
      expect(device.completeness.ranges(0)).toEqual([]);
      await device.close();
    }, 'flipped-head'));

  it('a flipped batch header costs nothing', () =>
    withGolden(async (fixture) => {
      await expectProblems(fixture);
      const device = await open(fixture, 'flipped-batch');
      expect(device.opened).toMatchObject({ tailCut: false, damaged: 0 });
      expect(describeEntries(device)).toHaveLength(expected.entries.length);
      await device.close();
    }, 'flipped-batch'));

  it('a newer format is refused', () =>
    withGolden(async (fixture) => {
      expect(await fixture.open().then(() => 'open', codeOf)).toBe('newer-format');
    }, 'newer'));
});
