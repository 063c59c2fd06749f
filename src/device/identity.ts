/**
 * device.json: whose folder this is. JSON, so that a person can read it, with a checksum over the rest,
 * so that a flipped byte makes nobody believe in another device.
 *
 *   {"formatVersion":1,"clusterId":"...","deviceId":7,"name":"d1","incarnation":"32 hex digits",
 *    "genesis":false,"mountPoint":false,"checksum":"8 hex digits"}
 *
 * The checksum is the CRC-32 of the JSON text of the other fields in this order, without spaces.
 */
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { Disk, Env } from '#env/env.ts';
import type { DeviceIdentity } from './contract.ts';
import { damaged } from './errors.ts';
import { FORMAT_VERSION } from './format.ts';

export interface StoredIdentity extends DeviceIdentity {
  /** The folder was a mount point when it was formatted; it must be one again whenever it is opened. */
  readonly mountPoint: boolean;
}

export const SUBFOLDERS = ['log', 'blobs', 'quarantine'] as const;
/**
 * What may be in a folder that still counts as blank: what a new file system or a person leaves there,
 * and the notes of a process that was wiped under.
 */
const HARMLESS = new Set([
  'lost+found',
  '.keep',
  'audit.json',
  'index.rebuild',
  'log.hole',
  'rows.db.damaged',
]);
/**
 * Nor does this hold anything without a log: caches, which a process that is wiped under while it starts
 * makes anew, and what a replacement leaves that never ended.
 */
const WORTHLESS = /^(index|rows)\.db(-wal|-shm|-journal)?$|\.\d+-\d+\.tmp$/;

export function identityPath(folder: string): string {
  return `${folder}/device.json`;
}

/** Makes the folders and device.json, which comes last: a half-formatted folder is still blank. */
export async function writeIdentity(
  env: Env,
  folder: string,
  identity: Pick<DeviceIdentity, 'clusterId' | 'deviceId' | 'name' | 'genesis'>,
): Promise<StoredIdentity> {
  await env.disk.mkdir(folder);
  await refuseUsed(env.disk, folder);
  for (const name of SUBFOLDERS) await env.disk.mkdir(`${folder}/${name}`);
  const stored: StoredIdentity = {
    formatVersion: FORMAT_VERSION,
    clusterId: identity.clusterId,
    deviceId: identity.deviceId,
    name: identity.name,
    incarnation: env.random.bytes(16).toString('hex'),
    genesis: identity.genesis,
    mountPoint: await isMountPoint(env.disk, folder),
  };
  await env.disk.replace(identityPath(folder), Buffer.from(identityText(stored)));
  return stored;
}

async function refuseUsed(disk: Disk, folder: string): Promise<void> {
  if ((await disk.stat(identityPath(folder))) !== undefined) {
    throw new OperatingError('device-in-use', 'the folder holds a device already', { folder });
  }
  const log = await disk.stat(`${folder}/log`);
  if (log !== undefined && (await disk.list(`${folder}/log`)).length > 0) {
    throw new OperatingError('device-in-use', 'the folder holds a log without device.json', {
      folder,
    });
  }
}

/** @throws OperatingError `device-blank`, `damaged`, `newer-format` */
export async function readIdentity(disk: Disk, folder: string): Promise<StoredIdentity> {
  let bytes: Buffer;
  try {
    bytes = await disk.read(identityPath(folder));
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause;
    throw await absence(disk, folder);
  }
  return parseIdentity(bytes.toString());
}

/** Without device.json: blank (it may be formatted), or damaged (it holds data: a person must look). */
async function absence(disk: Disk, folder: string): Promise<OperatingError> {
  const facts = { folder, mountPoint: await isMountPoint(disk, folder) };
  for (const name of (await disk.stat(folder)) === undefined ? [] : await disk.list(folder)) {
    const isOurs = (SUBFOLDERS as readonly string[]).includes(name);
    const empty = isOurs && (await holdsNothing(disk, `${folder}/${name}`));
    if (!HARMLESS.has(name) && !WORTHLESS.test(name) && !empty) {
      return damaged('the folder has no device.json but is not empty', { ...facts, found: name });
    }
  }
  return new OperatingError('device-blank', 'there is no device in this folder', facts);
}

/** Folders in it are all right as long as they are empty too: a process that was wiped under makes some. */
async function holdsNothing(disk: Disk, folder: string): Promise<boolean> {
  for (const name of await disk.list(folder)) {
    const inner = `${folder}/${name}`;
    if ((await disk.stat(inner))?.kind !== 'directory') return false;
    if ((await disk.list(inner)).length > 0) return false;
  }
  return true;
}

function identityText(identity: StoredIdentity): string {
  const fields = checkedFields(identity);
  return `${JSON.stringify({ ...fields, checksum: checksumOf(fields) }, undefined, 2)}\n`;
}

/** @throws OperatingError `damaged`, `newer-format` */
function parseIdentity(text: string): StoredIdentity {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged('device.json is not JSON', {}, cause);
  }
  if (typeof value !== 'object' || value === null) throw damaged('device.json is no object');
  const stored = value as StoredIdentity & { checksum?: unknown };
  if (typeof stored.formatVersion === 'number' && stored.formatVersion > FORMAT_VERSION) {
    throw new OperatingError('newer-format', 'the device was made by a newer version', {
      version: stored.formatVersion,
    });
  }
  const fields = checkedFields(stored);
  if (stored.checksum !== checksumOf(fields))
    throw damaged('device.json does not match its checksum');
  if (!/^[0-9a-f]{32}$/.test(fields.incarnation)) throw damaged('device.json has no incarnation');
  return fields;
}

function checkedFields(from: StoredIdentity): StoredIdentity {
  const { formatVersion, clusterId, deviceId, name, incarnation, genesis, mountPoint } = from;
  return { formatVersion, clusterId, deviceId, name, incarnation, genesis, mountPoint };
}

function checksumOf(fields: StoredIdentity): string {
  return crc32(JSON.stringify(fields)).toString(16).padStart(8, '0');
}

export async function isMountPoint(disk: Disk, folder: string): Promise<boolean> {
  const [own, above] = [await disk.stat(folder), await disk.stat(dirname(folder))];
  return own !== undefined && above !== undefined && own.fileSystem !== above.fileSystem;
}
