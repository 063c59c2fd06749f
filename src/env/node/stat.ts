/** Node's stat as the interface has it. */
import type { BigIntStats } from 'node:fs';
import type { FileStat } from '../env.ts';

/**
 * The identity has the time of birth too: ext4 gives the inode number of a removed file to the next
 * one at once, so a wiped and recreated folder would look untouched by numbers alone.
 */
export function describeStat(stats: BigIntStats): FileStat {
  return {
    kind: stats.isFile() ? 'file' : stats.isDirectory() ? 'directory' : 'other',
    size: Number(stats.size),
    identity: `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`,
    fileSystem: String(stats.dev),
    modifiedMs: Number(stats.mtimeMs),
  };
}
