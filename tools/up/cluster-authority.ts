/**
 * The authority's state of a cluster that `anello up` runs: made on the first run, adapted when the
 * ports have changed. From then on rings are changed through the authority (`anello ring plan`, `apply`).
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Authority, createAuthority } from '#authority/authority.ts';
import type { Document } from '#authority/document.ts';
import { hashOfToken } from '#authority/principal.ts';
import type { NodeRecord } from '#authority/records.ts';
import type { Env } from '#env/env.ts';
import { createVault, loadMasterKey } from '#identity/vault.ts';
import { RingBuilder } from '#ring/builder/builder.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterDescription } from '#ring/description.ts';
import type { State } from '#state/state.ts';
import { type ClusterFile, statePath } from './cluster-files.ts';
import type { NodePlan } from './cluster-plan.ts';

const SECRET_MODE = 0o600;
const TOKEN_BYTES = 24;
const MICROS_PER_HOUR = 3_600_000_000;
const FIRST_SEED = 1;

/** All rings of a description, first version. @throws OperatingError `ring-at-risk`, `no-devices` */
export function firstRings(env: Env, description: ClusterDescription): RingSet {
  const nowHours = Math.floor(env.clock.wallMicros() / MICROS_PER_HOUR);
  const set = new RingSet();
  set.apply(set.plan(set.changeTo(description), { seed: FIRST_SEED, nowHours }));
  return set;
}

export interface AuthorityParts {
  readonly env: Env;
  readonly folder: string;
  readonly state: State;
  readonly cluster: ClusterFile;
  readonly description: ClusterDescription;
  readonly plans: readonly NodePlan[];
}

/** Safe to repeat: what is in force already is not published again. */
export async function prepareAuthority(parts: AuthorityParts): Promise<void> {
  const { env, folder, state } = parts;
  const masterKey = await loadMasterKey(env, statePath(folder, 'master.key'));
  const sealer = createVault(env.random, masterKey);
  const askMoves = async (): Promise<[]> => [];
  const authority = createAuthority({ env, state, sealer, address: '', askMoves });
  const known = await authority.store.cluster();
  if (known === undefined) await initialise(authority, parts);
  const { version } = await authority.store.head();
  const reason = { what: version === 0 ? 'new cluster' : 'addresses', who: 'anello up' };
  const now = await authority.store.snapshot();
  const nodes = changedNodes(now.nodes, parts.plans);
  if (version > 0 && nodes.length === 0) return;
  const set = now.set.builders.size === 0 ? rings(parts) : undefined;
  await authority.store.change(reason, () => ({
    nodes,
    ...(set !== undefined && { set, head: { nextDeviceId: set.devices().length } }),
    result: undefined,
  }));
}

async function initialise({ store }: Authority, parts: AuthorityParts): Promise<void> {
  const { cluster, folder, description, plans } = parts;
  const keyFile = statePath(folder, 'authority.key');
  const sites = [...new Set(plans.map(({ site }) => site))];
  const document: Document = {
    name: description.name,
    policies: [...description.policies],
    sites: sites.map((name) => ({ name, clients: [] })),
    links: [],
    limits: {},
    features: {},
    webhooks: [],
    state: '',
  };
  await store.initialise({
    clusterId: cluster.clusterId,
    hashPrefix: cluster.hashPrefix,
    hashSuffix: cluster.hashSuffix,
    operatorHash: hashOfToken(operatorToken(parts)),
    signing: { key: cluster.authorityKey, secret: readFileSync(keyFile, 'utf8') },
    document,
    head: {
      nextWorkerId: 1 + Math.max(...plans.flatMap(({ workerIds }) => workerIds)) + SPARE_IDS,
    },
  });
  // Sealed in the state store from now on.
  rmSync(keyFile);
}

/** A node's ids lie apart, so that more workers later take no other node's. */
const SPARE_IDS = 16;

export function operatorTokenFile(folder: string): string {
  return statePath(folder, 'operator.token');
}

function operatorToken({ env, folder }: AuthorityParts): string {
  const file = operatorTokenFile(folder);
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  const token = env.random.bytes(TOKEN_BYTES).toString('base64url');
  writeFileSync(file, `${token}\n`, { mode: SECRET_MODE });
  return token;
}

/** The first clusters kept builder files in a folder: those go on. */
function rings({ env, folder, description }: AuthorityParts): RingSet {
  const earlier = statePath(folder, 'rings');
  if (!existsSync(earlier)) return firstRings(env, description);
  const files = readdirSync(earlier).filter((name) => name.endsWith('.builder'));
  return new RingSet(
    files.map((file) => [
      file.replace('.builder', '').replace(/^object-/, 'object/'),
      RingBuilder.decode(readFileSync(path.join(earlier, file))),
    ]),
  );
}

/** Nodes that are new, or whose ports are others than last time. */
function changedNodes(
  known: ReadonlyMap<string, NodeRecord>,
  plans: readonly NodePlan[],
): NodeRecord[] {
  return plans
    .map((plan) => nodeOf(plan, known.get(plan.name)))
    .filter((node) => {
      const before = known.get(node.name);
      return JSON.stringify(before) !== JSON.stringify(node);
    });
}

function nodeOf(plan: NodePlan, known: NodeRecord | undefined): NodeRecord {
  const { wire, admin, proxy, identity, authority } = plan.ports;
  const ports = Object.entries({ admin, proxy, identity, authority });
  return {
    name: plan.name,
    site: plan.site,
    zone: plan.zone,
    roles: [...plan.roles],
    wire: { host: '127.0.0.1', port: wire },
    ports: Object.fromEntries(ports.flatMap(([role, port]) => (port ? [[role, port]] : []))),
    workerIds: [...plan.workerIds],
    devices: plan.devices.map(({ id, name }) => ({ id, name, bytes: 0 })),
    serial: known?.serial ?? '',
    certifiedUntilMs: known?.certifiedUntilMs ?? 0,
    revoked: known?.revoked ?? [],
    expelled: known?.expelled ?? false,
    joinedMs: known?.joinedMs ?? 0,
  };
}
