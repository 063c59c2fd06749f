/** A removed device: what it still holds is not taken, however old the ring that it comes back with. */
import { describe, expect, it } from 'vitest';
import { ReclaimCluster } from './testing/reclaim-cluster.ts';

const SITES = ['lngs', 'bari', 'padova', 'turin'];
const PRIMARIES = SITES.slice(0, 3);
const AGE_SECONDS = 60;
/** Age, margin (as long), two rounds and a look. */
const RECLAIMED_MS = 4 * 60_000;
const NOWHERE = PRIMARIES.map(() => undefined);

/** turin has a stand-in's copy of what is deleted everywhere else, and reclaimed. */
async function comesBack(): Promise<ReclaimCluster> {
  const options = { sites: SITES, mode: 'available' } as const;
  const reclaim = await ReclaimCluster.start({ ageSeconds: AGE_SECONDS, ...options });
  const { cluster } = reclaim;
  await reclaim.pass(5_000);
  cluster.kill('bari');
  cluster.kill('padova');
  await reclaim.put('x');
  expect(reclaim.kinds('x', ['turin'])).toEqual(['live']);
  cluster.kill('turin');
  for (const node of ['bari', 'padova']) await reclaim.restart(node);
  await reclaim.remove('x');
  cluster.publishRings(2, { except: 'turin', without: 'turin' });
  await reclaim.pass(RECLAIMED_MS);
  expect(reclaim.kinds('x', PRIMARIES)).toEqual(NOWHERE);
  await cluster.restart('turin');
  expect(reclaim.kinds('x', ['turin'])).toEqual(['live']);
  return reclaim;
}

describe('a removed device', () => {
  it('brings nothing back, though its own ring still names it', async () => {
    const reclaim = await comesBack();
    await reclaim.pass(120_000);
    expect(reclaim.kinds('x', PRIMARIES)).toEqual(NOWHERE);
  });

  it('keeps to itself what it holds once it knows that it was removed', async () => {
    const reclaim = await comesBack();
    const { cluster } = reclaim;
    cluster.publishRings(2, { without: 'turin' });
    const job = cluster.node('turin').jobs.find(({ name }) => name === 'object.handover')!;
    await reclaim.pass(60_000);
    expect(job.facts?.()).toMatchObject({ held: 0, dropped: 0 });
    expect(reclaim.kinds('x', ['turin'])).toEqual(['live']);
  });
});
