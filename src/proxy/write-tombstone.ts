/** Deletions: a tombstone is a write like any other. */
import type { EntryState } from '#base/entry.ts';
import { codeOf } from '#base/errors.ts';
import { microsOf, type Timestamp } from '#base/timestamp.ts';
import type { Condition } from './condition.ts';
import { newWriteId, type ProxyContext } from './context.ts';
import type { ContainerInfo } from './contract.ts';
import type { Place } from './placement.ts';
import { OwnWrite } from './round-record.ts';
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

/** Cleans up after a write whose container is gone; what fails is left to the auditor. */
export async function deleteQuietly(context: ProxyContext, deletion: Deletion): Promise<void> {
  const own = new OwnWrite(newWriteId(context.env));
  const stateAt = (timestamp: Timestamp): EntryState => tombstone(timestamp, own.writeId);
  try {
    await writeObject(context, { ...deletion, mode: 'available', own, stateAt });
  } catch (error) {
    const facts = { txn: deletion.trace.txn, path: deletion.place.path, error: codeOf(error) };
    context.env.log.info('object.cleanup-failed', facts);
  }
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
