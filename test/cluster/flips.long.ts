/** 1,000 random single-bit flips in segments, blobs, index and rows of one running device. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { it } from 'vitest';
import { CLASSES, FlipExperiment, type FlipTally } from './flips.ts';
import { LocalCluster } from './local-nodes.ts';

const SEED = Number(process.env['ANELLO_SEED'] ?? 1);
const FLIPS = Number(process.env['ANELLO_FLIPS'] ?? 1_000);
const PER_ROUND = 10;

it(`${FLIPS} flipped bits: all mended or proven dead, none served (seed ${SEED})`, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-flips-'));
  const cluster = await LocalCluster.start(folder);
  const experiment = new FlipExperiment(cluster, SEED);
  try {
    await experiment.fill();
    for (let done = 0; done < FLIPS; done += PER_ROUND) {
      await experiment.round(Math.min(PER_ROUND, FLIPS - done));
      if (done % 100 === 0) await experiment.readAll();
    }
    await experiment.readAll();
  } finally {
    tell(experiment.tally);
    await cluster.close();
    rmSync(folder, { recursive: true });
  }
});

function tell({ flips, mended, dead, found, reads }: FlipTally): void {
  for (const kind of CLASSES)
    console.log(`${kind}: ${flips[kind]} flips, ${mended[kind]} mended, ${dead[kind]} proven dead`);
  console.log(`${found} damaged places counted, ${reads} objects read, no bad byte served`);
}
