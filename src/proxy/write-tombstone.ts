/** Deletions: a tombstone is a write like any other. */
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { CONTAINER_RING, containerPath } from '#base/names.ts';
import { maxTimestamp, microsOf, type Timestamp } from '#base/timestamp.ts';
import type { WriteArgs } from '#object/calls.ts';
import { rowItem } from '#object/lister.ts';
import type { Condition } from './condition.ts';
import type { ProxyContext } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import { addressOf, type Place, placeOf, type Replica } from './placement.ts';
import type { OwnWrite } from './round-record.ts';
import type { Trace } from './trace.ts';
import { type Refused, type Written, writeObject } from './write-object.ts';

export interface Deletion {
  readonly trace: Trace;
  readonly place: Place;
  readonly container: ContainerInfo;
}

export function deleteObject(
  context: ProxyContext,
  deletion: Deletion & {
    readonly own: OwnWrite;
    readonly condition?: Condition;
    readonly markerId?: string;
  },
): Promise<Written | Refused> {
  const { own, markerId } = deletion;
  return writeObject(context, {
    ...deletion,
    stateAt: (timestamp) => tombstone(timestamp, own.writeId, markerId),
  });
}

/**
 * Ends what a write may have stored before its container was found to be gone, at its own timestamp: a
 * tombstone of now would also delete what others have written since, in the container made again (simulator,
 * seed 600029). Joined by whoever answers; what fails is left to updater and auditor. Its row, too, which a
 * container replica that was not sealed may have taken: it would bring the container back.
 */
export async function endQuietly(
  context: ProxyContext,
  deletion: Deletion,
  own: OwnWrite,
): Promise<void> {
  const state = endOf(own);
  if (state === undefined) return;
  const failed =
    (await endReplicas(context, deletion, state, true)) + (await endRows(context, deletion, state));
  if (failed > 0) logFailed(context, deletion, failed);
}

/**
 * The same in the policy that the container had before it was made again. No row: that would hide what others have written
 * in the one that it has now.
 */
export async function endInPolicy(
  context: ProxyContext,
  deletion: Deletion,
  own: OwnWrite,
): Promise<void> {
  const state = endOf(own);
  const failed = state === undefined ? 0 : await endReplicas(context, deletion, state, false);
  if (failed > 0) logFailed(context, deletion, failed);
}

function endOf({ writeId, sent }: OwnWrite): EntryState | undefined {
  if (sent.length === 0) return undefined;
  return tombstone(sent.map((attempt) => attempt.timestamp).reduce(maxTimestamp), writeId);
}

function logFailed({ env }: ProxyContext, { trace, place }: Deletion, failed: number): void {
  env.log.info('object.cleanup-failed', { txn: trace.txn, path: place.path, failed });
}

async function endReplicas(
  context: ProxyContext,
  { trace, place }: Deletion,
  tombstone: EntryState,
  unlisted: boolean,
): Promise<number> {
  const state = encodeState(tombstone);
  const end = async (replica: Replica): Promise<void> => {
    const args: WriteArgs = {
      ...addressOf(place, replica),
      path: place.path,
      state,
      intent: 'join',
      unlisted,
    };
    const { ringVersion } = replica;
    const options = { ringVersion, deadlineMs: context.limits.writeDeadlineMs };
    await context.calls.call(trace, replica, 'object.write', args, options);
  };
  return failures(place.primaries.map(end));
}

function endRows(
  context: ProxyContext,
  { trace: { txn }, place, container }: Deletion,
  tombstone: EntryState,
): Promise<number> {
  const view = context.cluster.current();
  const listing = placeOf(view, CONTAINER_RING, containerPath(container.name));
  const row = rowItem(place.path, tombstone, { containerHash: listing.hash })!;
  const options = { txn, ringVersion: listing.ringVersion, intent: 'repair' as const };
  return failures(listing.primaries.map((target) => context.objectRows.send(target, row, options)));
}

async function failures(calls: readonly Promise<unknown>[]): Promise<number> {
  const settled = await Promise.allSettled(calls);
  return settled.filter(({ status }) => status === 'rejected').length;
}

function tombstone(timestamp: Timestamp, writeId: string, markerId?: string): EntryState {
  const clientMicros = microsOf(timestamp);
  const kind = 'deleted';
  const data = {
    timestamp,
    kind,
    writeId,
    clientMicros,
    etag: '',
    size: 0,
    contentType: '',
    ...(markerId !== undefined && { versionId: markerId, deleteMarker: true }),
  } as const;
  return { data, groups: {} };
}
