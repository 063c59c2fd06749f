/** PUT of a container: creates it, or changes the metadata of one that is there. */
import type { PolicyIndex } from '#base/names.ts';
import type { ConsistencyMode } from '#ring/cluster.ts';
import { authorize } from './access.ts';
import { checkContainerName, containerChanges } from './container-headers.ts';
import { refuse } from './errors.ts';
import { checkMerged, setsMetadata } from './metadata.ts';
import { replyAccepted, replyEmpty } from './reply.ts';
import type { SwiftRequest } from './request.ts';
import { settled, versioningChange, wantedVersioning } from './versions.ts';

export async function containerPut(request: SwiftRequest): Promise<void> {
  await authorize(request, 'admin');
  const name = request.containerName;
  checkContainerName(request, name.container);
  const policy = wantedPolicy(request);
  let changes = containerChanges(request);
  const versioning = wantedVersioning(request);
  const { store, limits } = request.service;
  if (versioning !== undefined || setsMetadata(changes, 'container')) {
    const info = await store.containerInfo(request, name, true);
    checkMerged('container', info?.headers ?? {}, changes, limits);
    const mode = info?.mode ?? modeOf(request, policy);
    changes = { ...changes, ...versioningChange(versioning, info, mode) };
  }
  const outcome = await store.createContainer(request, name, { policy, changes });
  if (outcome === 'policy-conflict') throw refuse('conflict');
  if (outcome === 'created') {
    request.service.names?.created(name.container, name.account);
    return replyEmpty(request, 201);
  }
  if (versioning !== undefined) await settled(request);
  replyAccepted(request);
}

/** Of a container that is made now. */
function modeOf(request: SwiftRequest, wanted: PolicyIndex | undefined): ConsistencyMode {
  const policies = request.service.store.policies();
  const policy = policies.find(({ index, isDefault }) =>
    wanted === undefined ? isDefault : index === wanted,
  );
  return policy?.mode ?? 'strict';
}

/** By name, without regard to case. @throws Refusal 400 for one that there is not */
function wantedPolicy(request: SwiftRequest): PolicyIndex | undefined {
  const wanted = request.text('x-storage-policy');
  if (wanted === undefined || wanted === '') return undefined;
  const policies = request.service.store.policies();
  const found = policies.find((policy) => policy.name.toLowerCase() === wanted.toLowerCase());
  if (found === undefined) throw refuse('bad-request', `Invalid X-Storage-Policy '${wanted}'`);
  return found.index;
}
