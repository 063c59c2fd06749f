/** Whether there is disk for a test that needs much of it; says so when there is not. */
import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';

export function hasRoom(bytes: number, what: string): boolean {
  const { bavail, bsize } = statfsSync(tmpdir());
  if (bavail * bsize >= bytes) return true;
  const [free, needed] = [bavail * bsize, bytes].map((each) => Math.floor(each / 1e9));
  console.warn(`${tmpdir()} has ${free} GB free, ${needed} GB are needed: ${what} is skipped`);
  return false;
}
