/**
 * A container's quota, as its owner sets it in metadata (X-Container-Meta-Quota-Bytes, -Count). Totals
 * are those of the cached container, at most seconds old, so a quota is eventual: it stops a tenant,
 * it does not count the last byte.
 */
import { OperatingError } from '#base/errors.ts';
import type { ContainerInfo, PutRequest } from './contract.ts';

const BYTES = 'x-container-meta-quota-bytes';
const COUNT = 'x-container-meta-quota-count';

/** @throws OperatingError `quota-exceeded` */
export function checkQuota(container: ContainerInfo, request: PutRequest): void {
  const bytes = limitOf(container, BYTES);
  const count = limitOf(container, COUNT);
  if (bytes === undefined && count === undefined) return;
  const size = request.manifest?.size ?? request.length ?? 0;
  const overBytes = bytes !== undefined && container.bytes + size > bytes;
  const overCount = count !== undefined && container.objects + 1 > count;
  if (!overBytes && !overCount) return;
  throw new OperatingError('quota-exceeded', 'the upload exceeds the quota of the container');
}

/** What is no number limits nothing: it was never a quota. */
function limitOf({ headers }: ContainerInfo, name: string): number | undefined {
  const text = headers[name];
  return text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}
