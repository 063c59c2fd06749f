import { describe, expect, it } from 'vitest';
import { TestClock } from '../testing/fixture.ts';
import { type Replicas, readQuorum, shortfall } from './context.ts';
import { Gathering } from './gathering.ts';

const target = (device: number) => ({ device, node: `n${device}` });
const settled = (...devices: number[]): Replicas => ({
  ringVersion: 1,
  members: devices.map(target),
  sets: [devices],
  joining: new Set(),
});
/** {0,1,2} becomes {0,1,3}. */
const joint: Replicas = {
  ringVersion: 2,
  members: [0, 1, 2, 3].map(target),
  sets: [
    [0, 1, 2],
    [0, 1, 3],
  ],
  joining: new Set([3]),
};

async function gather(
  replicas: Replicas,
  self: number,
  answers: Record<number, boolean | 'fails' | 'hangs'>,
) {
  const asked: number[] = [];
  const ask = async ({ device }: { device: number }): Promise<boolean> => {
    asked.push(device);
    const answer = answers[device];
    if (answer === 'hangs') await new Promise(() => undefined);
    if (answer === 'fails' || answer === undefined) throw new Error('down');
    return answer === true;
  };
  await new Gathering(
    new TestClock(),
    replicas,
    { device: self, complete: true },
    ask,
  ).untilEnough();
  return asked;
}

describe('a majority of replicas', () => {
  it('needs R answers, so that it meets any W', () => {
    expect([3, 4, 5, 7].map(readQuorum)).toEqual([2, 2, 3, 4]);
    expect(shortfall(settled(0, 1, 2, 3, 4), new Set([1]))).toBe(2);
    expect(shortfall(joint, new Set([0, 2]))).toBe(1);
    expect(shortfall(joint, new Set([0, 1]))).toBe(0);
  });

  it('asks no more peers than it needs, the nearest first', async () => {
    expect(await gather(settled(0, 1, 2), 0, { 1: true, 2: true })).toEqual([1]);
    expect(await gather(settled(0, 1, 2, 3, 4), 2, { 0: true, 1: true })).toEqual([0, 1]);
  });

  it('goes on to the next where one fails or is not complete', async () => {
    expect(await gather(settled(0, 1, 2), 0, { 1: 'fails', 2: true })).toEqual([1, 2]);
    expect(await gather(settled(0, 1, 2), 0, { 1: false, 2: true })).toEqual([1, 2]);
  });

  it('asks another one beside a peer that hangs', async () => {
    expect(await gather(settled(0, 1, 2), 0, { 1: 'hangs', 2: true })).toEqual([1, 2]);
  });

  it('is refused when it can not be had', async () => {
    const code = { code: 'unavailable' };
    await expect(gather(settled(0, 1, 2), 0, { 1: 'fails', 2: false })).rejects.toMatchObject(code);
  });

  it('is one of OLD and one of NEW while a ring change is under way', async () => {
    expect(await gather(joint, 0, { 1: true })).toEqual([1]);
    await expect(gather(joint, 0, { 1: 'fails', 2: true, 3: 'fails' })).rejects.toMatchObject({
      code: 'unavailable',
    });
  });

  it('counts a joining replica for NEW although it is not complete', async () => {
    expect(await gather(joint, 0, { 1: 'fails', 2: true, 3: false })).toEqual([1, 2, 3]);
  });
});
