/** DELETE of an object; with `multipart-manifest=delete` of a large object's parts as well. */
import { authorize } from './access.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { sloDelete } from './slo-delete.ts';

export async function objectDelete(request: SwiftRequest): Promise<void> {
  await authorize(request, 'write');
  if (request.query.get('multipart-manifest') === 'delete') return await sloDelete(request);
  const outcome = await request.service.store.deleteObject(request, request.objectName);
  if (outcome !== 'deleted') return replyNotFound(request);
  replyEmpty(request, 204);
}
