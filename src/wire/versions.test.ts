import { describe, expect, it } from 'vitest';
import { FLAG_SUMMED, FRAME } from './format.ts';
import { decodeHello, encodeHello, type Hello } from './hello.ts';
import { makeFrame, packed, ScriptedPeer, testHello } from './testing/scripted-peer.ts';
import { type NodeOptions, SimCluster, TEST_CLUSTER } from './testing/sim-cluster.ts';

const CALL = makeFrame(FRAME.call, packed(['who', 'tx', 1000, null]), { stream: 1 });

async function meet(hello: Partial<Hello>, options: NodeOptions = {}): Promise<ScriptedPeer> {
  const cluster = new SimCluster();
  const { world } = cluster;
  const endpoint = await cluster.start('a', 'here', options);
  endpoint.handle('who', (_args, { peer }) => ({ result: peer }));
  const { env } = world.machine('scripted');
  const peer = await world.run(ScriptedPeer.dial(env, 'a', TEST_CLUSTER, testHello(hello)));
  peer.sayHello();
  await world.runFor(5);
  if (peer.goodbye !== undefined) return peer;
  peer.prove();
  peer.send(CALL);
  await world.runFor(5);
  return peer;
}

describe('processes of different versions', () => {
  it.each([
    ['the last version and this one', { minVersion: 0, maxVersion: 1 }],
    ['this version and the next', { minVersion: 1, maxVersion: 2 }],
    ['many versions', { minVersion: 0, maxVersion: 9 }],
    ['features that this build does not know', { features: 0xffff_ffff }],
  ])('talk when one speaks %s', async (_what, hello) => {
    const peer = await meet(hello);
    const [reply] = peer.frames(FRAME.reply);
    expect(reply?.payload.equals(packed('scripted'))).toBe(true);
    expect(reply?.flags).toBe(FLAG_SUMMED);
  });

  it('talk when this build has learnt the next version', async () => {
    const peer = await meet({}, { versions: { min: 1, max: 2 } });
    expect(peer.frames(FRAME.reply)).toHaveLength(1);
    expect(decodeHello(peer.frames(FRAME.hello)[0]!.payload)).toMatchObject({
      minVersion: 1,
      maxVersion: 2,
    });
  });

  it.each([
    ['later', { minVersion: 2, maxVersion: 3 }],
    ['earlier', { minVersion: 0, maxVersion: 0 }],
  ])('part when one speaks only %s ones, each knowing the ranges', async (_what, hello) => {
    const peer = await meet(hello);
    expect(peer.goodbye?.code).toBe('no-common-version');
    expect(decodeHello(peer.frames(FRAME.hello)[0]!.payload)).toMatchObject({
      minVersion: 1,
      maxVersion: 1,
    });
  });

  it('read a HELLO to which a later version has added fields', () => {
    const hello = testHello();
    const longer = Buffer.concat([encodeHello(hello), Buffer.from('something new')]);
    expect(decodeHello(longer)).toEqual(hello);
  });
});
