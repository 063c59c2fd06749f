/**
 * Versions of objects: X-Versions-Enabled on a container, `version-id` on its objects, `versions` on
 * its listing. They are the same that S3's API shows (src/proxy/versions), under the same ids.
 */
import type { EntryState } from '#base/entry.ts';
import type { ContainerInfo, VersionedName } from '#proxy/contract.ts';
import { VERSIONING_HEADER, type Versioning, versioningOf } from '#proxy/versions/contract.ts';
import { locksObjects } from '#proxy/versions/lock.ts';
import { NULL_VERSION } from '#proxy/versions/names.ts';
import { refuse } from './errors.ts';
import { isFalse, isTrue } from './query.ts';
import type { SwiftRequest } from './request.ts';

const ENABLED_HEADER = 'x-versions-enabled';

/** The request's object, or the version of it that it names. @throws Refusal 400 */
export async function wantedVersion(request: SwiftRequest): Promise<VersionedName> {
  const name = request.objectName;
  const version = request.query.get('version-id');
  if (version === undefined || version === '') return name;
  if (!/^[A-Za-z0-9._-]{1,1024}$/.test(version)) {
    throw refuse('bad-request', 'Invalid version parameter');
  }
  if (version !== NULL_VERSION) await expectVersions(request);
  return { ...name, version };
}

async function expectVersions(request: SwiftRequest): Promise<void> {
  const { store } = request.service;
  const info = await store.containerInfo(request, request.containerName, false);
  if (info === undefined) throw refuse('not-found');
  if (versioningOf(info) !== undefined) return;
  const what = 'version-aware operations require that the container is versioned';
  throw refuse('bad-request', what);
}

/** A delete marker is found as a version, but there is nothing in it. */
export function isMarker(state: EntryState): boolean {
  return state.data?.deleteMarker === true;
}

/** Of an answer; nothing where the container has never kept versions. */
export function versionHeaders(id: string | undefined): string[] {
  return id === undefined ? [] : ['X-Object-Version-Id', id];
}

export function versioningHeaders(info: ContainerInfo): string[] {
  const versioning = versioningOf(info);
  if (versioning === undefined) return [];
  return ['X-Versions-Enabled', versioning === 'Enabled' ? 'True' : 'False'];
}

/** What X-Versions-Enabled asks for; undefined: nothing. @throws Refusal 400 */
export function wantedVersioning(request: SwiftRequest): Versioning | undefined {
  const text = request.header(ENABLED_HEADER);
  if (text === undefined || text === '') return undefined;
  if (isTrue(text)) return 'Enabled';
  if (isFalse(text)) return 'Suspended';
  throw refuse('bad-request', 'X-Versions-Enabled must be true or false');
}

/**
 * The container's change of state; `info` as it is now, undefined for one that is being made. Once
 * kept, versions stay: `false` only stops making new ones.
 * @throws Refusal 400 where versions can't be kept, 409 where they must be
 */
export function versioningChange(
  wanted: Versioning | undefined,
  info: Pick<ContainerInfo, 'headers'> | undefined,
  mode: ContainerInfo['mode'],
): Readonly<Record<string, string>> {
  if (wanted === undefined) return {};
  const current = info && versioningOf(info);
  if (wanted === 'Suspended' && current === undefined) return {};
  if (wanted === 'Suspended' && info !== undefined && locksObjects(info)) {
    throw refuse('conflict', 'The container locks objects: it must keep versions');
  }
  if (mode !== 'strict') {
    throw refuse('bad-request', 'Only strict containers keep versions');
  }
  return { [VERSIONING_HEADER]: wanted };
}

/** A write that still went by the old setting would be one without a version: answered when none does. */
export async function settled(request: SwiftRequest): Promise<void> {
  const { env, limits } = request.service;
  await env.clock.sleep(limits.versioningSettleMs, request.signal);
}
