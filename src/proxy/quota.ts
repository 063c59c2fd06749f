/**
 * Quotas: of a container as its owner sets them in metadata (X-Container-Meta-Quota-Bytes, -Count), of an
 * account as a reseller admin does (X-Account-Meta-Quota-Bytes, -Count). An account's totals are seconds
 * old, so its quota is eventual: it stops a tenant, it does not count the last byte. A container with a
 * quota is asked for its totals at each write; only writes at the same moment don't see each other.
 */
import { OperatingError } from '#base/errors.ts';
import type { PutRequest } from './contract.ts';

/** What is limited, with what it holds. */
export interface Limited {
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: number;
  readonly objects: number;
  /** Bytes of uploads under way, which become objects when they are complete. */
  readonly underWay?: number;
}

export function hasQuota(
  kind: 'account' | 'container',
  { headers }: Pick<Limited, 'headers'>,
): boolean {
  return ['bytes', 'count'].some((what) => headers[`x-${kind}-meta-quota-${what}`] !== undefined);
}

/** @throws OperatingError `quota-exceeded` */
export function checkQuota(
  kind: 'account' | 'container',
  limited: Limited,
  request: PutRequest,
): void {
  const bytes = limitOf(limited, `x-${kind}-meta-quota-bytes`);
  const count = limitOf(limited, `x-${kind}-meta-quota-count`);
  if (bytes === undefined && count === undefined) return;
  const size = request.manifest?.size ?? request.length ?? 0;
  // An upload that is completed is among those under way.
  const isWhole = request.manifest?.kind === 'multipart';
  const held = limited.bytes + (isWhole ? 0 : (limited.underWay ?? 0));
  const overBytes = bytes !== undefined && held + size > bytes;
  const overCount = count !== undefined && limited.objects + 1 > count;
  if (!overBytes && !overCount) return;
  throw new OperatingError('quota-exceeded', `the upload exceeds the quota of the ${kind}`);
}

/** What is no number limits nothing: it was never a quota. */
function limitOf({ headers }: Limited, name: string): number | undefined {
  const text = headers[name];
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}
