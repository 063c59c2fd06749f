/** When the auditor of a node's devices makes its next step. */
import { describe, expect, it } from 'vitest';
import type { Device } from '#device/contract.ts';
import { SimWorld } from '#env/sim/world.ts';
import { Auditor } from './auditor.ts';

const { signal } = new AbortController();

function setUp(status: Device['status'] = 'ok') {
  const { env } = new SimWorld({ seed: 1 }).machine('node');
  const facts = { totalBytes: 1e9, readBytes: 0, cycles: 0, startedMs: 0, found: 0, orphans: 0 };
  const audit = {
    facts: () => ({ ...facts, suspects: 0 }),
    restart: async () => undefined,
    step: async () => ({ bytes: 1000, cycleDone: false }),
  };
  const device = { id: 7, status, audit } as unknown as Device;
  const devices = new Map([[7, device]]);
  return { devices, auditor: new Auditor(env, () => devices) };
}

describe('the auditor of a node', () => {
  it('makes step after step where a cycle was asked for', async () => {
    const { auditor } = setUp();
    auditor.run(undefined);
    expect(await auditor.step(signal)).toEqual({ kind: 'more' });
  });

  it('of a device that is away waits until that is back', async () => {
    const { auditor, devices } = setUp();
    await auditor.step(signal);
    const [device] = devices.values();
    devices.clear();
    auditor.run(undefined);
    expect(await auditor.step(signal)).toEqual({ kind: 'idle', waitMs: 500 });
    devices.set(7, device!);
    expect(await auditor.step(signal)).toEqual({ kind: 'more' });
  });

  it('of a device that is out of service looks at it now and then', async () => {
    const { auditor } = setUp('failed');
    auditor.run(undefined);
    expect(await auditor.step(signal)).toEqual({ kind: 'idle', waitMs: 5_000 });
  });
});
