/** Deletions: a tombstone is a write like any other. */
import type { EntryState } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { maxTimestamp, microsOf, type Timestamp } from '#base/timestamp.ts';
import type { WriteArgs } from '#object/calls.ts';
import type { Condition } from './condition.ts';
import type { ProxyContext } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import { addressOf, type Place, type Replica } from './placement.ts';
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
 * seed 600029). Joined by whoever answers; what fails is left to the auditor.
 */
export async function endQuietly(
  context: ProxyContext,
  { trace, place }: Pick<Deletion, 'trace' | 'place'>,
  { writeId, sent }: OwnWrite,
): Promise<void> {
  if (sent.length === 0) return;
  const timestamp = sent.map((attempt) => attempt.timestamp).reduce(maxTimestamp);
  const state = encodeState(tombstone(timestamp, writeId));
  const end = async (replica: Replica): Promise<void> => {
    const args: WriteArgs = {
      ...addressOf(place, replica),
      path: place.path,
      state,
      intent: 'join',
      unlisted: true,
    };
    const { ringVersion } = replica;
    const options = { ringVersion, deadlineMs: context.limits.writeDeadlineMs };
    await context.calls.call(trace, replica, 'object.write', args, options);
  };
  const ended = await Promise.allSettled(place.primaries.map(end));
  const failed = ended.filter(({ status }) => status === 'rejected').length;
  if (failed === 0) return;
  context.env.log.info('object.cleanup-failed', { txn: trace.txn, path: place.path, failed });
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
