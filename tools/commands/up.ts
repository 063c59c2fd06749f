/** `anello up` (= `npm start`): a complete three-site cluster on this machine. */
import { accessSync, constants, existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { type ClusterDescription, parseDescriptionText } from '#ring/description.ts';
import { readInputText } from '../input-file.ts';
import type { Access } from '../up/access.ts';
import {
  type ClusterFile,
  createCluster,
  prepareRun,
  readCluster,
  type StateDriver,
} from '../up/cluster-files.ts';
import { type NodePlan, planNodes } from '../up/cluster-plan.ts';
import { checkInstalled, checkPeerPorts, EtcdMembers, planMembers } from '../up/etcd-members.ts';
import { isHealthy } from '../up/health.ts';
import { lockFolder } from '../up/lock.ts';
import { checkFree, PORT_SPAN, portsOf } from '../up/ports.ts';
import { checkSites, parseRoundTrips } from '../up/round-trips.ts';
import { Supervisor } from '../up/supervisor.ts';

const LOCAL_SITES = fileURLToPath(new URL('../../rings/local.yaml', import.meta.url));
const MAX_WORKERS = 8;
const X11 = { from: 6000, to: 6063 };
/** How long proxies that run may take to reach a majority of each other before it is said. */
const SERVE_MS = 60_000;
const ASK_MS = 50;

interface UpOptions {
  readonly data: string;
  readonly port: string;
  readonly rtt: readonly string[];
  readonly s3Domain: readonly string[];
  readonly s3WebsiteDomain: readonly string[];
  readonly fresh?: boolean;
  readonly json?: boolean;
  readonly tls?: boolean;
  readonly sites?: string;
  readonly workers: string;
  readonly state?: string;
}

export function register(program: Command): void {
  program
    .command('up')
    .description('a complete three-site cluster on this machine (npm start)')
    .option('--data <dir>', 'everything that the cluster keeps', './data')
    .option('--port <base>', `everything listens in BASE .. BASE+${PORT_SPAN - 1}`, '8080')
    .option(
      '--rtt <time>',
      'round trip between sites, e.g. 20ms; with SITE=TIME, to and from that site; may be repeated',
      collect,
      [],
    )
    .option(
      '--s3-domain <name>',
      'a host name whose sub-domains are buckets; may be repeated',
      collect,
      [],
    )
    .option(
      '--s3-website-domain <name>',
      'a host name whose sub-domains show buckets as websites, besides s3-website.localhost; may be repeated',
      (name: string, names: readonly string[]) => [...names, name],
      [],
    )
    .option('--sites <file>', 'other sites, nodes and devices', undefined)
    .option('--workers <n>', 'proxy worker processes per site; 0: in the node process', '0')
    .option('--state <store>', 'sqlite, or etcd: three members, one per site', undefined)
    .option(
      '--tls',
      "HTTPS, with a demo authority's certificate (DIR/grid/certificates/demo-ca.pem)",
    )
    .option('--fresh', 'forget what is in the data folder')
    .option('--json', 'say in one line of JSON that it is ready')
    .addHelpText(
      'after',
      '\nExamples:\n  npm start\n  anello up --data /tmp/a --port 9080 --rtt 20ms',
    )
    .action((options: UpOptions) => up(options));
}

async function up(options: UpOptions): Promise<void> {
  // An unset variable in a script: not everybody's idea of "here".
  if (options.data === '') throw new OperatingError('wrong-use', '--data: a folder is needed');
  const folder = path.resolve(options.data);
  const settings = {
    tls: options.tls === true,
    rtt: parseRoundTrips(options.rtt),
    s3Domains: options.s3Domain,
    // Sub-domains of localhost are this machine, for browsers and curl alike.
    s3WebsiteDomains: ['s3-website.localhost', ...options.s3WebsiteDomain],
    workers: wholeNumber('--workers', options.workers, 0, MAX_WORKERS),
  };
  const basePort = parsePort(options.port);
  makeFolder(folder);
  const unlock = lockFolder(path.join(folder, 'up.lock'));
  process.once('exit', unlock);
  if (options.fresh) forget(folder);

  const { cluster, text } = descriptionOf(folder, options.sites);
  const driver = driverOf(options.state, cluster);
  const description = parseSites(text, cluster === undefined ? options.sites : undefined);
  const plans = planNodes(description, { folder, basePort, workers: settings.workers });
  const sites = [...new Set(plans.map(({ site }) => site))];
  checkSites(settings.rtt, sites);
  const etcd = driver === 'etcd' ? planMembers(folder, basePort, sites) : [];
  checkPeerPorts(folder, etcd);
  await checkFree('127.0.0.1', [
    ...plans.flatMap(({ ports }) => portsOf(ports)),
    ...etcd.flatMap(({ ports }) => [ports.client, ports.peer]),
  ]);
  const env = createNodeEnv({ logLevel: 'warn' });
  const made = cluster ?? (await createOrForget(env, folder, text, plans, driver));
  const members = new EtcdMembers(folder, etcd, report);
  const stop = stopOnSignal(members);
  await members.start();
  try {
    const access = await prepareRun(env, folder, made, plans, { ...settings, etcd });
    await env.close();
    await supervise(folder, plans, stop);
    await untilTheyServe(plans);
    console.log(options.json ? readyLine(folder, plans) : banner(folder, plans, access));
  } catch (error) {
    await members.stop();
    throw error;
  }
}

/** The store is chosen when the cluster is made: one that changed hands would have other revisions. */
function driverOf(wanted: string | undefined, cluster: ClusterFile | undefined): StateDriver {
  if (wanted !== undefined && wanted !== 'sqlite' && wanted !== 'etcd')
    throw new OperatingError('wrong-use', `--state ${wanted}: sqlite or etcd`);
  const made = cluster?.state;
  if (made !== undefined && wanted !== undefined && wanted !== made)
    throw new OperatingError(
      'wrong-use',
      `--state ${wanted}: this cluster was made with --state ${made}; use --fresh to forget it`,
    );
  const driver = made ?? wanted ?? 'sqlite';
  if (driver === 'etcd') checkInstalled();
  return driver;
}

/** A first start that fails leaves nothing half-made. */
async function createOrForget(
  env: Env,
  folder: string,
  text: string,
  plans: readonly NodePlan[],
  driver: StateDriver,
): Promise<ClusterFile> {
  try {
    return await createCluster(env, folder, text, plans, driver);
  } catch (error) {
    if (codeOf(error) !== 'bad-cluster') forget(folder);
    throw error;
  }
}

interface Stoppable {
  stop(): Promise<void>;
}

/** Nodes are added when they are there; whatever there is then is stopped, the last added first. */
function stopOnSignal(first: Stoppable): {
  add(part: Stoppable): void;
  readonly stopping: boolean;
} {
  const parts = [first];
  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    console.log('\nstopping ...');
    for (const part of parts.reverse()) await part.stop();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => void stop());
  return {
    add: (part) => parts.push(part),
    get stopping() {
      return stopping;
    },
  };
}

async function supervise(
  folder: string,
  plans: readonly NodePlan[],
  stop: ReturnType<typeof stopOnSignal>,
): Promise<void> {
  const supervisor = new Supervisor(folder, plans, report);
  stop.add(supervisor);
  try {
    await supervisor.start();
  } catch (error) {
    // The process is about to end: there is nothing to announce.
    if (stop.stopping) return new Promise(() => undefined);
    throw new OperatingError(
      'start-failed',
      `the cluster did not start: ${messageOf(error)}; see ${folder}/nodes/*/node.log`,
    );
  }
}

/**
 * A process that is up may not have reached the others yet: who copies the first command would be told
 * 503. Not for ever, for a cluster that lacks what it needs has to be looked at while it runs.
 */
async function untilTheyServe(plans: readonly NodePlan[]): Promise<void> {
  const ports = plans.flatMap(({ ports: { proxy } }) => (proxy === undefined ? [] : [proxy]));
  const until = performance.now() + SERVE_MS;
  while (performance.now() < until) {
    const answers = await Promise.all(ports.map(isHealthy));
    if (answers.every(Boolean)) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  report('some proxy does not serve yet: its /healthcheck and `anello status` tell more');
}

function report(line: string): void {
  console.error(`anello: ${line}`);
}

/** The cluster's own description rules; sites are changed by plans, not by another file. */
function descriptionOf(
  folder: string,
  sites: string | undefined,
): { cluster: ReturnType<typeof readCluster>; text: string } {
  const cluster = readCluster(folder);
  const text = sites === undefined ? undefined : readInputText(sites);
  if (cluster === undefined) return { cluster, text: text ?? readInputText(LOCAL_SITES) };
  if (text !== undefined && text !== cluster.description) {
    throw new OperatingError(
      'wrong-use',
      `the cluster in ${folder} was made from other sites: use --fresh, or change its rings`,
    );
  }
  return { cluster, text: cluster.description };
}

/** @throws OperatingError `wrong-use`, naming the file if it was given */
function parseSites(text: string, file: string | undefined): ClusterDescription {
  try {
    return parseDescriptionText(text);
  } catch (error) {
    if (file === undefined) throw error;
    throw new OperatingError('wrong-use', `--sites ${file}: ${messageOf(error)}`);
  }
}

/** Step by step: node's own `recursive` never ends in a folder where nothing can be made (/proc). */
function makePath(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    const above = path.dirname(folder);
    if (codeOf(error) !== 'ENOENT' || above === folder) throw error;
    makePath(above);
    mkdirSync(folder);
  }
}

function makeFolder(folder: string): void {
  try {
    makePath(folder);
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw new OperatingError('unwritable', `cannot write to ${folder} (${codeOf(error)})`);
  }
}

/** Only what this program made: a wrong --data must not cost somebody's files. */
function forget(folder: string): void {
  for (const name of [
    'state',
    'nodes',
    'access.json',
    'nodes.json',
    'operator.json',
    'etcd.json',
    'grid',
  ]) {
    const file = path.join(folder, name);
    if (existsSync(file)) rmSync(file, { recursive: true });
  }
}

function parsePort(text: string): number {
  const port = wholeNumber('--port', text, 1024, 65_535 - PORT_SPAN);
  if (port <= X11.to && port + PORT_SPAN > X11.from) {
    throw new OperatingError(
      'wrong-use',
      `--port ${port}: ports ${X11.from}-${X11.to} belong to X11`,
    );
  }
  return port;
}

function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new OperatingError(
    'wrong-use',
    `${option} ${text}: a whole number from ${least} to ${most}`,
  );
}

function readyLine(folder: string, plans: readonly NodePlan[]): string {
  const nodes = plans.map(({ name, site, ports }) => ({ name, site, ports }));
  return JSON.stringify({ ready: true, access: path.join(folder, 'access.json'), nodes });
}

function banner(folder: string, plans: readonly NodePlan[], access: Access): string {
  const { swift, keystone } = access;
  const scheme = new URL(swift.auth).protocol;
  const trust = scheme === 'https:' ? ` --os-cacert ${access.grid.authority}` : '';
  const proxies = plans.flatMap((plan) =>
    plan.ports.proxy === undefined
      ? []
      : [`  ${plan.site.padEnd(10)} ${scheme}//127.0.0.1:${plan.ports.proxy}`],
  );
  const v1 = `swift${trust} -A ${swift.auth} -U ${swift.user} -K ${swift.key}`;
  return `
Anello is ready: ${plans.length} node processes at ${new Set(plans.map((plan) => plan.site)).size} sites, data in ${folder}

proxies
${proxies.join('\n')}
log in
  v1          ${swift.auth}   user ${swift.user}   key ${swift.key}
  Keystone v3 ${keystone.url}   user ${keystone.user}   project ${keystone.project}   domain ${keystone.domain}   password as the key
  everything for scripts: ${path.join(folder, 'access.json')}

try
  ${v1} upload photos DIR
  ${v1} list photos
  ${v1} download photos
  npx anello status --data ${folder}

Ctrl-C stops it; the data stays.`;
}
