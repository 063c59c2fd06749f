/**
 * One device, offline: every byte of log, blobs and databases is read; with `repair`, what the auditor of
 * a running node would do is done at once: damaged records and bodies go to quarantine, segments with
 * damage are rewritten, a broken index or rows database is made again from the log. What then is missing
 * on this device its node fetches from the other replicas when it runs again.
 */
import path from 'node:path';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { HybridClock } from '#base/hybrid-clock.ts';
import { DeviceCheck, type Problem } from '#device/check.ts';
import { DeviceInspector } from '#device/inspect.ts';
import { type LogDevice, openDevice } from '#device/open.ts';
import type { NodeEnv } from '#env/node/node-env.ts';
import { RowStore } from '#rows/row-store.ts';
import { processesUsing } from './in-use.ts';

export interface FsckReport {
  readonly path: string;
  readonly device: number;
  readonly name: string;
  readonly clusterId: string;
  readonly records: number;
  readonly bytes: number;
  /** As it was found; without what is in quarantine already, and no part of the device any more. */
  readonly problems: readonly Problem[];
  /** Damaged places of the log and missing blobs of which the quarantine has a note. */
  readonly known: number;
  /** Only where a repair was asked for. */
  readonly repair?: {
    readonly quarantined: number;
    readonly rebuiltIndex: boolean;
    /** What a second look still finds. */
    readonly left: readonly Problem[];
  };
}

/** Told what is being done, and its share. */
export type Progress = (what: string, share: number) => void;

const STEP_BYTES = 8 * 1024 * 1024;
const DATABASES = ['index.db', 'rows.db'];

/** @throws OperatingError `device-in-use`, `device-blank`, and what opening fails with */
export async function fsck(
  env: NodeEnv,
  folder: string,
  { repair, progress }: { readonly repair: boolean; readonly progress: Progress },
): Promise<FsckReport> {
  const users = processesUsing(folder);
  if (users.length > 0) {
    const who = `process ${users.join(', ')} has ${folder} open`;
    throw new OperatingError('device-in-use', `${who}; stop it first`);
  }
  const before = await look(env, folder, progress);
  if (!repair) return before;
  const mended = await mend(env, folder, before, progress);
  const after = await look(env, folder, progress);
  return { ...before, repair: { ...mended, left: after.problems } };
}

async function look(env: NodeEnv, folder: string, progress: Progress): Promise<FsckReport> {
  const inspector = await DeviceInspector.open(env.disk, folder);
  try {
    const { deviceId, name, clusterId } = inspector.identity;
    const check = await new DeviceCheck(inspector).run((share) => progress('reading', share));
    const records = Object.values(check.records).reduce((sum, count) => sum + count, 0);
    const databases: Problem[] = [];
    for (const file of DATABASES) databases.push(...(await lookAtDatabase(env, folder, file)));
    const noted = await notedPlaces(env, folder);
    const found = check.problems.filter(({ where }) => !noted.has(placeOf(where)));
    return {
      path: folder,
      device: deviceId,
      name,
      clusterId,
      records,
      bytes: check.logBytes + check.blobBytes,
      problems: [...found, ...databases],
      known: check.problems.length - found.length,
    };
  } finally {
    await inspector.close();
  }
}

/** `segment 2, offset 2172` or `blob NAME`, whatever else is said of it. */
function placeOf(where: string): string {
  return /^(segment \d+, offset \d+|blob [^,]+)/.exec(where)?.[0] ?? where;
}

async function notesOf(env: NodeEnv, folder: string): Promise<string[]> {
  const quarantine = path.join(folder, 'quarantine');
  if (env.disk.statSync(quarantine) === undefined) return [];
  return (await env.disk.list(quarantine)).filter((name) => name.endsWith('.json'));
}

async function countNotes(env: NodeEnv, folder: string): Promise<number> {
  return (await notesOf(env, folder)).length;
}

/** Of what the device has put into quarantine. */
async function notedPlaces(env: NodeEnv, folder: string): Promise<ReadonlySet<string>> {
  const places = new Set<string>();
  for (const name of await notesOf(env, folder)) {
    places.add(`blob ${name.slice(0, -'.json'.length)}`);
    const text = (await env.disk.read(path.join(folder, 'quarantine', name))).toString();
    const note = noteSchema.safeParse(parsed(text));
    if (note.success) places.add(`segment ${note.data.segment}, offset ${note.data.offset}`);
  }
  return places;
}

const noteSchema = z.object({ segment: z.number(), offset: z.number() });

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a note that was torn: what it was about is a problem again
  }
}

/** SQLite's own look at every page. One that is not there is made from the log: no problem. */
async function lookAtDatabase(env: NodeEnv, folder: string, file: string): Promise<Problem[]> {
  const where = path.join(folder, file);
  if (env.disk.statSync(where) === undefined) return [];
  try {
    const database = env.disk.openDatabase(where, { readOnly: true });
    const wrong = await database.verify().finally(() => database.close());
    return wrong === undefined ? [] : [{ where: file, what: wrong }];
  } catch (error) {
    return [{ where: file, what: String(error) }];
  }
}

async function mend(
  env: NodeEnv,
  folder: string,
  { clusterId, device: deviceId }: FsckReport,
  progress: Progress,
): Promise<{ quarantined: number; rebuiltIndex: boolean }> {
  const before = await countNotes(env, folder);
  const device = await open(env, folder, clusterId, deviceId);
  try {
    await device.audit.restart();
    for (;;) {
      const { cycleDone } = await device.audit.step(STEP_BYTES);
      const { readBytes, totalBytes, suspects } = device.audit.facts();
      progress('repairing', cycleDone ? 1 : Math.min(1, readBytes / Math.max(1, totalBytes)));
      if (cycleDone && suspects === 0) break;
    }
  } finally {
    await device.close();
  }
  const quarantined = (await countNotes(env, folder)) - before;
  return { quarantined, rebuiltIndex: device.opened.rebuilt };
}

async function open(
  env: NodeEnv,
  folder: string,
  clusterId: string,
  deviceId: number,
): Promise<LogDevice> {
  const wallMicros = (): number => env.clock.wallMicros();
  let rows: RowStore | undefined;
  const device = await openDevice(env, folder, {
    clusterId,
    deviceId,
    // Nothing new is written: no timestamp is taken from it.
    clock: new HybridClock({ workerId: 0, wallMicros, bound: 0, reserve: () => undefined }),
    openRows: (at, incarnation) => {
      const file = path.join(at, 'rows.db');
      rows = RowStore.open(env, { file, incarnation, digestKey: clusterId });
      return rows;
    },
  });
  rows!.bind(device.rowLog);
  return device;
}
