/**
 * A folder of builder files (`object-standard.builder`) and published rings (`object-standard.ring`).
 *
 * A change touches all of them, and a crash between two renames would leave rings of two changes. So
 * the new files are written beside the old ones and synced, then a journal names them, then they are
 * renamed; whoever opens the folder next finishes a journal that it finds.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { codeOf, OperatingError } from '#base/errors.ts';
import { RingBuilder } from '#ring/builder/builder.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import { encodeRingFile } from '#ring/ring-file.ts';

const BUILDER_SUFFIX = '.builder';
const RING_SUFFIX = '.ring';
const NEW_SUFFIX = '.new';
const JOURNAL = 'change.journal';
const LOCK = 'lock';
const fileName = z.string().regex(/^[a-z0-9][a-z0-9._-]*\.(builder|ring)$/);
const journalSchema = z.object({ format: z.literal(1), files: z.array(fileName) });

/** Runs `body` as the only one at work in this folder; `create` makes the folder when it is missing. */
export function withFolder<Result>(folder: string, create: boolean, body: () => Result): Result {
  if (create) mkdirSync(folder, { recursive: true });
  else if (!existsSync(folder)) throw noRings(folder);
  const lock = path.join(folder, LOCK);
  takeLock(lock);
  try {
    finishJournal(folder);
    return body();
  } finally {
    rmSync(lock, { force: true });
  }
}

function noRings(folder: string): OperatingError {
  return new OperatingError(
    'no-rings',
    `no builder files in ${folder}; start with: anello ring plan FILE`,
  );
}

function takeLock(lock: string): void {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = openSync(lock, 'wx');
      writeSync(file, String(process.pid));
      closeSync(file);
      return;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
      const owner = Number(readFileSync(lock, 'utf8'));
      if (attempt > 0 || isAlive(owner)) {
        throw new OperatingError(
          'busy',
          `another anello ring is at work there (process ${owner}, ${lock})`,
        );
      }
      rmSync(lock, { force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

/** @throws OperatingError `no-rings` when `mustExist` and the folder holds none */
export function loadSet(folder: string, { mustExist = true } = {}): RingSet {
  if (existsSync(folder)) finishJournal(folder);
  const names = existsSync(folder)
    ? readdirSync(folder).filter((n) => n.endsWith(BUILDER_SUFFIX))
    : [];
  if (names.length === 0 && mustExist) {
    throw new OperatingError(
      'no-rings',
      `no builder files in ${folder}; start with: anello ring plan FILE`,
    );
  }
  const builders = names
    .sort()
    .map((file): [string, RingBuilder] => [
      ringName(file.slice(0, -BUILDER_SUFFIX.length)),
      inFile(path.join(folder, file), (bytes) => RingBuilder.decode(bytes)),
    ]);
  const set = new RingSet(builders);
  const different = set.disagreement();
  if (different === undefined) return set;
  throw new OperatingError(
    'torn-rings',
    `${different} in ${folder} has other devices than the other rings`,
  );
}

/** Names the file in whatever goes wrong with it. */
export function inFile<Result>(file: string, read: (bytes: Buffer) => Result): Result {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new OperatingError(
      codeOf(cause),
      `cannot read ${file}: ${codeOf(cause)}`,
      { file },
      { cause },
    );
  }
  try {
    return read(bytes);
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    throw new OperatingError(
      cause.code,
      `${file}: ${cause.message}`,
      { file, ...cause.facts },
      { cause },
    );
  }
}

export function saveSet(folder: string, set: RingSet): void {
  const files: [string, Buffer][] = [];
  for (const [name, builder] of set.builders) {
    files.push([fileOf(name) + BUILDER_SUFFIX, builder.encode()]);
    files.push([fileOf(name) + RING_SUFFIX, encodeRingFile(builder.toRing())]);
  }
  for (const [file, bytes] of files) writeSynced(path.join(folder, file + NEW_SUFFIX), bytes);
  syncFolder(folder);
  const journal = { format: 1, files: files.map(([file]) => file) };
  writeSynced(path.join(folder, JOURNAL + NEW_SUFFIX), Buffer.from(JSON.stringify(journal)));
  renameSync(path.join(folder, JOURNAL + NEW_SUFFIX), path.join(folder, JOURNAL));
  syncFolder(folder);
  finishJournal(folder);
}

/** Harmless to repeat: a file that was renamed already is not there under its new name any more. */
function finishJournal(folder: string): void {
  const journal = path.join(folder, JOURNAL);
  if (!existsSync(journal)) return;
  const { files } = journalSchema.parse(JSON.parse(readFileSync(journal, 'utf8')));
  for (const file of files) {
    const fresh = path.join(folder, file + NEW_SUFFIX);
    if (existsSync(fresh)) renameSync(fresh, path.join(folder, file));
  }
  syncFolder(folder);
  rmSync(journal);
  syncFolder(folder);
}

export function writeSynced(file: string, bytes: Uint8Array): void {
  const handle = openSync(file, 'w');
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  fsyncSync(handle);
  closeSync(handle);
}

export function ringFilePath(folder: string, name: string): string {
  return path.join(folder, fileOf(name) + RING_SUFFIX);
}

function fileOf(name: string): string {
  return name.replace('/', '-');
}

/** The first dash of `object-NAME` stands for the slash; `container` and `account` have none. */
function ringName(file: string): string {
  return file.startsWith('object-') ? file.replace('-', '/') : file;
}
