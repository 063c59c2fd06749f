/** The expirer on one device: what it frees, and when. */
import { describe, expect, it } from 'vitest';
import { bytes, keyOf, withDevice } from '#device/testing/device-fixture.ts';
import { createExpirer } from './expirer.ts';
import type { Relister } from './relister.ts';

const OVER = { isOver: async () => true };
const RELISTER = { relist: async () => 'listed' } as unknown as Relister;

describe('the expirer', () => {
  it('frees what has expired on a full disk too: that is what makes room', () =>
    withDevice(
      async (fixture, device) => {
        const { disk } = fixture.machine;
        const deleteAt = Math.floor(fixture.env.clock.wallMicros() / 1e6) + 60;
        for (let n = 0; n < 4; n++) {
          await fixture.putStaged(device, n, bytes(300_000), fixture.live(300_000, { deleteAt }));
        }
        disk.settings = { ...disk.settings, capacityBytes: disk.usedBytes + 150_000 };
        await fixture.env.clock.sleep(120_000);
        expect(device.status).toBe('full');
        const devices = new Map([[device.id, device]]);
        const expirer = createExpirer(fixture.env, () => devices, RELISTER, OVER, {
          graceSeconds: 0,
        });
        await expirer.step(new AbortController().signal);
        expect(device.stat(keyOf(0))!.state.data?.kind).toBe('expired');
        for (let i = 0; i < 5; i++) await device.checkpoint();
        await fixture.env.clock.sleep(3_000);
        expect(device.status).toBe('ok');
        await device.close();
      },
      { limits: { reserveBytes: 200_000 } },
    ));
});
