/**
 * DELETE ?multipart-manifest=delete: the parts of a static large object, those of manifests within
 * it, and the manifest last, so that a request that breaks off can be made again. With `version-id`
 * it is that version of the manifest, and what it names: the current one may have other parts.
 */
import { codeOf } from '#base/errors.ts';
import type { VersionedName } from '#proxy/contract.ts';
import { type ManifestPart, manifestKind, parsePath, readManifest } from '#proxy/manifest.ts';
import { reportDeletions } from './bulk-delete.ts';
import { problem } from './bulk-report.ts';
import { type Doomed, deleteAll, type Tally } from './deletions.ts';
import { refuse } from './errors.ts';
import type { SwiftRequest } from './request.ts';
import { pathInAccount } from './slo-manifest.ts';
import { isMarker, wantedVersion } from './versions.ts';

const MAX_DOOMED = 100_000;

export async function sloDelete(request: SwiftRequest): Promise<void> {
  const manifest = await wantedVersion(request);
  await reportDeletions(request, async (tally) => {
    const doomed = new Map<string, Doomed>();
    const found = await gather(request, manifest, doomed, tally, 1);
    if (!found) return;
    await deleteAll(request, [...doomed.values()], tally);
    if (tally.problems.length === 0) await deleteAll(request, [manifest], tally);
  });
}

/** False: there is nothing to delete under this name, and the tally says why. */
async function gather(
  request: SwiftRequest,
  name: VersionedName,
  doomed: Map<string, Doomed>,
  tally: Tally,
  depth: number,
): Promise<boolean> {
  const path = `/${name.container}/${name.object}`;
  const reader = await request.service.store.openObject(request, name);
  if (reader === undefined || isMarker(reader.state)) {
    tally.notFound += 1;
    return false;
  }
  const kind = manifestKind(reader.state);
  if (kind === undefined || kind === 'dynamic') {
    tally.problems.push(problem(path, 'Not an SLO manifest'));
    return false;
  }
  if (depth > request.service.limits.maxManifestDepth) throw refuse('conflict');
  const { parts } = await manifestParts(reader);
  for (const part of parts) await gatherPart(request, part, doomed, tally, depth);
  return true;
}

async function gatherPart(
  request: SwiftRequest,
  part: ManifestPart,
  doomed: Map<string, Doomed>,
  tally: Tally,
  depth: number,
): Promise<void> {
  const name = parsePath(part.path);
  // Only what is in this account: a manifest is no way to delete what is elsewhere.
  if (name === undefined || name.account !== request.account) return;
  const key = pathInAccount(part.path);
  // Marked before it is opened: manifests may name each other.
  if (doomed.has(key)) return;
  if (doomed.size >= MAX_DOOMED) throw refuse('conflict', 'The manifest has too many parts');
  doomed.set(key, { container: name.container, object: name.object });
  if (part.nested === true) await gather(request, name, doomed, tally, depth + 1);
}

async function manifestParts(
  reader: Parameters<typeof readManifest>[0],
): ReturnType<typeof readManifest> {
  try {
    return await readManifest(reader);
  } catch (error) {
    throw codeOf(error) === 'malformed' ? refuse('conflict', 'The manifest is damaged') : error;
  }
}
