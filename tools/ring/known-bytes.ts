/** What `--bytes-used` and `--bandwidth` say about the cluster that a plan is for. */
import { z } from 'zod';
import { wrongUse } from '#ring/builder/change-request.ts';
import { type KnownBytes, type LinkRate, namedBytes } from '#ring/builder/plan-view.ts';
import type { RingSet } from '#ring/builder/ring-set.ts';
import { readInputText } from '../input-file.ts';
import { parseSize } from './change-options.ts';

const tableSchema = z.record(z.string(), z.number().min(0));

/** Bytes in all, such as `3TB`, or a JSON file {"site/node/device": bytes}. */
export function storedBytes(
  option: string | undefined,
): number | Readonly<Record<string, number>> | undefined {
  if (option === undefined) return undefined;
  return parseSize(option) ?? tableIn(option);
}

/** @throws OperatingError `wrong-use` */
function tableIn(file: string): Readonly<Record<string, number>> {
  const text = readInputText(file);
  try {
    return tableSchema.parse(JSON.parse(text));
  } catch {
    throw wrongUse(`--bytes-used ${file}: expected {"site/node/device": bytes}`);
  }
}

/** Bytes per second between each two sites. */
export function linkBandwidth(option: string | undefined): number | undefined {
  if (option === undefined) return undefined;
  const rate = parseSize(option);
  if (rate === undefined || rate <= 0)
    throw wrongUse(`--bandwidth: "${option}" is not a size such as 100MB`);
  return rate;
}

export function knownBytes(set: RingSet, option: string | undefined): KnownBytes {
  const bytes = storedBytes(option);
  return typeof bytes === 'object' ? namedBytes(set.devices(), bytes) : bytes;
}

export function linkRate(option: string | undefined): LinkRate | undefined {
  const rate = linkBandwidth(option);
  return rate === undefined ? undefined : () => rate;
}
