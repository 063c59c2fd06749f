/** `anello node`: who belongs to the cluster. `anello join`: this machine becomes a node of it. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { hasJoined, join } from '#authority/joining.ts';
import { parseMachineFile } from '#config/machine-file.ts';
import { joinRequests } from '#env/node/https-client.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { numberOf } from '#ring/builder/change-request.ts';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import { printTable } from '../authority/table.ts';
import { addExamples } from '../examples.ts';
import { registerAddDisk } from '../node/add-disk.ts';
import { whoAmI } from '../ring/online.ts';

interface TokenOptions extends AuthorityOptions {
  readonly site: string;
  readonly roles: string;
  readonly hours: string;
  readonly uses: string;
}

interface Member {
  readonly name: string;
  readonly site: string;
  readonly zone: string;
  readonly roles: readonly string[];
  readonly wire: { readonly host: string; readonly port: number };
  readonly devices: readonly { readonly id: number; readonly name: string }[];
  readonly certifiedUntilMs: number;
  readonly expelled: boolean;
}

export function register(program: Command): void {
  const node = program.command('node').description('members of the cluster');
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(node.command(name).description(text));
  verb('list', 'all nodes, with their disks and certificates').action(list);
  verb('token', 'a token for machines to join with')
    .requiredOption('--site <site>', 'where the machine stands')
    .requiredOption('--roles <list>', 'such as storage, or proxy,identity,storage')
    .option('--hours <number>', 'how long it is good', '24')
    .option('--uses <number>', 'for how many machines', '1')
    .action(token);
  verb('expel', 'cut a node off, at once and for good')
    .argument('<node>', 'its name')
    .action(expel);
  registerAddDisk(node);
  addExamples(node, [
    'anello node list',
    'anello node token --site padova --roles storage --uses 3',
    'anello node expel padova-2   # drain it first, if it still has what others need',
  ]);
}

async function list(options: AuthorityOptions): Promise<void> {
  const members = await new AuthorityClient(options).get<Member[]>('/v1/nodes');
  if (options.json) {
    console.log(JSON.stringify(members, null, 2));
    return;
  }
  printTable(
    ['node', 'site', 'zone', 'roles', 'wire', 'disks', 'certificate'],
    members.map((member) => [
      member.name,
      member.site,
      member.zone,
      member.roles.join(' '),
      `${member.wire.host}:${member.wire.port}`,
      member.devices.map(({ id, name }) => `${name}=${id}`).join(' '),
      certificateState(member),
    ]),
  );
}

function certificateState({ expelled, certifiedUntilMs }: Member): string {
  if (expelled) return 'EXPELLED';
  if (certifiedUntilMs === 0) return 'none';
  return `until ${new Date(certifiedUntilMs).toISOString().slice(0, 10)}`;
}

async function token(options: TokenOptions): Promise<void> {
  const reply = await new AuthorityClient(options).post<{ token: string }>('/v1/tokens', {
    site: options.site,
    roles: options.roles.split(',').map((role) => role.trim()),
    hours: numberOf(options.hours, '--hours'),
    uses: numberOf(options.uses, '--uses'),
  });
  console.log(options.json ? JSON.stringify(reply) : reply.token);
}

async function expel(name: string, options: AuthorityOptions): Promise<void> {
  const client = new AuthorityClient(options);
  const url = `/v1/nodes/${encodeURIComponent(name)}/expel`;
  const reply = await client.post<{ version: number }>(url, { who: whoAmI() });
  console.log(options.json ? JSON.stringify(reply) : `expelled with version ${reply.version}`);
}

export async function joinFromFile(
  config: string,
  options: { readonly replace?: boolean; readonly json?: boolean },
): Promise<void> {
  const machine = parseMachineFile(readFileSync(config, 'utf8'));
  const env = createNodeEnv({ logLevel: 'warn' });
  if (!options.replace && (await hasJoined(machine, env.disk))) {
    if (options.json) console.log(JSON.stringify({ name: machine.name, joined: false }));
    else console.log(`${machine.name} is a node already`);
    return;
  }
  const { replace = false } = options;
  const known = await join(machine, { disk: env.disk, ...joinRequests }, { replace });
  await env.close();
  const { name, site, roles, devices } = known;
  if (options.json) {
    console.log(JSON.stringify({ name, joined: true, site, roles, devices }, null, 2));
    return;
  }
  const disks = known.devices.map(({ id, name }) => `${name}=${id}`).join(' ');
  console.log(`${known.name} joined at ${known.site}: ${known.roles.join(' ')}; disks ${disks}`);
  console.log(`start it with: anello run --config ${config}`);
}
