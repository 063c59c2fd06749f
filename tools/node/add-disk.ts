/**
 * `anello node add-disk`: further disks of this machine. The authority gives each a number, this machine
 * keeps it beside its certificate and names the disk in its own file. Repeating it is harmless.
 */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { parseDocument } from 'yaml';
import { addDisks } from '#authority/joining.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import { diskName, type MachineFile, parseMachineFile } from '#config/machine-file.ts';
import { isMountPoint } from '#device/identity.ts';
import type { Disk } from '#env/env.ts';
import { joinRequests } from '#env/node/https-client.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { MACHINE_FILE } from '../endpoint.ts';

interface AddOptions {
  readonly config: string;
  readonly json?: boolean;
}

export function registerAddDisk(node: Command): void {
  node
    .command('add-disk')
    .description('give further disks of this machine to the cluster')
    .argument('<folder...>', 'where each is mounted')
    .option('--config <file>', "the machine's own file", MACHINE_FILE)
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
The node uses them after a restart; they get data when a plan puts them into the rings.

Example:
  anello node add-disk /srv/disk3
  systemctl restart anello
  anello ring plan --add-device bari/bari-1/disk3=100@10.2.0.1:7400`,
    )
    .action(add);
}

async function add(given: readonly string[], { config, json }: AddOptions): Promise<void> {
  const folders = given.map((folder) => path.resolve(folder));
  const text = readText(config);
  const machine = parseMachineFile(text);
  const env = createNodeEnv({ logLevel: 'warn' });
  try {
    for (const folder of folders) await checkFolder(folder, machine, env.disk);
    const changed = withDisks(text, machine, folders);
    const devices = await addDisks(machine, folders, { disk: env.disk, ...joinRequests });
    // After the authority: a file that names a disk without a number would keep the node from starting.
    const mode = statSync(config).mode & 0o777;
    if (changed !== text) await env.disk.replace(config, Buffer.from(changed), mode);
    const names = new Set(folders.map(diskName));
    const added = devices.filter(({ name }) => names.has(name));
    if (json) console.log(JSON.stringify({ node: machine.name, devices: added }, null, 2));
    else for (const { name, id } of added) console.log(`${name} is device ${id}`);
    if (!json) console.log(`${config} names them; restart the node, then plan them into the rings`);
  } finally {
    await env.close();
  }
}

function readText(config: string): string {
  try {
    return readFileSync(config, 'utf8');
  } catch (error) {
    throw new OperatingError('no-config', `cannot read ${config} (${codeOf(error)})`);
  }
}

/** What would keep the node from using it is found now. @throws OperatingError `wrong-use` */
async function checkFolder(
  folder: string,
  { mountPoints, disks }: MachineFile,
  disk: Disk,
): Promise<void> {
  const wrong = (why: string): OperatingError =>
    new OperatingError('wrong-use', `${folder} ${why}`);
  if ((await disk.stat(folder))?.kind !== 'directory') throw wrong('is no folder');
  if (mountPoints && !(await isMountPoint(disk, folder)))
    throw wrong('is no mount point (mountPoints: false in the file allows that)');
  const same = disks.find((known) => diskName(known) === diskName(folder));
  if (same !== undefined && path.resolve(same) !== folder)
    throw wrong(`would have the same name as ${same}`);
}

/** The file as it was written by a person, comments and all, with the disks in its list. */
function withDisks(text: string, { disks }: MachineFile, folders: readonly string[]): string {
  const known = new Set(disks.map((folder) => path.resolve(folder)));
  const missing = folders.filter((folder) => !known.has(folder));
  if (missing.length === 0) return text;
  const document = parseDocument(text);
  for (const folder of missing) document.addIn(['disks'], folder);
  const changed = String(document);
  parseMachineFile(changed);
  return changed;
}
