/** What `--bytes-used` and `--bandwidth` say about the cluster that a plan is for. */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { wrongUse } from '#ring/builder/change-request.ts';
import type { KnownBytes, LinkRate } from '#ring/builder/plan-view.ts';
import type { BytesOnDevice } from '#ring/builder/report.ts';
import type { RingSet } from '#ring/builder/ring-set.ts';
import { parseSize } from './change-options.ts';
import { inFile } from './folder.ts';

/** Bytes in all, such as `3TB`, or a JSON file {"site/node/device": bytes}. */
export function knownBytes(set: RingSet, option: string | undefined): KnownBytes {
  if (option === undefined) return undefined;
  return parseSize(option) ?? bytesFromFile(set, option);
}

function bytesFromFile(set: RingSet, file: string): BytesOnDevice {
  const table = inFile(file, (bytes) => {
    try {
      return z.record(z.string(), z.number().min(0)).parse(JSON.parse(bytes.toString('utf8')));
    } catch (cause) {
      throw new OperatingError('malformed', 'expected {"site/node/device": bytes}', {}, { cause });
    }
  });
  const names = new Map(
    set.devices().map(({ id, site, node, name }) => [id, `${site}/${node}/${name}`]),
  );
  return (id) => table[names.get(id) ?? ''] ?? table[String(id)] ?? 0;
}

/** One rate for all pairs of sites. */
export function linkRate(option: string | undefined): LinkRate | undefined {
  if (option === undefined) return undefined;
  const rate = parseSize(option);
  if (rate === undefined || rate <= 0)
    throw wrongUse(`--bandwidth: "${option}" is not a size such as 100MB`);
  return () => rate;
}
