/** For which rings a device that was there before them is complete. */
import { expect, it } from 'vitest';
import { type DeviceFixture, FOLDER, keyOf, withDevice } from '#device/testing/device-fixture.ts';
import { NO_FORMER } from '#ring/fields.ts';
import { Ring } from '#ring/ring.ts';
import { markGenesis } from './genesis.ts';

const DEVICE = { id: 7, node: 'n1', name: 'd7', site: 's', zone: 'z', weight: 1 };

function partsOf(fixture: DeviceFixture): Parameters<typeof markGenesis>[0] {
  const columns = [Uint16Array.of(7)];
  const devices = [...Array<undefined>(7), DEVICE];
  const fields = { policy: 0, version: 1, partPower: 0, copies: 1, former: NO_FORMER };
  const ring = new Ring({ ...fields, columns, devices } as never);
  const cluster = { current: () => ({ rings: new Map([[0, ring]]) }) };
  return { env: fixture.env, config: { data: FOLDER }, cluster } as never;
}

it('is not complete again for what it has lost, though its file could not be written', () =>
  withDevice(async (fixture, device) => {
    const parts = partsOf(fixture);
    const action = { kind: 'error', code: 'ENOSPC' } as const;
    fixture.machine.disk.inject({ operations: ['replace'], path: /genesis/, action, times: 1 });
    await expect(markGenesis(parts, device)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(device.completeness.isComplete(0, keyOf(1).hash)).toBe(true);
    await device.completeness.lose(undefined);
    await device.close();
    const again = await fixture.open();
    await markGenesis(parts, again, 'opened');
    expect(again.completeness.isComplete(0, keyOf(1).hash)).toBe(false);
    await again.close();
  }));
