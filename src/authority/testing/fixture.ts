/** For tests: an authority on a simulated machine, with a cluster of three sites and its API. */
import { createPublicKey, verify } from 'node:crypto';
import { codeOf } from '#base/errors.ts';
import type { Env, PeerCertificate } from '#env/env.ts';
import type { Machine } from '#env/sim/machine.ts';
import { SimWorld } from '#env/sim/world.ts';
import type { PlanContent } from '#ring/builder/plan-format.ts';
import type { PlanView } from '#ring/builder/plan-view.ts';
import { RingSet } from '#ring/builder/ring-set.ts';
import type { ClusterView } from '#ring/cluster.ts';
import { type ClusterDescription, parseDescription } from '#ring/description.ts';
import { bitsFor, type MoveReport, setBit } from '#ring/move-progress.ts';
import { openSqliteState } from '#state/sqlite-state.ts';
import type { State } from '#state/state.ts';
import { createAuthorityApp } from '../app.ts';
import { type Authority, createAuthority } from '../authority.ts';
import { decodeBundle } from '../bundle.ts';
import type { AskMoves } from '../conductor.ts';
import type { ObjectKeyView } from '../encryption-routes.ts';
import { initialiseCluster } from '../genesis.ts';
import { readBundle } from '../publisher.ts';
import type { NodeRecord } from '../records.ts';

const MICROS_PER_HOUR = 3_600_000_000;
export const SITES = ['lngs', 'bari', 'padova'] as const;

export interface AuthorityFixture {
  readonly authority: Authority;
  readonly operator: string;
  /** As an operator; the reply's JSON, or throws what the API says. */
  ask(method: string, path: string, body?: unknown): Promise<Reply>;
  /** As whoever shows this. A body that is text goes as it is. */
  request(method: string, path: string, body?: unknown, as?: Shown): Promise<Response>;
  view(): Promise<ClusterView>;
}

/** Every field of any reply; each test reads those of its own. */
export interface Reply {
  readonly token: string;
  readonly plan: PlanContent;
  readonly view: PlanView;
  readonly version: number;
  readonly paused: boolean;
  readonly gradual?: unknown;
  readonly inForceEverywhere: boolean;
  readonly proposals: readonly unknown[];
  readonly processes: readonly unknown[];
  readonly certificate: string;
  readonly devices: readonly unknown[];
  readonly workerIds: readonly number[];
  readonly [index: number]: unknown;
}

export interface Shown {
  readonly token?: string;
  readonly certificate?: PeerCertificate;
}

/** A test against an authority of its own, whose world ends with it. */
export function withAuthority(test: (fixture: AuthorityFixture, world: SimWorld) => Promise<void>) {
  return async (): Promise<void> => {
    const world = new SimWorld({ seed: 1 });
    await world.run(startFixture(world).then((fixture) => test(fixture, world)));
  };
}

/** As the authority's server sees that of a node. */
export function certificate(name: string, serial: string, clusterId: string) {
  return {
    commonName: name,
    organization: clusterId,
    locality: 'bari',
    units: ['storage'],
    serial,
  };
}

/** The code of what it throws. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'done', codeOf);
}

export function description(
  devicesPerNode = 2,
  wire = (_node: string, n: number): string => `10.0.0.${n}:7400`,
): ClusterDescription {
  const node = (site: string, n: number) => ({
    node: `${site}-${n}`,
    wire: wire(`${site}-${n}`, n),
    devices: Array.from({ length: devicesPerNode }, (_, d) => ({ name: `d${d}`, weight: 100 })),
  });
  return parseDescription({
    format: 1,
    name: 'test',
    part_power: 6,
    min_part_hours: 0,
    policies: [{ name: 'standard', index: 0, replicas: 3, default: true }],
    sites: Object.fromEntries(SITES.map((site) => [site, [node(site, 1), node(site, 2)]])),
  });
}

export const plainSealer = {
  seal: (plain: Uint8Array, purpose: string) => Buffer.concat([Buffer.from(purpose), plain]),
  open: (sealed: Uint8Array, purpose: string) =>
    Buffer.from(sealed).subarray(Buffer.byteLength(purpose)),
};

export interface AuthorityWishes {
  readonly address?: string;
  readonly wrap?: (state: State) => State;
  /** Else every device knows everything at once. */
  readonly askMoves?: AskMoves;
}

/** An authority process on this machine; its state is the machine's file. */
export async function openAuthority(
  machine: Machine,
  options: AuthorityWishes = {},
): Promise<Authority> {
  const { env } = machine;
  await env.disk.mkdir('/data');
  const opened = openSqliteState(env, '/data/state.db');
  const authority: Authority = createAuthority({
    env,
    state: options.wrap?.(opened) ?? opened,
    sealer: plainSealer,
    address: options.address ?? 'https://first:7600',
    askMoves: options.askMoves ?? (async () => allComplete(await viewOf(authority))),
  });
  return authority;
}

export async function viewOf(authority: Authority): Promise<ClusterView> {
  const { signingKey } = await authority.store.knownCluster();
  const key = createPublicKey(signingKey);
  const bytes = await readBundle(authority.state, 0);
  return decodeBundle(bytes!, (signed, signature) => verify(null, signed, key, signature));
}

/** As if every device knew everything already. */
function allComplete(view: ClusterView): MoveReport[] {
  return [...view.rings.values()].flatMap((ring) =>
    ring.devices.flatMap((device): MoveReport[] => {
      if (device === undefined) return [];
      const bits = bitsFor(ring.joint().length);
      for (let row = 0; row < ring.joint().length; row += 1) setBit(bits, row);
      const { policy, version } = ring;
      return [{ device: device.id, policy, version, states: bits, bodies: bits }];
    }),
  );
}

/** All nodes and rings of a description at once. */
async function addNodes(
  { store }: Authority,
  description: ClusterDescription,
  nowHours: number,
): Promise<void> {
  const set = new RingSet();
  set.apply(set.plan(set.changeTo(description), { seed: 1, nowHours }), { force: true });
  const nodes = nodesOf(description);
  const used = nodes.flatMap(({ workerIds }) => workerIds);
  const head = { nextWorkerId: Math.max(0, ...used) + 1, nextDeviceId: set.devices().length };
  await store.change({ what: 'first rings', who: 'authority' }, () => ({
    ...{ set, nodes, head },
    result: undefined,
  }));
}

export async function startFixture(
  world: SimWorld,
  wanted = description(),
): Promise<AuthorityFixture> {
  const authority = await openAuthority(world.machine('authority'));
  const { env } = world.machine('authority');
  const cluster = { description: wanted, sites: [...SITES], state: 'sqlite:/data/state.db' };
  const operator = await initialiseCluster(authority, env, cluster);
  await addNodes(authority, wanted, Math.floor(env.clock.wallMicros() / MICROS_PER_HOUR));
  await authority.leadership.start();
  return { authority, operator, view: () => viewOf(authority), ...serve(authority, env, operator) };
}

/** The authority's API, in this process. */
export function serve(
  authority: Authority,
  env: Pick<Env, 'log'>,
  operator: string,
): Pick<AuthorityFixture, 'request' | 'ask'> {
  const keys: ObjectKeyView[] = [];
  const app = createAuthorityApp({
    authority,
    log: env.log,
    credentials: (context) => ({
      authorization: context.req.header('authorization'),
      certificate: shown.get(context.req.header('x-test-certificate') ?? ''),
    }),
    nodeSecret: undefined,
    secrets: (roles): Record<string, string> =>
      roles.includes('identity') ? { masterKey: 'the key' } : {},
    objectKeys: {
      list: async () => keys,
      make: async (name) => {
        const key = { id: String(keys.length), name, createdMs: keys.length, material: 'secret' };
        keys.push(key);
        return key;
      },
    },
    directory: async (above) => (above < 7 ? Buffer.from('signed elsewhere') : undefined),
  });
  const shown = new Map<string, PeerCertificate>();
  const request: AuthorityFixture['request'] = (method, path, body, as = {}) => {
    if (as.certificate !== undefined) shown.set(as.certificate.serial, as.certificate);
    const headers: Record<string, string> = {
      ...(as.token !== undefined && { authorization: `Bearer ${as.token}` }),
      ...(as.certificate !== undefined && { 'x-test-certificate': as.certificate.serial }),
    };
    const text = typeof body === 'string' ? body : json(body);
    return Promise.resolve(
      app.request(path, { method, headers, ...(text !== undefined && { body: text }) }),
    );
  };
  return {
    request,
    ask: async (method, path, body) => {
      const response = await request(method, path, body, { token: operator });
      const value = (await response.json()) as Reply;
      if (!response.ok) throw Object.assign(new Error(JSON.stringify(value)), value);
      return value;
    },
  };
}

function json(body: unknown): string | undefined {
  return body === undefined ? undefined : JSON.stringify(body);
}

export function nodesOf(wanted: ClusterDescription): NodeRecord[] {
  let id = 0;
  return wanted.nodes.map((node, n) => ({
    name: node.name,
    site: node.site,
    zone: node.zone,
    roles: ['storage', 'proxy'],
    wire: node.wire,
    ports: {},
    workerIds: [1 + n * 16],
    devices: node.devices.map(({ name }) => ({ id: id++, name, bytes: 0 })),
    serial: `0${n}`,
    certifiedUntilMs: 0,
    revoked: [],
    expelled: false,
    joinedMs: 0,
  }));
}
