/** One supervisor per data folder: a lock file with the pid of the one that runs. */
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { codeOf, OperatingError } from '#base/errors.ts';

/** @returns how to release it. @throws OperatingError `in-use` */
export function lockFolder(file: string): () => void {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      const fd = openSync(file, 'wx', 0o644);
      writeSync(fd, `${process.pid}\n`);
      closeSync(fd);
      return () => unlinkSync(file);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      removeStale(file);
    }
  }
  throw new OperatingError('in-use', `${file}: another process took it meanwhile`);
}

function removeStale(file: string): void {
  const pid = Number(readFileSync(file, 'utf8'));
  if (Number.isInteger(pid) && pid > 0 && isAlive(pid)) {
    throw new OperatingError(
      'in-use',
      `a cluster already runs on this data folder (pid ${pid}): stop it, or choose another --data`,
      {
        pid,
      },
    );
  }
  unlinkSync(file);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}
