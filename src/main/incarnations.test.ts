/** Which disk may take a device's place, when several have been there. */
import { beforeEach, expect, it } from 'vitest';
import { codeOf } from '#base/errors.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { IdleRows } from '#device/idle-rows.ts';
import { formatDevice, type LogDevice, openDevice } from '#device/open.ts';
import { DeviceFixture, IDENTITY } from '#device/testing/device-fixture.ts';
import { Incarnations } from './incarnations.ts';

const { clusterId, deviceId } = IDENTITY;
const RECORD = `/data/incarnations-${deviceId}`;
let fixture: DeviceFixture;
let register: Incarnations;

beforeEach(() => {
  fixture = new DeviceFixture();
  register = new Incarnations({ env: fixture.env, config: { data: '/data' } }, deviceId);
});

const run = (scenario: () => Promise<void>): Promise<void> => fixture.world.run(scenario());

/** A disk, at another place each, so that several can be there. */
async function format(disk: string): Promise<void> {
  await fixture.env.disk.mkdir('/data');
  await formatDevice(fixture.env, disk, { ...IDENTITY, genesis: false });
}

async function open(disk: string): Promise<LogDevice> {
  const { env } = fixture;
  const wallMicros = (): number => env.clock.wallMicros();
  const clock = new HybridClock({ workerId: 1, wallMicros, bound: 0, reserve: () => undefined });
  const openRows = (): IdleRows => new IdleRows();
  return openDevice(env, disk, { clusterId, deviceId, clock, openRows, register });
}

async function use(disk: string, what?: 'fill'): Promise<void> {
  const device = await open(disk);
  if (what === 'fill') await device.completeness.mark(0, 0, 8, true);
  await device.close();
}

it('refuses a disk whose place another has taken, which has counted', () =>
  run(async () => {
    await format('/first');
    await use('/first', 'fill');
    await format('/second');
    await use('/second', 'fill');
    await expect(open('/first')).rejects.toMatchObject({ code: 'device-former' });
    await use('/second');
  }));

it('lets a disk back in that was mounted late, where the blank folder below has not counted yet', () =>
  run(async () => {
    await format('/first');
    await use('/first', 'fill');
    await format('/below');
    await use('/below');
    await use('/first', 'fill');
  }));

it('has an incarnation on record before it counts', () =>
  run(async () => {
    await format('/first');
    const device = await open('/first');
    const action = { kind: 'error', code: 'ENOSPC' } as const;
    fixture.machine.disk.inject({
      operations: ['replace'],
      path: /incarnations/,
      action,
      times: 1,
    });
    expect(codeOf(await device.completeness.mark(0, 0, 8, true).catch((error) => error))).toBe(
      'ENOSPC',
    );
    expect(device.completeness.ranges(0)).toEqual([]);
    await device.completeness.mark(0, 0, 8, true);
    expect(device.completeness.ranges(0)).toEqual([{ from: 0, to: 8 }]);
    await device.close();
  }));

it('notes a device that counted before there was a record', () =>
  run(async () => {
    await format('/first');
    await use('/first', 'fill');
    await fixture.env.disk.unlink(RECORD);
    await use('/first');
    await format('/second');
    await use('/second', 'fill');
    await expect(open('/first')).rejects.toMatchObject({ code: 'device-former' });
  }));

it('refuses nobody by a record that can not be read', () =>
  run(async () => {
    await format('/first');
    await use('/first', 'fill');
    await fixture.env.disk.replace(RECORD, Buffer.from('{"format":'));
    await use('/first');
  }));
