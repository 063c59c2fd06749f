/**
 * Everything that a cluster of `anello up` keeps under its data folder: made on the first run, found
 * again on later ones, adapted when the ports have changed.
 *
 *   state/cluster.json      identity of the cluster and the description it was made from
 *   state/state.db          the state store (bundles, users, projects, keys), or, with --state etcd,
 *   state/etcd-N/           its members (etcd-members.ts)
 *   state/*.key             wire key, master key (0600); the authority's own keys are in the state store
 *   state/operator.token    what `anello ring` and other verbs show the authority
 *   nodes/NAME/             node.yaml, devices/, log, last good bundle
 *   grid/                   client certificates (demo-grid.ts)
 *   access.json, nodes.json for people and scripts
 *   operator.json           where the authority is, and its token (0600)
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { formatDevice } from '#device/open.ts';
import type { Env } from '#env/env.ts';
import { bootstrap, DEMO_ACCOUNTS, ensureProject, type ReadyAccount } from '#identity/bootstrap.ts';
import { createIdentity } from '#identity/identity.ts';
import { loadMasterKey } from '#identity/vault.ts';
import { parseDescriptionText } from '#ring/description.ts';
import { openEtcdState } from '#state/etcd-state.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { operatorPath, readToken, writeOperatorFile } from '../authority/operator-file.ts';
import { type Access, accessOf, readPasswords } from './access.ts';
import { firstRings, operatorTokenFile, prepareAuthority } from './cluster-authority.ts';
import type { NodePlan } from './cluster-plan.ts';
import { ensureGrid, GRID_PROJECT, gridFiles } from './demo-grid.ts';
import { clientUrl, type EtcdMemberPlan, endpointsFor } from './etcd-members.ts';
import { readJsonFile } from './json-file.ts';
import { type RoundTrips, roundTripsOf } from './round-trips.ts';

const SECRET_MODE = 0o600;
const WIRE_KEY_BYTES = 32;

const clusterSchema = z.object({
  format: z.literal(1),
  clusterId: z.string(),
  hashPrefix: z.string(),
  hashSuffix: z.string(),
  authorityKey: z.string(),
  description: z.string(),
  /** Where its state is: chosen when it is made. */
  state: z.enum(['sqlite', 'etcd']).default('sqlite'),
});

export type ClusterFile = z.infer<typeof clusterSchema>;

export type StateDriver = ClusterFile['state'];

export interface UpSettings {
  /** Empty: state is the SQLite file. */
  readonly etcd: readonly EtcdMemberPlan[];
  /** HTTPS on proxies and identity, with the demo authority's certificate. */
  readonly tls: boolean;
  /** Round trips between sites. */
  readonly rtt: RoundTrips;
  /** Host names whose sub-domains are buckets. */
  readonly s3Domains: readonly string[];
  /** Host names whose sub-domains are buckets shown as websites. */
  readonly s3WebsiteDomains: readonly string[];
  readonly workers: number;
}

export function statePath(folder: string, name: string): string {
  return path.join(folder, 'state', name);
}

/** What an earlier run made; undefined: this folder has no cluster yet. */
export function readCluster(folder: string): ClusterFile | undefined {
  const file = statePath(folder, 'cluster.json');
  if (!existsSync(file)) return undefined;
  const parsed = clusterSchema.safeParse(readJsonFile(file));
  if (!parsed.success)
    throw new OperatingError('bad-cluster', `${file} is not what "anello up" writes`);
  return parsed.data;
}

/**
 * Keys, rings and devices of a new cluster. cluster.json is written last: a first run that was broken
 * off half-way has none. What is there then is not taken for a cluster, and not thrown away either.
 *
 * @throws OperatingError `bad-cluster`, and what is wrong with the description
 */
export async function createCluster(
  env: Env,
  folder: string,
  text: string,
  plans: readonly NodePlan[],
  state: StateDriver,
): Promise<ClusterFile> {
  if (plans.some((plan) => existsSync(plan.folder))) {
    throw new OperatingError(
      'bad-cluster',
      `${folder} has nodes but no state/cluster.json: put that back, or use --fresh to forget the nodes`,
    );
  }
  mkdirSync(path.join(folder, 'state'), { recursive: true, mode: 0o700 });
  // What can't be built is told before anything is made.
  firstRings(env, parseDescriptionText(text));
  const { publicKey, privateKey } = generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  writeFileSync(statePath(folder, 'authority.key'), privateKey, { mode: SECRET_MODE });
  writeFileSync(statePath(folder, 'wire.key'), env.random.bytes(WIRE_KEY_BYTES), {
    mode: SECRET_MODE,
  });
  await loadMasterKey(env, statePath(folder, 'master.key'));
  const cluster: ClusterFile = {
    format: 1,
    clusterId: env.random.bytes(16).toString('hex'),
    hashPrefix: env.random.bytes(8).toString('hex'),
    hashSuffix: env.random.bytes(8).toString('hex'),
    authorityKey: publicKey,
    description: text,
    state,
  };
  for (const plan of plans) await formatDevices(env, cluster, plan);
  await env.disk.replace(
    statePath(folder, 'cluster.json'),
    Buffer.from(`${JSON.stringify(cluster, null, 2)}\n`),
    SECRET_MODE,
  );
  return cluster;
}

async function formatDevices(env: Env, { clusterId }: ClusterFile, plan: NodePlan): Promise<void> {
  for (const device of plan.devices) {
    mkdirSync(device.path, { recursive: true });
    await formatDevice(env, device.path, {
      clusterId,
      deviceId: device.id,
      name: device.name,
      genesis: true,
    });
  }
}

/** Rings, bundle, accounts and node files of this run; safe to repeat. */
export async function prepareRun(
  env: Env,
  folder: string,
  cluster: ClusterFile,
  plans: readonly NodePlan[],
  settings: UpSettings,
): Promise<Access> {
  const description = parseDescriptionText(cluster.description);
  const state = openClusterState(env, folder, settings);
  try {
    await prepareAuthority({ env, folder, state, cluster, description, plans });
    const accounts = await ensureAccounts(env, folder, state);
    const grid = ensureGrid(env, folder);
    const access = accessOf(plans, accounts, grid, schemeOf(settings));
    writeFileSync(path.join(folder, 'access.json'), `${JSON.stringify(access, null, 2)}\n`, {
      mode: SECRET_MODE,
    });
    writeOperatorFile(operatorPath(folder), {
      authorities: authorityUrls(plans),
      token: readToken(operatorTokenFile(folder)),
    });
    for (const plan of plans) writeNodeFile(folder, cluster, plans, plan, settings);
    return access;
  } finally {
    await state.close();
  }
}

function openClusterState(env: Env, folder: string, { etcd }: UpSettings): State {
  if (etcd.length === 0) return openSqliteState(env, statePath(folder, 'state.db'));
  return openEtcdState(env, { endpoints: etcd.map(clientUrl), fetch });
}

async function ensureAccounts(env: Env, folder: string, state: State): Promise<ReadyAccount[]> {
  const masterKey = await loadMasterKey(env, statePath(folder, 'master.key'));
  const identity = createIdentity({ env, state, masterKey });
  try {
    const passwords = readPasswords(path.join(folder, 'access.json'));
    const accounts = await bootstrap(
      identity,
      DEMO_ACCOUNTS.map((account) => ({ ...account, password: passwords.get(account.user) })),
    );
    await ensureProject(identity, GRID_PROJECT);
    return accounts;
  } finally {
    await identity.close();
  }
}

function schemeOf({ tls }: Pick<UpSettings, 'tls'>): 'http' | 'https' {
  return tls ? 'https' : 'http';
}

function authorityUrls(plans: readonly NodePlan[]): string[] {
  return plans.flatMap(({ ports }) =>
    ports.authority === undefined ? [] : [`http://127.0.0.1:${ports.authority}`],
  );
}

function writeNodeFile(
  folder: string,
  cluster: ClusterFile,
  plans: readonly NodePlan[],
  plan: NodePlan,
  settings: UpSettings,
): void {
  const { wire, admin, proxy, authority, identity, identityTls, workerAdmin } = plan.ports;
  const grid = gridFiles(folder);
  const proxies = plans.flatMap((other) =>
    other.ports.proxy === undefined
      ? []
      : [[other.site, `${schemeOf(settings)}://127.0.0.1:${other.ports.proxy}`]],
  );
  const config = {
    format: 1,
    name: plan.name,
    site: plan.site,
    roles: plan.roles,
    data: plan.folder,
    clusterId: cluster.clusterId,
    wireKeyFile: statePath(folder, 'wire.key'),
    workerIds: plan.workerIds,
    listen: {
      host: '127.0.0.1',
      wire,
      admin,
      ...(proxy !== undefined && { proxy }),
      ...(authority !== undefined && { authority }),
      ...(identity !== undefined && { identity, identityTls }),
      workerAdmin,
    },
    publicUrls: Object.fromEntries(proxies),
    authorities: authorityUrls(plans),
    state:
      settings.etcd.length === 0
        ? { driver: 'sqlite', path: statePath(folder, 'state.db') }
        : { driver: 'etcd', endpoints: endpointsFor(plan.site, settings.etcd) },
    ...(settings.tls && {
      tls: { keyFile: grid.hostKey, certificateFile: grid.hostCertificate },
    }),
    ...(identityTls !== undefined && {
      identityTls: { keyFile: grid.hostKey, certificateFile: grid.hostCertificate },
    }),
    mapping: {
      caFolder: grid.caFolder,
      vomsFolder: grid.vomsFolder,
      rulesFile: grid.rulesFile,
      ...(existsSync(grid.issuersFile) && { issuersFile: grid.issuersFile }),
    },
    masterKeyFile: statePath(folder, 'master.key'),
    authorityKey: cluster.authorityKey,
    devices: plan.devices,
    proxyWorkers: proxy === undefined ? 0 : settings.workers,
    ...roundTripsOf(settings.rtt, plan.site),
    s3Domains: settings.s3Domains,
    s3WebsiteDomains: settings.s3WebsiteDomains,
  };
  mkdirSync(plan.folder, { recursive: true });
  writeFileSync(plan.configFile, stringify(config), { mode: SECRET_MODE });
}
