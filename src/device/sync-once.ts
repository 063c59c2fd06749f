/**
 * A sync that failed leaves the bytes' durability unknown for ever: the kernel may have dropped the
 * dirty pages, and a second sync would report success. So its error is told apart from that of a write
 * (a full disk is full before the write, and can be recovered from): it takes the device out of service.
 */
import { OperatingError } from '#base/errors.ts';
import type { DiskFile } from '#env/env.ts';

export async function syncOnce(file: Pick<DiskFile, 'sync'>): Promise<void> {
  try {
    await file.sync();
  } catch (cause) {
    throw new OperatingError('sync-failed', 'a sync failed', {}, { cause });
  }
}
