/** The newest of the bundles that nodes keep on disk. */
import { createPublicKey, verify } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { Backup } from '#authority/backup-format.ts';
import { decodeBundle } from '#authority/bundle.ts';
import { clusterRecord, KEYS } from '#authority/records.ts';
import { messageOf, OperatingError } from '#base/errors.ts';
import type { ClusterView } from '#ring/cluster.ts';

/** One that this cluster's authority did not sign is an error: it must not be taken for the newest. */
export function newestBundle(files: readonly string[], backup: Backup): ClusterView | undefined {
  const record = backup.items.find(([key]) => key === KEYS.cluster);
  if (record === undefined) return undefined;
  const key = createPublicKey(clusterRecord.decode(record[1]).signingKey);
  let newest: ClusterView | undefined;
  for (const file of files) {
    if (!existsSync(file)) continue;
    try {
      const view = decodeBundle(readFileSync(file), (bytes, sign) =>
        verify(null, bytes, key, sign),
      );
      if (newest === undefined || view.version > newest.version) newest = view;
    } catch (cause) {
      const why = `${file} is no bundle of this cluster: ${messageOf(cause)}`;
      throw new OperatingError('bad-bundle', why, {}, { cause });
    }
  }
  return newest;
}
