/** The state that a PUT writes: what the request says, what its body turned out to be, and a timestamp. */
import type { EntryState, Group } from '#base/entry.ts';
import { microsOf, type Timestamp } from '#base/timestamp.ts';
import type { BodyFacts, MetadataGroups, PutRequest } from './contract.ts';
import { markOf, type Sealer } from './encryption/encryption.ts';
import type { OwnWrite } from './round-record.ts';

interface Written {
  readonly request: PutRequest;
  readonly own: OwnWrite;
  readonly owner: string | undefined;
  readonly sealer: Sealer | undefined;
}

/** @returns the state at a timestamp, which the write learns from its replicas */
export function stateMaker(
  { request, own: { writeId }, owner, sealer }: Written,
  md5: string,
  { size, stored }: { readonly size: number; readonly stored: number },
  facts: BodyFacts = {},
): (timestamp: Timestamp) => EntryState {
  const { contentType, deleteAt, manifest, user, system, version } = request;
  const etag = manifest?.etag ?? facts.etag ?? sealer?.etag(md5) ?? md5;
  const mark = manifest?.encryption && markOf(manifest.encryption);
  const transform = request.stored?.transform ?? sealer?.transform ?? mark;
  return (timestamp) => ({
    data: {
      timestamp,
      kind: 'live',
      writeId,
      clientMicros: request.clientMicros ?? microsOf(timestamp),
      etag,
      size: manifest?.size ?? facts.size ?? size,
      contentType: facts.contentType ?? contentType,
      ...(deleteAt !== undefined && { deleteAt }),
      ...(manifest !== undefined && { manifest: manifest.kind }),
      ...(stored > 0 && {
        body: { length: stored, ...(transform !== undefined && { transform }) },
      }),
      ...(facts.checksums !== undefined && { checksums: facts.checksums }),
      ...(owner !== undefined && { owner }),
      ...(version?.id !== undefined && { versionId: version.id }),
      ...(version?.deleteMarker && { deleteMarker: true }),
    },
    groups: {
      ...groupsAt(timestamp, user, system, deleteAt ?? null),
      ...stamped(request.groups ?? {}, timestamp),
    },
  });
}

/** A system group that is there is the source of the delete-at, so it repeats it. */
function groupsAt(
  timestamp: Timestamp,
  user: Readonly<Record<string, string>>,
  system: Readonly<Record<string, string>>,
  deleteAt: number | null,
): Record<string, Group> {
  const groups: Record<string, Group> = {};
  if (Object.keys(user).length > 0) groups['user'] = { timestamp, values: user };
  if (Object.keys(system).length > 0) {
    const expiry: Record<string, string> =
      deleteAt === null ? {} : { 'delete-at': String(deleteAt) };
    groups['system'] = { timestamp, values: { ...system, ...expiry } };
  }
  return groups;
}

/** The groups, all at one timestamp. */
export function stamped(groups: MetadataGroups, timestamp: Timestamp): Record<string, Group> {
  return Object.fromEntries(
    Object.entries(groups).map(([name, values]) => [name, { timestamp, values }]),
  );
}
