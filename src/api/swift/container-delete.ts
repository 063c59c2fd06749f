/** DELETE of a container, which must be empty. */
import { authorize } from './access.ts';
import { refuse } from './errors.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';

export async function containerDelete(request: SwiftRequest): Promise<void> {
  await authorize(request, 'admin');
  const { service, containerName: name } = request;
  const outcome = await service.store.deleteContainer(request, name);
  if (outcome === 'not-empty') {
    throw refuse('conflict');
  }
  if (outcome === 'no-container') return replyNotFound(request);
  service.names?.deleted(name.container, name.account);
  replyEmpty(request, 204);
}
