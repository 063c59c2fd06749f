/** `anello join`: this machine becomes a node. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { OperatingError } from '#base/errors.ts';
import { type MachineFile, parseMachineFile } from '#config/machine-file.ts';
import { readSecret, SECRET_HINT } from '../input-file.ts';
import { joinFromFile } from './node.ts';

const SECRET_MODE = 0o600;

interface JoinOptions {
  readonly config: string;
  readonly token?: string;
  readonly name: string;
  readonly zone: string;
  readonly address?: string;
  readonly data: string;
  readonly disk: readonly string[];
  readonly mountPoints: boolean;
  readonly replace?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const collect = (value: string, all: readonly string[]): string[] => [...all, value];
  program
    .command('join')
    .description('make this machine a node of a cluster')
    .argument('[authority...]', 'https://HOST:PORT; not needed when --config exists already')
    .option(
      '--config <file>',
      "the machine's own file; written when it is not there",
      '/etc/anello/node.yaml',
    )
    .option('--token <token>', `from: anello node token; ${SECRET_HINT}`)
    .option('--name <name>', 'of the node', hostname().split('.')[0]!.toLowerCase())
    .option('--zone <zone>', 'what fails together: a rack, a room', 'z1')
    .option('--address <host>', 'under which the other nodes reach it')
    .option('--data <dir>', "the node's own folder", '/var/lib/anello')
    .option('--disk <folder>', 'a disk for data, mounted there; may be repeated', collect, [])
    .option('--no-mount-points', 'the folders need not be mount points')
    .option('--replace', 'an earlier machine of this name is gone')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
Example:
  anello join https://lngs-1:7600 --token anello-join-1.... --address 10.2.0.7 \\
    --disk /srv/disk1 --disk /srv/disk2`,
    )
    .action(joinCluster);
}

async function joinCluster(authorities: readonly string[], options: JoinOptions): Promise<void> {
  const { config } = options;
  if (authorities.length > 0) writeMachineFile(authorities, options);
  if (!existsSync(config))
    throw new OperatingError('wrong-use', `there is no ${config}: name the authority and a token`);
  await joinFromFile(config, options);
}

function writeMachineFile(authorities: readonly string[], options: JoinOptions): void {
  const { config, token, name, zone, address, data, disk, mountPoints } = options;
  if (token === undefined || address === undefined)
    throw new OperatingError('wrong-use', '--token and --address are needed');
  const text = stringify({
    format: 1,
    name,
    zone,
    data,
    disks: disk,
    ...(!mountPoints && { mountPoints }),
    authorities,
    address,
    token: readSecret(token),
  });
  const wanted = parseMachineFile(text);
  if (existsSync(config)) {
    if (isSame(parseMachineFile(readFileSync(config, 'utf8')), wanted)) return;
    throw new OperatingError(
      'wrong-use',
      `${config} exists and says something else: change it, or name another --config`,
    );
  }
  mkdirSync(path.dirname(config), { recursive: true });
  writeFileSync(config, text, { mode: SECRET_MODE });
  // Read back as it will be: what can't be read must fail now.
  parseMachineFile(readFileSync(config, 'utf8'));
}

/** A second run of the same command, perhaps with a new token, goes on with the file that is there. */
function isSame(
  { token: _, ...known }: MachineFile,
  { token: __, ...wanted }: MachineFile,
): boolean {
  return isDeepStrictEqual(known, wanted);
}
