/** The device's operating errors. Their codes are part of the interface; callers test nothing else. */
import { codeOf, type Facts, OperatingError } from '#base/errors.ts';
import type { DeviceStatus } from './contract.ts';

/** What a call gets from a device that cannot serve it in its present status. */
export function statusError(status: DeviceStatus, facts: Facts = {}): OperatingError {
  switch (status) {
    case 'full':
      return new OperatingError('device-full', 'the device has no room for this', facts);
    case 'read-only':
      return new OperatingError('device-read-only', 'the file system refuses writes', facts);
    case 'missing':
      return new OperatingError(
        'device-missing',
        'the folder is not the one that was opened',
        facts,
      );
    default:
      return new OperatingError('device-failed', 'the device is out of service', facts);
  }
}

export function damaged(what: string, facts: Facts = {}, cause?: unknown): OperatingError {
  return new OperatingError('damaged', what, facts, { cause });
}

/** The process has no descriptors or memory left: that says nothing of the file it asked for. */
export function isExhaustion(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(codeOf(error));
}

/** The status that an error of the file system puts the device in. */
export function statusOf(error: unknown): DeviceStatus {
  switch (codeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'SQLITE_FULL':
      return 'full';
    case 'EROFS':
    case 'SQLITE_READONLY':
      return 'read-only';
    case 'device-missing':
      return 'missing';
    default:
      return 'failed';
  }
}
