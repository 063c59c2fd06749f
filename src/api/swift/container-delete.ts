/** DELETE of a container, which must be empty. */
import { authorize } from './access.ts';
import { refuse } from './errors.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function containerDelete(request: SwiftRequest): Promise<void> {
  await authorize(request, 'admin');
  const outcome = await request.service.store.deleteContainer(request, request.containerName);
  if (outcome === 'not-empty') {
    throw refuse('conflict');
  }
  if (outcome === 'no-container') return replyNotFound(request);
  replyEmpty(request, 204);
}
