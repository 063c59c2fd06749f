/** POST of a container: metadata and ACLs. */
import { authorize } from './access.ts';
import { containerChanges } from './container-headers.ts';
import { checkMerged, setsMetadata } from './metadata.ts';
import { replyEmpty, replyNotFound } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { settled, versioningChange, wantedVersioning } from './versions.ts';

export async function containerPost(request: SwiftRequest): Promise<void> {
  await authorize(request, 'admin');
  const { store, limits } = request.service;
  const name = request.containerName;
  let changes = containerChanges(request);
  const versioning = wantedVersioning(request);
  if (versioning !== undefined || setsMetadata(changes, 'container')) {
    const info = await store.containerInfo(request, name, true);
    if (info === undefined) return replyNotFound(request);
    checkMerged('container', info.headers, changes, limits);
    changes = { ...changes, ...versioningChange(versioning, info, info.mode) };
  }
  const outcome = await store.updateContainer(request, name, changes);
  if (outcome === 'no-container') return replyNotFound(request);
  if (versioning !== undefined) await settled(request);
  replyEmpty(request, 204);
}
