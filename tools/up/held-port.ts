/**
 * A port that stays bound while the process that serves on it is started anew: the supervisor holds the
 * socket and accepts nothing itself, each process inherits it. Clients that connect in between wait in
 * the kernel's queue for the next process instead of being refused.
 */
import net from 'node:net';
import { OperatingError } from '#base/errors.ts';

export interface HeldPort {
  readonly fd: number;
  close(): void;
}

/** What node:cluster's primary uses for the same purpose: binds, and does not listen yet. */
interface HandleMaker {
  _createServerHandle(host: string, port: number, family: 4 | 6): Handle | number;
}

interface Handle {
  readonly fd: number;
  close(): void;
}

/** @throws OperatingError `port-taken` */
export function holdPort(host: string, port: number): HeldPort {
  const handle = (net as unknown as HandleMaker)._createServerHandle(host, port, 4);
  if (typeof handle !== 'number') return handle;
  throw new OperatingError('port-taken', `cannot listen on ${host}:${port}`, { host, port });
}
