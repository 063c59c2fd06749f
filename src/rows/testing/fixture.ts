/**
 * A row store on a real SQLite database in a folder of its own, with a log in memory and a wall clock
 * that the test sets.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DataPart, EntryState } from '#base/entry.ts';
import { CONTAINER_RING } from '#base/names.ts';
import { makeTimestamp, type Timestamp } from '#base/timestamp.ts';
import type { Clock, Env, Log } from '#env/env.ts';
import { Checkpointer } from '#env/node/checkpointer.ts';
import { NodeClock } from '#env/node/clock.ts';
import { NodeDisk } from '#env/node/disk.ts';
import { NodeRandom } from '#env/node/random.ts';
import { RowStore } from '../row-store.ts';
import { MemoryLog } from './memory-log.ts';

export const START_SECONDS = 1_800_000_000;

export class TestClock extends NodeClock {
  seconds = START_SECONDS;

  override wallMicros(): number {
    return this.seconds * 1_000_000;
  }
}

class RecordedLog implements Log {
  readonly events: string[] = [];
  debug(): void {}
  info(event: string): void {
    this.events.push(event);
  }
  warn(event: string): void {
    this.events.push(event);
  }
  error(event: string): void {
    this.events.push(event);
  }
  with(): Log {
    return this;
  }
}

export interface StoreEnv extends Pick<Env, 'clock' | 'disk' | 'random' | 'log'> {
  readonly clock: Clock & { seconds: number };
  readonly log: RecordedLog;
}

export interface Folder {
  readonly path: string;
  readonly env: StoreEnv;
  remove(): Promise<void>;
}

export function makeFolder(): Folder {
  const folder = mkdtempSync(path.join(tmpdir(), 'anello-rows-'));
  const checkpointer = new Checkpointer();
  const env = {
    clock: new TestClock(),
    disk: new NodeDisk(checkpointer),
    random: new NodeRandom(),
    log: new RecordedLog(),
  };
  const remove = async (): Promise<void> => {
    await checkpointer.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { path: folder, env, remove };
}

export interface OpenStore {
  readonly store: RowStore;
  readonly log: MemoryLog;
}

export async function openStore(
  folder: Folder,
  name = 'rows.db',
  incarnation = 'a',
): Promise<OpenStore> {
  const file = path.join(folder.path, name);
  const store = RowStore.open(folder.env, { file, incarnation, digestKey: 'cluster' });
  const log = new MemoryLog(store);
  store.bind(log);
  return { store, log };
}

export const HASH = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const PATH = '/a/c';

export function at(micros: number, worker = 1): Timestamp {
  return makeTimestamp(START_SECONDS * 1_000_000 + micros, worker);
}

export function dataPart(timestamp: Timestamp, changes: Partial<DataPart> = {}): DataPart {
  return {
    timestamp,
    kind: 'live',
    writeId: '0123456789abcdef',
    clientMicros: Number.parseInt(timestamp.slice(0, 16), 16),
    etag: 'd41d8cd98f00b204e9800998ecf8427e',
    size: 10,
    contentType: 'text/plain',
    ...changes,
  };
}

export function live(timestamp: Timestamp, changes: Partial<DataPart> = {}): EntryState {
  return { data: dataPart(timestamp, changes), groups: {} };
}

export function tombstone(timestamp: Timestamp): EntryState {
  return {
    data: dataPart(timestamp, { kind: 'deleted', etag: '', size: 0, contentType: '' }),
    groups: {},
  };
}

export function row(
  name: string,
  state: EntryState,
  hash = HASH,
  policy = CONTAINER_RING,
  path = PATH,
) {
  return { key: { policy, hash }, path, name, state };
}
