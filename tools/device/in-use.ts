/**
 * Whether a running process has files of a folder open. Linux only (elsewhere: no answer). A device
 * has no lock, because exactly one process owns it; but a person at a terminal may forget to stop it.
 */
import { readdirSync, readlinkSync, realpathSync } from 'node:fs';

/** The process ids, ours excepted; those of other users are seen only by root. */
export function processesUsing(folder: string): number[] {
  const root = `${realpathSync(folder)}/`;
  const users: number[] = [];
  for (const name of listed('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    if (listed(`/proc/${pid}/fd`).some((fd) => target(`/proc/${pid}/fd/${fd}`).startsWith(root))) {
      users.push(pid);
    }
  }
  return users;
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // the process has ended, or is somebody else's
  }
}

function target(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return ''; // closed meanwhile
  }
}
