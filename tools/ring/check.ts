/** `anello ring check`: are builders and published rings readable, in step, and well placed? */
import { existsSync } from 'node:fs';
import { messageOf } from '#base/errors.ts';
import type { RingBuilder } from '#ring/builder/builder.ts';
import type { Quality } from '#ring/builder/quality.ts';
import { liveDevices } from '#ring/builder/state.ts';
import { decodeRingFile } from '#ring/ring-file.ts';
import { inFile, loadSet, ringFilePath } from './folder.ts';

export interface FolderCheck {
  readonly rings: readonly { readonly ring: string; readonly quality: Quality }[];
  readonly problems: readonly string[];
}

export function checkFolder(folder: string): FolderCheck {
  const set = loadSet(folder);
  const problems: string[] = [];
  const rings = [];
  for (const [ring, builder] of set.builders) {
    problems.push(...publishedProblems(ringFilePath(folder, ring), builder));
    problems.push(...placementProblems(builder).map((problem) => `${ring}: ${problem}`));
    rings.push({ ring, quality: builder.quality() });
  }
  return { rings, problems };
}

function publishedProblems(file: string, builder: RingBuilder): string[] {
  if (!existsSync(file)) return [`${file} is missing`];
  try {
    const ring = inFile(file, (bytes) => decodeRingFile(bytes));
    return ring.encode().equals(builder.toRing().encode())
      ? []
      : [`${file} is not the builder's ring`];
  } catch (error) {
    return [messageOf(error)];
  }
}

function placementProblems({ state }: RingBuilder): string[] {
  const problems: string[] = [];
  const { replicas } = state.settings;
  const live = liveDevices(state.devices);
  if (live < replicas) problems.push(`${replicas} replicas, but ${live} devices with a weight`);
  const drained = state.devices.filter((device) => device?.weight === 0);
  for (const device of drained) {
    const held = state.columns.reduce(
      (sum, column) => sum + column.filter((id) => id === device!.id).length,
      0,
    );
    if (held > 0)
      problems.push(
        `device ${device!.id} has weight 0 and still holds ${held} replicas: rebalance again`,
      );
  }
  return problems;
}
