/** HEAD of a container: its totals, policy and metadata. */
import { authorize } from './access.ts';
import { containerHeaders } from './container-headers.ts';
import { listingType } from './listing-query.ts';
import { reply, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function containerHead(request: SwiftRequest): Promise<void> {
  await authorize(request, 'list');
  const type = listingType(request);
  const info = await request.service.store.containerInfo(request, request.containerName, true);
  if (info === undefined) return replyNotFound(request);
  const headers = containerHeaders(request, info);
  headers.push('Content-Type', `${type}; charset=utf-8`);
  reply(request, 204, headers);
}
