/** Single flipped bits on a running device; 1,000 of them in flips.long.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { FlipExperiment } from './flips.ts';
import { LocalCluster } from './local-nodes.ts';

const SEED = Number(process.env['ANELLO_SEED'] ?? 1);

it(`flipped bits are mended, or in bytes that are proven dead; none is served (seed ${SEED})`, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-flips-'));
  const cluster = await LocalCluster.start(folder);
  try {
    const experiment = new FlipExperiment(cluster, SEED);
    await experiment.fill();
    for (let round = 0; round < 3; round++) await experiment.round(8);
    await experiment.readAll();
    const { flips, mended, dead } = experiment.tally;
    const sum = (counts: Record<string, number>): number =>
      Object.values(counts).reduce((a, b) => a + b, 0);
    expect(sum(flips)).toBe(24);
    expect(sum(mended) + sum(dead)).toBe(24);
    expect(sum(mended)).toBeGreaterThan(0);
  } finally {
    await cluster.close();
    rmSync(folder, { recursive: true });
  }
}, 60_000);
