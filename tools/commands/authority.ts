/** `anello authority`: the first node of a new cluster; copies of what the authority keeps. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { createAuthority } from '#authority/authority.ts';
import { newPrivateKey } from '#authority/certificates.ts';
import { initialiseCluster } from '#authority/genesis.ts';
import { joinRequest, keepMembership } from '#authority/joining.ts';
import { OperatingError } from '#base/errors.ts';
import { type MachineFile, parseMachineFile } from '#config/machine-file.ts';
import { certifiedFetch } from '#env/node/certified-fetch.ts';
import { createNodeEnv, type NodeEnv } from '#env/node/node-env.ts';
import { type BootstrapAccount, bootstrap } from '#identity/bootstrap.ts';
import { createIdentity } from '#identity/identity.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
import { type ClusterDescription, parseDescriptionText } from '#ring/description.ts';
import { openState } from '#state/open-state.ts';
import type { State } from '#state/state.ts';
import { writeOperatorFile } from '../authority/operator-file.ts';
import { readInputText } from '../input-file.ts';

const SECRET_MODE = 0o600;
const ADMINISTRATOR: BootstrapAccount = {
  project: 'admin',
  user: 'admin',
  roles: ['admin', 'member'],
};

interface InitOptions {
  readonly config: string;
  readonly description: string;
  readonly state: string;
  readonly site: string;
  readonly roles: string;
  readonly operator: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const authority = program.command('authority').description('the central authority of a cluster');
  authority
    .command('init')
    .description('a new cluster, with this machine as its first node and authority')
    .requiredOption('--config <file>', "the machine's own file")
    .requiredOption(
      '--description <file>',
      'policies, sites and rings to be, such as rings/wide-area.yaml',
    )
    .requiredOption('--state <store>', 'etcd:http://A:2379,http://B:2379 or sqlite:FILE')
    .requiredOption('--site <site>', 'where this machine stands')
    .option('--roles <list>', 'of this machine', 'authority,identity,proxy,storage')
    .option('--operator <file>', "where the operators' file goes", '/etc/anello/operator.json')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
Example:
  anello authority init --config /etc/anello/node.yaml --site lngs \\
    --description /etc/anello/cluster.yaml --state etcd:http://10.1.0.1:2379,http://10.2.0.1:2379`,
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const machine = parseMachineFile(readInputText(options.config));
  const description = parseDescriptionText(readInputText(options.description));
  if (existsSync(options.operator))
    throw new OperatingError('wrong-use', `${options.operator} exists: this cluster has operators`);
  const env = createNodeEnv({ logLevel: 'warn' });
  mkdirSync(machine.data, { recursive: true });
  const { etcd } = machine;
  const state = openState(env, options.state, etcd ? certifiedFetch(etcd) : fetch);
  try {
    await initialise(env, state, machine, description, options);
  } finally {
    await state.close();
    await env.close();
  }
}

async function initialise(
  env: NodeEnv,
  state: State,
  machine: MachineFile,
  description: ClusterDescription,
  { state: stateUrl, site, roles, operator, json }: InitOptions,
): Promise<void> {
  const masterKey = await loadMasterKey(env, path.join(machine.data, 'master.key'));
  const authority = createAuthority({
    env,
    state,
    sealer: createVault(env.random, masterKey),
    address: '',
    askMoves: async () => [],
  });
  const sites = [...new Set(description.nodes.map((node) => node.site))];
  const token = await initialiseCluster(authority, env, { description, sites, state: stateUrl });
  const own = roles.split(',').map((role) => role.trim());
  const joinToken = await authority.members.createToken({ site, roles: own, hours: 1, uses: 1 });
  const key = newPrivateKey();
  const request = await joinRequest(machine, env.disk, key);
  const known = await authority.members.join({ ...request, token: joinToken, replace: false });
  await keepMembership(machine, env.disk, key, known);
  const authorities = [...known.authorities];
  mkdirSync(path.dirname(operator), { recursive: true });
  writeOperatorFile(operator, { authorities, token, ca: known.caCertificate });
  const admin = path.join(path.dirname(operator), 'admin.openrc');
  await firstAdministrator(env, state, masterKey, machine, admin);
  if (json) {
    const { clusterId, name } = known;
    console.log(JSON.stringify({ clusterId, node: name, operator, administrator: admin }, null, 2));
    return;
  }
  console.log(`cluster ${known.clusterId} is made; ${known.name} is its first node`);
  console.log(`the first administrator of identity: . ${admin}`);
  console.log(`operators use ${operator}: keep a copy of it, and of ${machine.data}/master.key`);
}

/** Without one nobody could log in to make others. */
async function firstAdministrator(
  env: NodeEnv,
  state: State,
  masterKey: Buffer,
  { address, listen, tls }: MachineFile,
  file: string,
): Promise<void> {
  const identity = createIdentity({ env, state, masterKey });
  try {
    const [admin] = await bootstrap(identity, [ADMINISTRATOR]);
    const url = `${tls === undefined ? 'http' : 'https'}://${address}:${listen.proxy}/v3`;
    const variables = {
      OS_AUTH_URL: url,
      OS_IDENTITY_API_VERSION: '3',
      OS_USERNAME: admin!.userName,
      OS_PASSWORD: admin!.password,
      OS_PROJECT_NAME: admin!.projectName,
      OS_USER_DOMAIN_NAME: admin!.domainName,
      OS_PROJECT_DOMAIN_NAME: admin!.domainName,
    };
    const lines = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`);
    writeFileSync(file, lines.join(''), { mode: SECRET_MODE });
  } finally {
    await identity.close();
  }
}
