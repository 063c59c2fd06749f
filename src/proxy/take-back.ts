/**
 * Takes one object back from where the cluster does not look any more (a removed device), as an ordinary
 * write of today: under a new timestamp, with all that the object had. Only where the cluster knows
 * nothing newer of the name, deletions included, as long as they have not been reclaimed.
 */
import { contentTypeOf, dataTimestamp, type EntryState, expirySource } from '#base/entry.ts';
import type { ObjectName } from '#base/names.ts';
import type { Timestamp } from '#base/timestamp.ts';
import type { Condition } from './condition.ts';
import type { BodyFacts, Operation, PutRequest, Store } from './contract.ts';

/** `known`: this version, or a newer one, is there. `deleted`: it was deleted since. */
export type TakenBack = 'taken' | 'known' | 'deleted' | 'no-container';

/** @throws the errors of a write */
export async function takeBack(
  store: Store,
  operation: Operation,
  name: ObjectName,
  state: EntryState,
  body: AsyncIterable<Uint8Array>,
  isDryRun: boolean,
): Promise<TakenBack> {
  const known = await store.peekObject(operation, name);
  const own = dataTimestamp(state);
  if (known !== undefined && dataTimestamp(known) >= own) {
    return known.data?.kind === 'deleted' ? 'deleted' : 'known';
  }
  const container = await store.containerInfo(operation, name, false);
  if (container === undefined) return 'no-container';
  if (isDryRun) return 'taken';
  const request = requestOf(state, body);
  const result = await store.putObject(operation, name, { ...request, condition: olderThan(own) });
  return result.kind === 'stored'
    ? 'taken'
    : result.kind === 'no-container'
      ? 'no-container'
      : 'known';
}

function olderThan(timestamp: Timestamp): Condition {
  return {
    holds: (current) => current === undefined || dataTimestamp(current) < timestamp,
    weakly: true,
  };
}

/** The write that made this state, metadata that were set later included. */
function requestOf(state: EntryState, body: AsyncIterable<Uint8Array>): PutRequest {
  const { data, groups } = state;
  const length = data?.body?.length ?? 0;
  const { deleteAt } = expirySource(state);
  const values = (name: string): Readonly<Record<string, string>> => groups[name]?.values ?? {};
  const others = Object.keys(groups).filter((name) => name !== 'user' && name !== 'system');
  const { 'delete-at': _, 'content-type': __, ...system } = values('system');
  return {
    body,
    length,
    maxLength: length,
    contentType: contentTypeOf(state),
    ...(deleteAt !== undefined && { deleteAt }),
    user: values('user'),
    system,
    groups: Object.fromEntries(others.map((name) => [name, values(name)])),
    ...dataOf(state),
  };
}

function dataOf({ data }: EntryState): Partial<PutRequest> {
  if (data === undefined) return {};
  const { manifest, etag, size, owner, checksums, clientMicros, body, versionId } = data;
  const marker = data.deleteMarker === true ? { deleteMarker: true as const } : {};
  const finish = (): BodyFacts => ({ etag, size, ...(checksums && { checksums }) });
  return {
    clientMicros,
    finish,
    ...(owner !== undefined && { owner }),
    // As they are: an encrypted body stays what it is.
    stored: { transform: body?.transform },
    ...(versionId !== undefined && { version: { id: versionId, ...marker } }),
    ...(manifest !== undefined &&
      manifest !== 'dynamic' && { manifest: { kind: manifest, etag, size } }),
  };
}
